"""Find models of this library on the Hub.

Examples:
  zoo-cli search
  zoo-cli search traffic --author org
  zoo-cli search --limit 100 --json
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from zoo_cli.commands.push import add_endpoint
from zoo_cli.data import positive
from zoo_cli.table import plain, table

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("text", nargs="?", default="", metavar="TEXT", help="a part of the name")
    parser.add_argument("--author", metavar="ORG", help="of one organisation or person")
    parser.add_argument("--limit", type=positive, default=20, metavar="N", help="so many at most (default: 20)")
    add_endpoint(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: Namespace) -> int:
    """Print what is found; the exit status is 1 if nothing is."""
    from zoo_core.access import Access
    from zoo_core.remote import search

    models = search(args.text, author=args.author, limit=args.limit, access=Access(endpoint=args.endpoint))
    found = [about(model) for model in models]
    if args.json:
        print(json.dumps(found, indent=2))
    elif found:
        rows = [
            (plain(row["name"]), str(row["downloads"]), row["changed"] or "-", plain(", ".join(row["tags"]))) for row in found
        ]
        print("\n".join(table(("NAME", "DOWNLOADS", "CHANGED", "TAGS"), rows)))
    else:
        print("no model of this library is found there")
    return 0 if found else 1


def about(model: ModelInfo) -> dict[str, Any]:
    """Return what is known of a model, as JSON has it."""
    changed = model.last_modified.date().isoformat() if model.last_modified else None
    tags = [tag for tag in model.tags or () if tag not in ("zoo", "object-detection")]
    return {"name": model.id, "downloads": model.downloads or 0, "changed": changed, "private": model.private, "tags": tags}
