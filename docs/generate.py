"""Writes what the pages of docs/ have from the program itself: commands.md, recipes.md, and the files that pages show.

``make docs`` runs this; a test fails when a page is stale. A line ``<!-- file: PATH -->`` in a page is followed by the
content of that file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
from pathlib import Path

import torch

from zoo_cli.main import BUILT_IN, Command
from zoo_cli.options import options
from zoo_cli.parser import Parser
from zoo_core.build import build
from zoo_core.contributions import KINDS, Family
from zoo_core.data.specs import AugmentSpec
from zoo_core.engine.specs import TrainSpec
from zoo_core.recipes import resolve
from zoo_core.registry import Entry, entries

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py; edit that, or the program, and run `make docs`. -->"


def commands() -> str:
    """Return the page of the commands of zoo-cli."""
    parts = [NOTE, "# The commands", "Each command explains itself: `zoo-cli COMMAND --help`."]
    return "\n\n".join([*parts, *map(_command, BUILT_IN)]) + "\n"


def _command(command: Command) -> str:
    module = importlib.import_module(command.module)
    parser = Parser(prog=f"zoo-cli {command.name}")
    module.arguments(parser)
    said, _, examples = (module.__doc__ or "").strip().partition("\n\nExamples:\n")
    rows = [_row(action) for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    parts = [f"## zoo-cli {command.name}", said, f"```\n{_dedented(examples)}\n```"]
    parts.append("| argument | meaning |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts + ([_of_training()] if command.name == "train" else []))


def _of_training() -> str:
    """Return the settings of a training run."""
    lines = ["What `--set train.KEY=VALUE` changes:", "", "| setting | type | default | meaning |", "|---|---|---|---|"]
    for name, part in (("train", TrainSpec), ("train.augment", AugmentSpec)):
        for option in options(part):
            if option.name != "augment":
                shown = option.type.replace("|", r"\|")
                lines.append(f"| `{name}.{option.name}` | {shown} | `{json.dumps(option.default)}` | {option.meaning} |")
    return "\n".join(lines)


def _row(action: argparse.Action) -> str:
    name = ", ".join(action.option_strings) or str(action.metavar)
    value = f" {action.metavar or action.dest.upper()}" if action.option_strings and action.nargs != 0 else ""
    return f"| `{name}{value}` | {(action.help or '').replace('%%', '%').replace('|', chr(92) + '|')} |"


def _dedented(examples: str) -> str:
    return "\n".join(line.removeprefix("  ") for line in examples.splitlines())


def recipes() -> str:
    """Return the page of what the distributions of this repository offer."""
    ours = {"zoo-core", *(path.name for path in (DOCS.parent / "plugins").iterdir())}
    found = sorted((e for e in entries() if e.plugin.distribution in ours), key=lambda entry: entry.contribution.name)
    parts = [
        NOTE,
        "# Recipes and parts",
        "A recipe is a complete detector; its parts can be replaced by any other of their kind.",
    ]
    for kind in KINDS:
        listed = [entry for entry in found if entry.contribution.kind == kind]
        detectors = kind == "detector"
        head = "| name | from | what it is |\n|---|---|---|\n"
        if detectors:
            head = "| name | from | shape | parameters at 80 classes | what it is |\n|---|---|---|---|---|\n"
        if listed:
            parts += [f"## {kind}", head + "\n".join(map(_recipe if detectors else _entry, listed))]
    return "\n\n".join(parts) + "\n"


def _entry(entry: Entry) -> str:
    part = entry.contribution
    name = f"(any {part.name} name)" if isinstance(part, Family) else f"`{part.name}`"
    return f"| {name} | {entry.plugin.distribution} | {part.summary} |"


def _recipe(entry: Entry) -> str:
    part, spec = entry.contribution, resolve(entry.contribution.name, {"num_classes": 80})
    with torch.device("meta"):  # sizes alone, no memory
        count = sum(parameter.numel() for parameter in build(spec).parameters())
    return f"| `{part.name}` | {entry.plugin.distribution} | `{spec.type}` | {count:,} | {part.summary or 'a recipe'} |"


SHOWN = re.compile(r"<!-- file: (\S+) -->\n(?:\n```\w*\n.*?\n```\n)?", re.DOTALL)


def with_files(text: str) -> str:
    """Return a page with the content of the files that it shows."""
    return SHOWN.sub(lambda found: f"{found[0].splitlines()[0]}\n\n{_fenced(found[1])}\n", text)


def _fenced(name: str) -> str:
    path = DOCS.parent / name
    language = {".py": "python", ".toml": "toml"}.get(path.suffix, "")
    return f"```{language}\n{path.read_text(encoding='utf-8').rstrip()}\n```"


def pages() -> dict[str, str]:
    """Return the text that each page ought to have."""
    others = {path.name: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
    return {name: with_files(text) for name, text in {**others, "commands.md": commands(), "recipes.md": recipes()}.items()}


def main() -> None:
    """Write each page, and say whether it has changed."""
    for name, text in pages().items():
        path = DOCS / name
        stale = not path.is_file() or path.read_text(encoding="utf-8") != text
        path.write_text(text, encoding="utf-8")
        print(f"docs/{name}: {'written anew' if stale else 'fresh'}")  # noqa: T201


if __name__ == "__main__":
    main()
