"""List what is installed: recipes (complete detectors), and parts.

Examples:
  zoo-cli list                    everything
  zoo-cli list rcnn               names that hold 'rcnn'
  zoo-cli list 'resnet*'          names that fit a pattern (*, ?, [abc])
  zoo-cli list --kind neck        parts of one kind
  zoo-cli list 'convnext*'        what families know, where nothing else fits
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from dataclasses import dataclass

from zoo_cli.families import members
from zoo_cli.parser import one_of
from zoo_cli.table import table
from zoo_core.contributions import KINDS, Family
from zoo_core.errors import nearest
from zoo_core.plugins import plugins
from zoo_core.registry import Entry, entries, fits


@dataclass(frozen=True)
class Row:
    """One line of the list. With `family`, its name is that of a family of parts, and none of them is called so."""

    kind: str
    name: str
    type: str
    distribution: str
    version: str
    summary: str
    family: bool = False


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pattern", nargs="?", metavar="PATTERN", help="part of a name, or a pattern with * ? [abc]")
    parser.add_argument("--kind", type=one_of(KINDS, "kind"), metavar="KIND", help=f"only this kind: {', '.join(KINDS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: Namespace) -> int:
    """Print the list."""
    everything = [row for row in rows() if args.kind in (None, row.kind)]
    found = [row for row in everything if chosen(row, args.pattern)] or _of_families(args.pattern, args.kind)
    if args.json:
        print(json.dumps([vars(row) for row in found], indent=2))
    elif found:
        print("\n".join(lines(found)))
    if not found:
        hint = nearest(args.pattern or "", [row.name for row in everything if not row.family])
        print(f"zoo-cli: nothing {'of that name' if args.pattern else 'of that kind'} is installed{hint}", file=sys.stderr)
    _tell_broken()
    return 0


def rows() -> list[Row]:
    """Return all that is registered, by kind and then by name. A name offered twice is written with its distribution."""
    found = list(entries())
    often = Counter((e.contribution.kind, e.contribution.name) for e in found)
    made = [_row(entry, qualified=often[entry.contribution.kind, entry.contribution.name] > 1) for entry in found]
    return sorted(made, key=lambda row: (KINDS.index(row.kind), row.name))


def lines(found: list[Row]) -> list[str]:
    """Return the rows as text, under a heading for each kind."""
    names = [f"(any {row.name} name)" if row.family else row.name for row in found]
    aligned = table(
        ("", "", ""), [(f"  {name}", row.distribution, row.summary) for row, name in zip(found, names, strict=True)]
    )[1:]
    text: list[str] = []
    for before, row, line in zip([None, *found], found, aligned, strict=False):
        if before is None or before.kind != row.kind:
            text += [*([""] if text else []), row.kind]
        text.append(line)
    return text


def _row(entry: Entry, qualified: bool) -> Row:
    part, plugin = entry.contribution, entry.plugin
    name = entry.qualified if qualified else part.name
    what = type(part).__name__.lower()
    return Row(part.kind, name, what, plugin.distribution, plugin.version, part.summary, isinstance(part, Family))


def chosen(row: Row, pattern: str | None) -> bool:
    """Say whether a name, or ``distribution/name``, fits `pattern`."""
    return pattern is None or fits(row.name, pattern) or fits(f"{row.distribution}/{row.name}", pattern)


def _of_families(pattern: str | None, kind: str | None) -> list[Row]:
    """Return what families offer under a pattern that fits no registered name."""
    asked = [entry for entry in entries() if pattern is not None and kind in (None, entry.contribution.kind)]
    found = [(family.contribution, family.plugin, name) for family, name in members(asked)]
    offered = [Row(part.kind, name, "component", by.distribution, by.version, part.summary) for part, by, name in found]
    return [row for row in offered if chosen(row, pattern)]


def _tell_broken() -> None:
    broken = [plugin.distribution for plugin in plugins() if plugin.status == "broken"]
    if broken:
        print(f"zoo-cli: {', '.join(sorted(set(broken)))} did not load; 'zoo-cli plugins' tells why", file=sys.stderr)
