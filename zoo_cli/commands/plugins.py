"""List the plugins: what each offers, and why one does not load.

Examples:
  zoo-cli plugins                   one line for each, and the errors
  zoo-cli plugins --trace           with the traceback of each error
  ZOO_PLUGINS=none zoo-cli list     with the core alone
  ZOO_PLUGINS=zoo-fpn zoo-cli list  with the plugins named (commas between)
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from typing import Any

from zoo_cli.table import table
from zoo_core.plugins import CORE, Plugin, plugins


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--trace", action="store_true", help="show the traceback of each plugin that does not load")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: Namespace) -> int:
    """Print the plugins. Broken ones are told, and are no failure of the command."""
    found = plugins()
    if args.json:
        print(json.dumps([record(plugin) for plugin in found], indent=2))
        return 0
    rows = [(p.status, p.distribution, p.version, p.name, _offer(p)) for p in found]
    print("\n".join(table(("STATUS", "DISTRIBUTION", "VERSION", "PLUGIN", "OFFERS"), rows)))
    for plugin in found:
        if plugin.status == "broken":
            print(f"\n{plugin.distribution}: {plugin.error}")
            if args.trace:
                print("".join(f"  {line}\n" for line in plugin.trace.splitlines()), end="")
            print(f"  loaded from   {plugin.module}")
            print(f"  {'to mend it' if plugin.distribution == CORE else 'to remove it'}  {remedy(plugin)}")
    return 0


def remedy(plugin: Plugin) -> str:
    """Return the command that gets rid of a plugin that does not load."""
    if plugin.distribution == CORE:
        return f"pip install --force-reinstall --no-deps {CORE}"
    return f"pip uninstall {plugin.distribution}"


def record(plugin: Plugin) -> dict[str, Any]:
    """Return a plugin as JSON has it."""
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "module": plugin.module,
        "status": plugin.status,
        "contributions": [f"{c.kind}/{c.name}" for c in plugin.contributions],
        "commands": [command[0] for command in plugin.commands],
        "error": plugin.error,
        "trace": plugin.trace,
        "remedy": remedy(plugin) if plugin.status == "broken" else "",
    }


def _offer(plugin: Plugin) -> str:
    if plugin.status != "ok":
        return "-"
    names = [c.name for c in plugin.contributions] + [f"zoo-cli {command[0]}" for command in plugin.commands]
    return ", ".join(names) or "nothing"
