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
            kinds = " and a ".join(entry.contribution.kind for entry in found)
            raise AmbiguousNameError(f"'{args.name}' is a {kinds}; choose one with --kind")
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
    families = [e for e in registered if isinstance(e.contribution, Family)]
    found = found or [entry for entry in map(partial(_of_family, name), families) if entry]
    if not found:
        names = [e.contribution.name for e in registered] + [n for f in families for n in f.load(_names(f))()]
        hint = nearest(name, names) or " ('zoo-cli list' shows all)"
        broken = "".join(f"; plugin {p.distribution} does not load: {p.error}" for p in plugins() if p.status == "broken")
        raise UnknownNameError(f"nothing is named '{name}'{hint}{broken}")
    return found


def _names(family: Entry) -> str:
    return family.contribution.names if isinstance(family.contribution, Family) else ""


def _of_family(name: str, family: Entry) -> Entry | None:
    try:
        return find(family.contribution.kind, name)
    except UnknownNameError:
        return None


def document(entry: Entry, name: str) -> dict[str, Any]:
    """Return a contribution as JSON has it."""
    from zoo_cli.options import options

    part = entry.contribution
    about = {
        "kind": part.kind,
        "name": name,
        "type": type(part).__name__.lower(),
        "summary": part.summary,
        "distribution": entry.plugin.distribution,
        "version": entry.plugin.version,
        "target": part.target,
    }
    if isinstance(part, Recipe):
        return about | {"spec": entry.spec().model_dump(mode="json")}
    return about | {"options": [vars(option) for option in options(entry.spec())]}


def page(entry: Entry, name: str) -> str:
    """Return a contribution as text."""
    from zoo_cli.options import settings, table_of_options

    part, plugin = entry.contribution, entry.plugin
    lines = [f"{name}: {part.summary}" if part.summary else name]
    lines += [f"{part.kind.replace('_', ' ')} of {plugin.distribution} {plugin.version} ({part.target})", ""]
    if isinstance(part, Recipe):
        lines += settings(entry.spec())
        lines += ["", "Meanings in full: zoo-cli show TYPE. To change a setting, in training:"]
        lines += ["zoo-cli train … --set KEY=VALUE, where KEY has dots between its levels."]
    else:
        lines += table_of_options(entry.spec())
    return "\n".join(lines)
