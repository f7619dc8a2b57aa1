"""The command ``zoo-cli``: finds the command, parses its arguments, runs it, and turns errors into one line.

A command is a module with a docstring (its help), ``arguments(parser)`` and ``run(args) -> int``. Only the module of the
command that is asked for is imported. Plugins add commands through the hook ``zoo_commands``.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from zoo_cli.parser import Parser, UsageError
from zoo_cli.table import table
from zoo_core.errors import AmbiguousNameError, BrokenPluginError, SpecError, ZooError, nearest
from zoo_core.plugins import FOREIGN


@dataclass(frozen=True)
class Command:
    """A command by its name. `plugin` is the distribution that it comes from, empty for the built-in ones."""

    name: str
    summary: str
    module: str
    plugin: str = ""


BUILT_IN = (
    Command("list", "what is installed: recipes and the parts they are made of", "zoo_cli.commands.list"),
    Command("show", "everything about one recipe or part", "zoo_cli.commands.show"),
    Command("plugins", "the plugins, and what is wrong with those that do not load", "zoo_cli.commands.plugins"),
    Command("import", "turn weights of another project into a model", "zoo_cli.commands.import_model"),
    Command("train", "train a detector on a data set", "zoo_cli.commands.train"),
    Command("eval", "measure a trained detector: COCO and VOC average precision", "zoo_cli.commands.eval"),
    Command("predict", "find objects in pictures and draw them", "zoo_cli.commands.predict"),
    Command("push", "put a model on the Hub", "zoo_cli.commands.push"),
    Command("pull", "download a model from the Hub", "zoo_cli.commands.pull"),
    Command("search", "find models on the Hub", "zoo_cli.commands.search"),
)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
"""Control characters but for the end of a line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``zoo-cli`` with the arguments `argv` (those of the process when None) and return the exit status.

    0: done; 1: done, and the answer is "no"; 2: an error, told in one line; 130: interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # a terminal without all letters shows a question mark, and goes on
    debug = "--debug" in arguments or os.environ.get("ZOO_DEBUG", "0") not in ("", "0")
    try:
        status = _run([a for a in arguments if a != "--debug"])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as interrupt:
        _say("\nzoo-cli: interrupted" + (f"; {interrupt}" if str(interrupt) else ""))
        return 130
    except UsageError as error:
        _say(f"zoo-cli: error: {error} (see '{error.prog} --help')")
        return 2
    except (ZooError, OSError, MemoryError, RuntimeError, SystemExit) as error:
        text = _text(error)
        if not text:  # a bug of ours
            raise
        if debug:
            traceback.print_exc()
        _say(f"zoo-cli: error: {text}")
        return 2
    return status


def _say(text: str) -> None:
    """Print to standard error. Texts quote files of others: a terminal must not obey what is in them."""
    print(CONTROL.sub(lambda found: ascii(found[0])[1:-1], text), file=sys.stderr)


def _text(error: BaseException) -> str:
    """Return the text of an error, its further lines indented; nothing of one that is not for the user."""
    if isinstance(error, SpecError) and len(error.problems) > 1:
        return f"{len(error.problems)} options do not fit\n" + "\n".join(f"  {line}" for line in str(error).splitlines())
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, ZooError | OSError):
        return str(error).replace("\n", "\n  ") or type(error).__name__
    if isinstance(error, SystemExit):  # foreign code's; whatever its status, the command has not come to its end
        return f"the command was ended from within (SystemExit: {error})"
    return _want_of_memory(error)


def _want_of_memory(error: BaseException) -> str:
    """Return what to do if `error` is for want of memory. PyTorch's is known by name, so that it need not be imported."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if not named and "can't allocate memory" not in str(error):
        return ""
    first = str(error).partition("\n")[0] or type(error).__name__
    return f"out of memory ({first}); use smaller images or a smaller --batch-size"


def _run(arguments: list[str]) -> int:
    """Take global options, then hand the rest to the command."""
    first = next((i for i, argument in enumerate(arguments) if not argument.startswith("-")), len(arguments))
    name, rest = (arguments[first], arguments[first + 1 :]) if first < len(arguments) else ("help", [])
    top = Parser(prog="zoo-cli", add_help=False)
    top.add_argument("-h", "--help", action="store_true")
    top.add_argument("--version", action="store_true")
    options = top.parse_args(arguments[:first])
    if options.version:
        from importlib.metadata import version

        print(f"zoo-cli {version('zoo-core')} (Python {sys.version.split()[0]})")
        return 0
    if name == "help" and rest:
        name, rest = rest[0], ["--help"]
    if name == "help" or options.help:
        print(_help())
        return 0
    return _execute(find(name), rest)


def _execute(command: Command, arguments: list[str]) -> int:
    try:
        module = importlib.import_module(command.module)
        parser = Parser(prog=f"zoo-cli {command.name}", description=module.__doc__)
        module.arguments(parser)
    except FOREIGN as error:
        if not command.plugin:
            raise
        raise BrokenPluginError(f"the command '{command.name}' of {command.plugin}: {type(error).__name__}: {error}") from error
    parser.add_argument("--debug", action="store_true", help="show where in the code an error arose (also: ZOO_DEBUG=1)")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as exit_:  # argparse, after it has printed a help text
        return exit_.code if isinstance(exit_.code, int) else 0
    return int(module.run(options) or 0)


def contributed() -> list[Command]:
    """Return the commands that plugins add."""
    from zoo_core.plugins import plugins

    return [Command(*command, plugin=plugin.distribution) for plugin in plugins() for command in plugin.commands]


def find(name: str) -> Command:
    """Return the command `name`, or ``distribution/name``; the built-in ones come first and need no plugin."""
    for command in BUILT_IN:
        if command.name == name:
            return command
    others = contributed()
    found = [c for c in others if name in (c.name, f"{c.plugin}/{c.name}")]
    if len(found) > 1:
        qualified = " or ".join(f"'{c.plugin}/{c.name}'" for c in found)
        raise AmbiguousNameError(f"the command '{name}' is offered twice; write {qualified}")
    if not found:
        raise UsageError(f"no command '{name}'{nearest(name, [c.name for c in (*BUILT_IN, *others)])}")
    return found[0]


def _help() -> str:
    others = contributed()
    rows = [(f"  {c.name}", c.summary) for c in BUILT_IN] + [(f"  {c.name}", f"{c.summary} ({c.plugin})") for c in others]
    return "\n".join(
        [
            "usage: zoo-cli COMMAND [OPTION…]",
            "",
            "Object detectors: train, measure and use them.",
            "",
            *table(("commands:", ""), rows),
            "",
            "  zoo-cli COMMAND --help   the options of a command, with examples",
            "  zoo-cli --version        the version",
            "",
            "A first session:",
            "  zoo-cli list --kind detector",
            "  zoo-cli train faster_rcnn_r18_fpn --data PATH --out runs/first",
            "  zoo-cli eval runs/first --data PATH",
            "  zoo-cli predict runs/first PICTURE.jpg",
        ]
    )
