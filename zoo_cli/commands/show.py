"""Show all about one recipe, part or saved model: its options and their meanings.

Of a model on the Hub, config.json alone is downloaded.

Examples:
  zoo-cli show faster_rcnn_r50_fpn          the complete settings of a detector
  zoo-cli show fpn                          the options of a part
  zoo-cli show zoo-fpn/fpn --kind neck      the part of that distribution
  zoo-cli show faster_rcnn_r50_fpn --json   the same for programs
  zoo-cli show runs/first                   a saved model: classes, plugins …
  zoo-cli show org/traffic@v1.0             one on the Hub
"""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path
from typing import Any

from zoo_cli.commands.push import add_endpoint
from zoo_cli.families import members
from zoo_cli.parser import one_of
from zoo_core.contributions import KINDS, NAME_ON_HUB, Family, Recipe
from zoo_core.errors import AmbiguousNameError, CheckpointError, HubError, InputError, UnknownNameError, nearest
from zoo_core.plugins import plugins
from zoo_core.registry import Entry, entries, find

NAME_HELP = "a name of 'zoo-cli list', or distribution/name; else a saved model: a folder, or org/name[@revision] on the Hub"


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help=NAME_HELP)
    parser.add_argument("--kind", type=one_of(KINDS, "kind"), metavar="KIND", help="where one name is in several kinds")
    parser.add_argument("--revision", metavar="NAME", help="of a model on the Hub: a branch, a tag or a commit (default: main)")
    add_endpoint(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: Namespace) -> int:
    """Print what is known of a name."""
    found = [find(args.kind, args.name)] if args.kind else everywhere(args.name)
    if not found:
        return show_model(args)
    if args.revision is not None:
        raise InputError(f"'{args.name}' is installed here; --revision is of a model on the Hub")
    if args.json:
        if len(found) > 1:
            kinds = " and ".join(entry.contribution.kind for entry in found)
            raise AmbiguousNameError(f"'{args.name}' is several things: {kinds}; choose one with --kind")
        print(json.dumps(document(found[0], args.name), indent=2))
        return 0
    print("\n\n".join(page(entry, args.name) for entry in found))
    return 0


def show_model(args: Namespace) -> int:
    """Print what a saved model is, which no registered name stands for."""
    from zoo_cli import saved_model

    folder = of_model(args)
    name = f"{args.name}@{args.revision}" if args.revision is not None else args.name
    try:
        print(json.dumps(saved_model.document(name, folder), indent=2) if args.json else saved_model.page(name, folder))
    except RecursionError as error:
        raise CheckpointError(f"{folder / 'config.json'} is nested too deeply") from error
    return 0


def of_model(args: Namespace) -> Path:
    """Return a folder with the ``config.json`` of the model that is named; raise what says that nothing has that name."""
    from zoo_core.access import Access
    from zoo_core.remote import fetch_config

    on_hub = NAME_ON_HUB.fullmatch(args.name)
    if not (on_hub or "/" in args.name or (args.name and os.path.exists(args.name))):
        raise UnknownNameError(f"nothing {unknown(args.name)}{_broken()}")
    try:
        return fetch_config(args.name, args.revision, Access(endpoint=args.endpoint))
    except HubError as error:
        if on_hub and (on_hub[2] or args.revision is not None):
            raise
        raise UnknownNameError(f"nothing installed {unknown(args.name)}{_broken()}\n{error}") from error


def everywhere(name: str) -> list[Entry]:
    """Return what has that name, in any kind. Families are asked only when nothing registered has it."""
    registered = list(entries())
    named = [e for e in registered if name in (e.contribution.name, e.qualified)]
    kinds = {e.contribution.kind for e in named if not isinstance(e.contribution, Family)}
    found = [find(kind, name) for kind in KINDS if kind in kinds] or named
    families = {e.contribution.kind for e in registered if isinstance(e.contribution, Family)}
    asked = [] if found or not _may_be_of_family(name) else [kind for kind in KINDS if kind in families]
    return found + [entry for entry in map(partial(_in_family, name), asked) if entry]


def unknown(name: str) -> str:
    """Return the end of a message that nothing is called so: with the nearest name, if one is like it."""
    registered = list(entries())
    names = [e.contribution.name for e in registered if not isinstance(e.contribution, Family)]
    if "/" in name:
        hint = nearest(name, [e.qualified for e in registered])
    else:
        hint = nearest(name, names) or nearest(name, [member for _, member in members(registered)])
    return f"is named '{name}'{hint or ' (zoo-cli list shows all)'}"


def _may_be_of_family(name: str) -> bool:
    """Say whether it is worth asking families, which import their library: what has a '/' is a path, or whose it is."""
    return "/" not in name or name.partition("/")[0] in {plugin.distribution for plugin in plugins()}


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
        spec = resolve(entry.qualified).model_dump(mode="json")
        return about | {"spec": spec, "training": entry.training(), "weights": dict(part.weights)}
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
        tags = [f"{tag}: {place}" for tag, place in part.weights.items()]
        lines += ["", "Weights to begin with, by tag (--weights TAG):", *tags] if tags else []
        published = [f"train.{key}: {text(value)}" for key, value in flat(entry.training())]
        lines += ["", "Its training, as published:", *published] if published else []
        lines += ["", "Meanings in full: zoo-cli show TYPE. To change a setting, in training:"]
        lines += ["zoo-cli train … --set KEY=VALUE, where KEY has dots between its levels."]
    else:
        lines += table_of_options(spec_class(entry))
    return "\n".join(lines)
