"""The argument parser of the commands: argparse whose messages name the nearest right word."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from zoo_core.errors import nearest


class UsageError(Exception):
    """A command line that does not parse. `prog` is the command whose help tells more."""

    def __init__(self, message: str, prog: str = "zoo-cli") -> None:
        self.prog = prog
        super().__init__(message)


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `UsageError`, takes no abbreviations, and guesses what was meant."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse, and say of each unknown option which one is like it."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(self._unknown(unknown[0]))
        return parsed

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`."""
        raise UsageError(message, self.prog)

    def _unknown(self, argument: str) -> str:
        if not argument.startswith("-"):
            return f"one argument too many: '{argument}'"
        option = argument.partition("=")[0]
        known = [name for action in self._actions for name in action.option_strings]
        return f"no option '{option}'{nearest(option, known)}"


def one_of(names: Sequence[str], noun: str) -> Any:
    """Return an argparse type that accepts `names`, and otherwise says which is nearest."""

    def parse(text: str) -> str:
        if text not in names:
            hint = nearest(text, names) or f" (one of {', '.join(names)})"
            raise argparse.ArgumentTypeError(f"no {noun} '{text}'{hint}")
        return text

    return parse
