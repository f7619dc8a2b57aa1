"""The frame around the commands: help, mistakes, errors, interrupts, commands of plugins."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace

import pytest

from zoo_cli import main as frame
from zoo_core.errors import SpecError

COMMAND = """
from zoo_core.plugins import hookimpl

@hookimpl
def zoo_commands():
    yield "greet", "says hello", "zoo_hello_plugin"

def arguments(parser):
    parser.add_argument("name")

def run(args):
    print("hello", args.name)
"""


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(args: Namespace) -> int:
        raise error

    monkeypatch.setattr("zoo_cli.commands.list.run", run)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
def test_help_names_every_command(cli, arguments) -> None:
    outcome = cli(*arguments)
    assert outcome.status == 0
    assert all(f"\n  {name} " in outcome.out for name in ("list", "show", "plugins", "train", "eval", "predict"))
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize("command", [command.name for command in frame.BUILT_IN])
def test_help_of_a_command_fits_the_terminal(cli, command) -> None:
    outcome = cli("help", command)
    assert outcome.status == 0
    assert outcome.out == cli(command, "--help").out
    assert f"usage: zoo-cli {command}" in outcome.out
    assert f"  zoo-cli {command}" in outcome.out.partition("\n")[2], "no example"
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_version(cli) -> None:
    assert cli("--version").out.startswith("zoo-cli 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lst",), "no command 'lst'; did you mean 'list'? (see 'zoo-cli --help')"),
        (("list", "--jsn"), "no option '--jsn'; did you mean '--json'? (see 'zoo-cli list --help')"),
        (("list", "--kind", "nekc"), "argument --kind: no kind 'nekc'; did you mean 'neck'? (see 'zoo-cli list --help')"),
        (("list", "a", "b"), "one argument too many: 'b' (see 'zoo-cli list --help')"),
        (("show",), "the following arguments are required: NAME (see 'zoo-cli show --help')"),
        (("--jsn", "list"), "no option '--jsn' (see 'zoo-cli --help')"),
    ],
)
def test_mistakes_are_told_in_one_line(cli, arguments, message) -> None:
    outcome = cli(*arguments)
    assert (outcome.status, outcome.out, outcome.err) == (2, "", f"zoo-cli: error: {message}\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SpecError([("neck", "no option 'x'")]), "neck: no option 'x'"),
        (SpecError([("neck", "a"), ("", "b")]), "2 options do not fit\n  neck: a\n  b"),
        (SpecError([("neck", "no 'x\x1b[2J\r\x9b'\nat all")]), r"neck: no 'x\x1b[2J\r\x9b'" + "\n  at all"),
        (FileNotFoundError(2, "No such file or directory", "a.jpg"), "a.jpg: No such file or directory"),
    ],
)
def test_errors_are_told_without_a_traceback(cli, monkeypatch, error, message) -> None:
    fail_with(monkeypatch, error)
    outcome = cli("list")
    assert (outcome.status, outcome.err) == (2, f"zoo-cli: error: {message}\n")


@pytest.mark.parametrize("way", ["before", "after", "variable"])
def test_debug_shows_the_traceback(cli, monkeypatch, way) -> None:
    fail_with(monkeypatch, SpecError([("neck", "wrong")]))
    if way == "variable":
        monkeypatch.setenv("ZOO_DEBUG", "1")
    outcome = cli(*{"before": ("--debug", "list"), "after": ("list", "--debug"), "variable": ("list",)}[way])
    assert outcome.status == 2
    assert "Traceback" in outcome.err
    assert outcome.err.endswith("zoo-cli: error: neck: wrong\n")


def test_a_bug_of_ours_is_not_dressed_up(cli, monkeypatch) -> None:
    fail_with(monkeypatch, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        cli("list")


@pytest.mark.parametrize("code", [0, 7, "no licence"])
def test_a_command_that_leaves_the_program_has_not_succeeded(cli, monkeypatch, code) -> None:
    fail_with(monkeypatch, SystemExit(code))
    outcome = cli("list")
    assert (outcome.status, outcome.err) == (2, f"zoo-cli: error: the command was ended from within (SystemExit: {code})\n")


def test_a_command_whose_import_leaves_the_program_is_the_plugins_fault(cli, install) -> None:
    install("zoo-hello", COMMAND.replace("def arguments(parser):", "def arguments(parser):\n    raise SystemExit(0)"))
    outcome = cli("greet", "Ada")
    assert (outcome.status, outcome.err) == (2, "zoo-cli: error: the command 'greet' of zoo-hello: SystemExit: 0\n")


class OutOfMemoryError(RuntimeError):
    """Like PyTorch's."""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "MemoryError"),
        (OutOfMemoryError("CUDA out of memory.\nTried"), "CUDA out of memory."),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"),
            "DefaultCPUAllocator: can't allocate memory: 9 bytes",
        ),
    ],
)
def test_want_of_memory_is_told_in_one_line(cli, monkeypatch, error, text) -> None:
    fail_with(monkeypatch, error)
    outcome = cli("list")
    advice = "use smaller images or a smaller --batch-size"
    assert (outcome.status, outcome.err) == (2, f"zoo-cli: error: out of memory ({text}); {advice}\n")


def test_an_interrupt_is_one_line(cli, monkeypatch) -> None:
    fail_with(monkeypatch, KeyboardInterrupt())
    outcome = cli("list")
    assert (outcome.status, outcome.err) == (130, "\nzoo-cli: interrupted\n")


def test_a_reader_that_goes_away_is_no_error() -> None:
    program = "import sys; from zoo_cli.main import main; sys.exit(main(['list', '--json']))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_terminal_without_all_letters_is_no_error() -> None:
    program = "import sys; from zoo_cli.main import main; sys.exit(main(['--help']))"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: zoo-cli COMMAND [OPTION?]" in done.stdout


def test_a_plugin_adds_a_command(cli, install) -> None:
    install("zoo-hello", COMMAND)
    assert cli("greet", "Ada").out == "hello Ada\n"
    assert cli("zoo-hello/greet", "Ada").out == "hello Ada\n"
    assert "greet    says hello (zoo-hello)" in cli("--help").out
    assert "did you mean 'greet'?" in cli("gret").err


def test_a_command_offered_twice_is_told(cli, install) -> None:
    install("zoo-hello", COMMAND)
    install("zoo-hallo", COMMAND)
    assert cli("greet", "Ada").err == (
        "zoo-cli: error: the command 'greet' is offered twice; write 'zoo-hallo/greet' or 'zoo-hello/greet'\n"
    )


def test_a_command_that_does_not_load_is_the_plugins_fault(cli, install) -> None:
    install("zoo-hello", COMMAND.replace('"zoo_hello_plugin"', '"zoo_nowhere"'))
    assert cli("greet", "Ada").err == (
        "zoo-cli: error: the command 'greet' of zoo-hello: ModuleNotFoundError: No module named 'zoo_nowhere'\n"
    )
