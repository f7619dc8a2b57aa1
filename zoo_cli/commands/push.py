"""Put a model on the Hub, with its card.

Who pushes is whoever is logged in ('hf auth login'), or HF_TOKEN.

Examples:
  zoo-cli push runs/first org/traffic
  zoo-cli push runs/first org/traffic --private --license apache-2.0
  zoo-cli eval runs/first --data PATH --json > figures.json
  zoo-cli push runs/first org/traffic --evaluation figures.json
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from zoo_core.errors import InputError

LONGEST = 2**24


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a folder that 'zoo-cli train' or zoo.save wrote")
    parser.add_argument("repository", metavar="ORG/NAME", help="where it goes; made when it is not there")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--private", dest="private", action="store_true", default=None, help="a new repository is private")
    group.add_argument("--public", dest="private", action="store_false", help="a new repository is public")
    parser.add_argument("--revision", metavar="BRANCH", help="the branch (default: main); made when it is not there")
    parser.add_argument("--message", metavar="TEXT", help="of the commit")
    parser.add_argument("--license", metavar="NAME", help="in the model card, such as apache-2.0")
    parser.add_argument("--base-model", metavar="ORG/NAME", help="in the model card: what it was trained from")
    parser.add_argument("--evaluation", type=Path, metavar="FILE", help="what 'zoo-cli eval --json' printed, for the card")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="the text of the model card, in place of what is there")
    add_endpoint(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def add_endpoint(parser: ArgumentParser) -> None:
    """Declare ``--endpoint``."""
    parser.add_argument("--endpoint", metavar="URL", help="another Hub (default: HF_ENDPOINT, or the public one)")


def run(args: Namespace) -> int:
    """Push, and print the address of the commit."""
    from zoo_core.push import push

    url = push(
        args.model,
        args.repository,
        private=args.private,
        revision=args.revision,
        message=args.message,
        endpoint=args.endpoint,
        card=facts(args),
        readme=None if args.readme is None else text_of(args.readme, "--readme"),
    )
    if args.json:
        print(json.dumps({"model": str(args.model), "repository": args.repository, "commit": url}, indent=2))
        return 0
    at = f" --revision {args.revision}" if args.revision else ""
    print(f"{args.model} is now {url}\nnext:\n  zoo-cli pull {args.repository}{at}")
    return 0


def facts(args: Namespace) -> dict[str, Any]:
    """Return what the options say of the model."""
    found: dict[str, Any] = {"license": args.license, "base_model": args.base_model}
    if args.evaluation is not None:
        try:
            found["evaluation"] = json.loads(text_of(args.evaluation, "--evaluation"))
        except (ValueError, RecursionError) as error:
            raise InputError(f"--evaluation {args.evaluation} is not what 'zoo-cli eval --json' prints: {error}") from error
    return {key: value for key, value in found.items() if value is not None}


def text_of(path: Path, option: str) -> str:
    """Return the content of a text file."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise InputError(f"{option} {path} is too long")
        return content.decode("utf-8")
    except OSError as error:
        raise InputError(f"{option} {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{option} {path} is not a text file in UTF-8") from error
