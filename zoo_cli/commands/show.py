"""Show all about one recipe or part: its options, their meanings and defaults.

Examples:
  zoo-cli show faster_rcnn_r50_fpn          the complete settings of a detector
  zoo-cli show fpn                          the options of a part
  zoo-cli show zoo-fpn/fpn --kind neck      the part of that distribution
  zoo-cli show faster_rcnn_r50_fpn --json   the same for programs
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from functools import partial
from typing import Any

from zoo_cli.families import members
from zoo_cli.parser import one_of
from zoo_core.contributions import KINDS, Family, Recipe
from zoo_core.errors import AmbiguousNameError, UnknownNameError, nearest
from zoo_core.plugins import plugins
from zoo_core.registry import Entry, entries, find


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="a name of 'zoo-cli list', or distribution/name")
    parser.add_argument("--kind", type=one_of(KINDS, "kind"), metavar="KIND", help="where one name is in several kinds")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: Namespace) -> int:
    """Print what is known of a name."""
    found = [find(args.kind, args.name)] if args.kind else everywhere(args.name)
    if args.json:
        if len(found) > 1:
            kinds = " and ".join(entry.contribution.kind for entry in found)
            raise AmbiguousNameError(f"'{args.name}' is several things: {kinds}; choose one with --kind")
        print(json.dumps(document(found[0], args.name), indent=2))
        return 0
    print("\n\n".join(page(entry, args.name) for entry in found))
    return 0


def everywhere(name: str) -> list[Entry]:
    """Return what has that name, in any kind. Families are asked only when nothing registered has it."""
    registered = list(entries())
    named = [e for e in registered if name in (e.contribution.name, e.qualified)]
    kinds = {e.contribution.kind for e in named if not isinstance(e.contribution, Family)}
    found = [find(kind, name) for kind in KINDS if kind in kinds] or named
    families = {e.contribution.kind for e in registered if isinstance(e.contribution, Family)}
    asked = [] if found else [kind for kind in KINDS if kind in families]
    found += [entry for entry in map(partial(_in_family, name), asked) if entry]
    if not found:
        names = [e.contribution.name for e in registered if not isinstance(e.contribution, Family)]
        hint = nearest(name, names) or nearest(name, [member for _, member in members(registered)])
        raise UnknownNameError(f"nothing is named '{name}'{hint or ' (zoo-cli list shows all)'}{_broken()}")
    return found


def _in_family(name: str, kind: str) -> Entry | None:
    try:
        return find(kind, name)
    except UnknownNameError:
        return None


def _broken() -> str:
    return "".join(f"; plugin {p.distribution} does not load: {p.error}" for p in plugins() if p.status == "broken")


def document(entry: Entry, name: str) -> dict[str, Any]:
    """Return a contribution as JSON has it."""
    from zoo_cli.options import options
    from zoo_core.recipes import resolve
    from zoo_core.specs import spec_class

    part = entry.contribution
    about = {
        "kind": part.kind,
        "name": name,
        "type": type(part).__name__.lower(),
        "summary": part.summary,
        "distribution": entry.plugin.distribution,
        "version": entry.plugin.version,
        "target": part.target,
        "family": _is_family(entry, name),
    }
    if isinstance(part, Recipe):
        return about | {"spec": resolve(entry.qualified).model_dump(mode="json"), "training": entry.training()}
    return about | {"options": [vars(option) for option in options(spec_class(entry))]}


def _is_family(entry: Entry, name: str) -> bool:
    """Say whether a name is that of a family itself, which none of its parts has."""
    return isinstance(entry.contribution, Family) and name in (entry.contribution.name, entry.qualified)


def page(entry: Entry, name: str) -> str:
    """Return a contribution as text."""
    from zoo_cli.options import flat, settings, table_of_options, text
    from zoo_core.recipes import resolve
    from zoo_core.specs import spec_class

    part, plugin = entry.contribution, entry.plugin
    lines = [f"{name}: {part.summary}" if part.summary else name]
    lines += [f"{part.kind.replace('_', ' ')} of {plugin.distribution} {plugin.version} ({part.target})", ""]
    if _is_family(entry, name):
        lines += [f"A family of parts, none of which is called '{name}'."]
        lines += ["'zoo-cli list PATTERN' finds their names. All have these options:", ""]
    if isinstance(part, Recipe):
        lines += settings(resolve(entry.qualified))
        published = [f"train.{key}: {text(value)}" for key, value in flat(entry.training())]
        lines += ["", "Its training, as published:", *published] if published else []
        lines += ["", "Meanings in full: zoo-cli show TYPE. To change a setting, in training:"]
        lines += ["zoo-cli train … --set KEY=VALUE, where KEY has dots between its levels."]
    else:
        lines += table_of_options(spec_class(entry))
    return "\n".join(lines)
