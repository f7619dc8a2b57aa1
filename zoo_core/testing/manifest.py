"""The contract of a plugin: what its manifest declares is there, is what it says, and costs nothing to list."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

from zoo_core.contributions import Family, Recipe
from zoo_core.detectors.detector import Detector
from zoo_core.errors import SpecError
from zoo_core.importing import Importer
from zoo_core.interfaces import Backbone, DenseHead, Neck, RoIHead
from zoo_core.plugins import GROUP, Plugin, plugins, read
from zoo_core.registry import Entry
from zoo_core.specs import ComponentSpec, Slot, spec_class, validate
from zoo_core.testing.contract import Contract, check_spec

BASES: dict[str, type] = {
    "assembly": Detector,
    "backbone": Backbone,
    "neck": Neck,
    "dense_head": DenseHead,
    "roi_head": RoIHead,
    "importer": Importer,
}
HEAVY = {"torch", "torchvision", "cv2", "scipy", "pandas", "matplotlib", "transformers", "tensorflow", "jax"}
HEAVY_TO_LIST = HEAVY | {"pydantic", "numpy", "PIL"}


def check_plugin(name: str) -> None:
    """Check every plugin of an installed distribution, or one module that is a plugin.

    Args:
        name: a distribution such as "zoo-mine", or a module such as "zoo_mine.plugin".

    Raises:
        ContractError: a promise that is not kept, or nothing of that name.
    """
    contract = Contract(f"plugin '{name}'")
    found = [plugin for plugin in plugins() if plugin.distribution == name]
    if not found:
        with contract.case("imported as a module, for no distribution of that name has plugins"):
            found = [read(Plugin(name, name, "0", name), importlib.import_module(name))]
    for plugin in found:
        contract.demand(plugin.status == "ok", f"'{plugin.name}' is {plugin.status}: {plugin.error}")
        contract.demand(plugin.contributions or plugin.commands, "it offers nothing; is each hook marked with @hookimpl?")
        _check_weight(contract, plugin)
        for contribution in plugin.contributions:
            with contract.case(f"{contribution.kind} '{contribution.name}'"):
                _check_contribution(contract, Entry(contribution, plugin))
        for command, _, module in plugin.commands:
            with contract.case(f"command '{command}'"):
                loaded = importlib.import_module(module)
                missing = [part for part in ("arguments", "run") if not callable(getattr(loaded, part, None))]
                contract.demand(not missing, f"{module} has no function {' and no function '.join(missing)}")


def _check_contribution(contract: Contract, entry: Entry) -> None:
    contribution = entry.contribution
    if isinstance(contribution, Recipe):
        spec = entry.spec()
        contract.demand(isinstance(spec, ComponentSpec), f"the recipe returns a {type(spec).__name__}, not a spec")
        Slot("assembly").resolve(spec)
        check_spec(contract, spec)
        return
    target = entry.target()
    base = BASES.get(contribution.kind)
    contract.demand(callable(target), f"{contribution.target} cannot be called")
    right = base is None or (isinstance(target, type) and issubclass(target, base))
    contract.demand(right, f"{contribution.target} is no subclass of {base and base.__name__}")
    cls = spec_class(entry)
    default = cls.model_fields["type"].get_default()
    if isinstance(contribution, Family):
        entry.load(contribution.offers)
        known = entry.call(contribution.names)
        contract.demand(known and all(isinstance(one, str) for one in known), f"{contribution.names} lists no names")
        for one in (known[0], known[-1]):
            contract.demand(entry.call(contribution.offers, one) is True, f"it lists '{one}', but does not offer it")
        contract.demand(not entry.call(contribution.offers, "no such part"), "it offers any name whatever")
        return
    told = default is None or not isinstance(default, str) or default == contribution.name
    contract.demand(
        told, f"the `type` of {cls.__name__} is '{default}' by default; it must be the registered name, or required"
    )
    required = [name for name, field in cls.model_fields.items() if field.is_required() and name != "type"]
    try:
        check_spec(contract, validate(cls, {"type": contribution.name}))
    except SpecError as error:
        contract.demand(required, f"{cls.__name__} has a default for each option, but they do not fit: {error}")


def _check_weight(contract: Contract, plugin: Plugin) -> None:
    """Check, in a fresh interpreter, what is imported to list the plugin, and to describe its parts."""
    point = f"EntryPoint({plugin.name!r}, {plugin.module!r}, {GROUP!r})"
    heavy = _imported(contract, f"read(Plugin('', '', '', ''), {point}.load())") & HEAVY_TO_LIST
    text = f"listing imports {', '.join(sorted(heavy))}; {plugin.module} may import zoo_core.plugins and zoo_core.contributions"
    contract.demand(not heavy, text)
    modules = sorted({c.spec.partition(":")[0] for c in plugin.contributions if not isinstance(c, Recipe)})
    heavy = _imported(contract, f"[import_module(name) for name in {modules!r}]") & HEAVY
    text = f"the options ({', '.join(modules)}) import {', '.join(sorted(heavy))}; keep them in a module without"
    contract.demand(not heavy, text)


def _imported(contract: Contract, code: str) -> set[str]:
    """Return the top-level modules that are there after running `code` in a fresh interpreter."""
    lines = (
        "import sys",
        "from importlib import import_module",
        "from importlib.metadata import EntryPoint",
        "from zoo_core.plugins import Plugin, read",
        code,
        "print(*{name.partition('.')[0] for name in sys.modules})",
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, env=environment, check=False
    )
    contract.demand(done.returncode == 0, f"it cannot be imported in a fresh interpreter:\n{done.stderr}")
    return set(done.stdout.split())
