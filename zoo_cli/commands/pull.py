"""Download a model from the Hub, and say what it is.

It is kept in the cache of the Hub's tools; predict and eval take ORG/NAME too.

Examples:
  zoo-cli pull org/traffic
  zoo-cli pull org/traffic --revision v1.0 --out models/traffic
  zoo-cli pull org/traffic --json
"""

from __future__ import annotations

import json
import shlex
import shutil
from argparse import ArgumentParser, Namespace
from pathlib import Path

from zoo_cli.commands.push import add_endpoint
from zoo_cli.table import clip, plain, width
from zoo_core.errors import InputError


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("repository", metavar="ORG/NAME", help="a model on the Hub, or ORG/NAME@REVISION")
    parser.add_argument("--revision", metavar="NAME", help="a branch, a tag or a commit (default: main)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new folder for a copy (default: the cache alone)")
    add_endpoint(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: Namespace) -> int:
    """Download, and print where it is and what it is."""
    from zoo_core import hub
    from zoo_core.remote import FILES, fetch
    from zoo_core.replace import replaced

    if args.out is not None and args.out.exists() and not (args.out.is_dir() and not any(args.out.iterdir())):
        raise InputError(f"--out {args.out} is there already; give a new folder")
    repository, mark, at = args.repository.partition("@")
    if mark and not at:
        raise InputError(f"{args.repository} names no revision after the @")
    if at and args.revision is not None:
        raise InputError(f"{args.repository} names a revision already; leave out --revision")
    folder = fetch(repository, at or args.revision, endpoint=args.endpoint)
    config, commit = hub.read_config(folder), folder.name
    if args.out is not None:
        with replaced(args.out) as fresh:
            for name in FILES:
                if (folder / name).is_file():
                    shutil.copyfile(folder / name, fresh / name)
        folder = args.out
    if args.json:
        found = {"repository": repository, "commit": commit, "model": str(folder), "recipe": config.recipe}
        print(json.dumps(found | {"class_names": list(config.class_names), "plugins": config.plugins}, indent=2))
        return 0
    name = str(args.out or args.repository) + (f"@{args.revision}" if args.revision and not args.out else "")
    print(f"{repository} is in {folder}")
    print(f"  commit   {commit}")
    print(plain(f"  network  {config.recipe or 'of its own, no recipe'}"))
    print(clip(plain(f"  classes  {len(config.class_names)}: {', '.join(config.class_names)}"), width()))
    print(f"next:\n  zoo-cli predict {shlex.quote(name)} PICTURE.jpg")
    return 0
