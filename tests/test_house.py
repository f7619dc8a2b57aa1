"""The rules of the house that a machine can check: who imports whom, what is named where, what is public.

The arrows are those of the map in ``zoo_core/__init__.py``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("zoo-*/zoo_*/__init__.py"))
PACKAGES = [ROOT / "zoo", ROOT / "zoo_core", ROOT / "zoo_cli", *PLUGINS]
SOURCES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))

HEAVY = {"torch", "torchvision", "timm", "numpy", "pydantic", "PIL", "pycocotools", "accelerate", "rich", "safetensors"}
HEAVY |= {"huggingface_hub", "yaml"}

# The modules of the core, lowest first: a module imports from its own room and from the rooms that are named here.
STOREY_0 = ("errors", "contributions", "plugins", "registry")
STOREY_1 = ("specs", "recipes", "detectors.specs")
STOREY_2 = ("types", "ops", "images", "interfaces", "report", "provenance", "detectors", "build")
ROOMS: dict[str, tuple[str, ...]] = {
    "errors": (),
    "contributions": (),
    "plugins": ("errors", "contributions"),
    "registry": ("errors", "contributions", "plugins"),
    "specs": STOREY_0,
    "recipes": (*STOREY_0, "specs"),
    "detectors.specs": (*STOREY_0, "specs", "recipes"),
    "detectors.plugin": STOREY_0,
    "origins": (*STOREY_0, "specs"),
    "types": (*STOREY_0, *STOREY_1),
    "ops": (*STOREY_0, *STOREY_1, "types"),
    "images": (*STOREY_0, *STOREY_1, "types", "ops"),
    "report": (),
    "interfaces": (*STOREY_0, *STOREY_1, "types", "ops", "report"),
    "uninitialised": (),
    "provenance": ("errors",),
    "detectors": (*STOREY_0, *STOREY_1, "types", "ops", "images", "interfaces", "report", "provenance"),
    "build": (*STOREY_0, *STOREY_1, "types", "ops", "images", "interfaces", "detectors"),
    "card": (*STOREY_0, *STOREY_1, *STOREY_2),
    "replace": ("errors",),
    "tensor_file": ("errors",),
    "hub": (*STOREY_0, *STOREY_1, *STOREY_2, "origins", "card", "replace", "uninitialised", "tensor_file"),
    "access": ("errors",),
    "remote": (*STOREY_0, *STOREY_1, *STOREY_2, "card", "hub", "access"),
    "push": (*STOREY_0, *STOREY_1, *STOREY_2, "origins", "card", "hub", "access"),
    "transfer": (*STOREY_0, *STOREY_1, *STOREY_2, "hub", "tensor_file"),
    "create": (*STOREY_0, *STOREY_1, *STOREY_2, "importing", "transfer"),
    "pickles": ("errors",),
    "importing": (*STOREY_0, *STOREY_1, *STOREY_2, "hub", "remote", "transfer"),
    "data.plugin": STOREY_0,
    "data": (*STOREY_0, *STOREY_1, *STOREY_2),
    "engine": (*STOREY_0, *STOREY_1, *STOREY_2, "data", "hub", "replace"),
    "testing": (*STOREY_0, *STOREY_1, *STOREY_2, "hub", "importing"),
}
# What of the world outside each storey may import when it is loaded, beside the standard library.
OUTSIDE = {
    **{room: {"pluggy"} for room in (*STOREY_0, "detectors.plugin", "data.plugin")},
    **{room: {"pluggy", "pydantic", "pydantic_core", "typing_extensions"} for room in STOREY_1},
    "pickles": {"torch"},
}

# The public surface, sorted. A change here is a change for every user: it belongs into CHANGELOG.md.
PUBLIC = [
    "Detections",
    "Targets",
    "ZooError",
    "__version__",
    "create",
    "describe",
    "list_models",
    "load",
    "load_weights",
    "push",
    "save",
]


def name_of(path: Path) -> str:
    """Return the dotted name of the module in a file."""
    package = next(package for package in PACKAGES if package in path.parents)
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, on_load: bool = False) -> Iterator[tuple[str, int]]:
    """Yield (dotted name, line) of what a file imports; with `on_load`, only what is imported when the module is."""
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif on_load and (isinstance(node, ast.FunctionDef | ast.Lambda | ast.AsyncFunctionDef) or _for_types(node)):
            continue
        todo += ast.iter_child_nodes(node)


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def room_of(module: str) -> str:
    """Return the room of a dotted name in the core: the longest key of `ROOMS` that it begins with."""
    inside = module.removeprefix("zoo_core.")
    return max((room for room in ROOMS if f"{inside}.".startswith(f"{room}.")), key=len, default="")


def stranger(path: Path, module: str) -> str:
    """Return why `path` may not import `module`, or nothing."""
    own, top = name_of(path), module.partition(".")[0]
    house = top == "zoo" or top.startswith("zoo_")
    if not house or top == own.partition(".")[0] != "zoo_core":
        return ""
    if top != "zoo_core":
        return f"{own} imports {module}; only zoo_core is open to it"
    if own.partition(".")[0] != "zoo_core" or own == "zoo_core":
        return ""
    here, there = room_of(own), room_of(module)
    if not here:
        return f"{own} has no room on the map"
    if not there:
        return f"{own} imports {module}, which has no room on the map"
    return "" if here == there or there in ROOMS[here] else f"{own} imports {module}: no arrow from {here} to {there}"


@pytest.mark.parametrize(
    ("path", "module", "why"),
    [
        ("zoo_core/errors.py", "zoo_core.registry.find", "no arrow from errors to registry"),
        ("zoo_core/ops/iou.py", "zoo_core.interfaces.Neck", "no arrow from ops to interfaces"),
        ("zoo_core/ops/iou.py", "zoo_core.ops.boxes.area", ""),
        ("zoo_core/detectors/specs.py", "zoo_core.types.Targets", "no arrow from detectors.specs to types"),
        ("zoo_core/detectors/plugin.py", "zoo_core.specs.Spec", "no arrow from detectors.plugin to specs"),
        ("zoo_core/build.py", "zoo_core.hub.save", "no arrow from build to hub"),
        ("zoo_core/pickles.py", "zoo_core.registry.find", "no arrow from pickles to registry"),
        ("zoo_core/hub.py", "zoo_core.importing.import_model", "no arrow from hub to importing"),
        ("zoo_core/hub.py", "zoo_core.remote.fetch", "no arrow from hub to remote"),
        ("zoo_core/data/coco.py", "zoo_core.engine.train.train", "no arrow from data to engine"),
        ("zoo_core/engine/train.py", "zoo_core.data.open.open_data", ""),
        ("zoo_core/attic.py", "zoo_core.errors.ZooError", "zoo_core.attic has no room on the map"),
        ("zoo_core/build.py", "zoo_fpn.fpn.FPN", "only zoo_core is open to it"),
        ("zoo_core/build.py", "zoo.create", "only zoo_core is open to it"),
        ("zoo_cli/main.py", "zoo.create", "only zoo_core is open to it"),
        ("plugins/zoo-fpn/zoo_fpn/fpn.py", "zoo_rcnn.rpn.RPN", "only zoo_core is open to it"),
        ("plugins/zoo-fpn/zoo_fpn/fpn.py", "zoo_core.interfaces.Neck", ""),
        ("plugins/zoo-fpn/zoo_fpn/fpn.py", "torch.nn", ""),
    ],
)
def test_the_judge_of_arrows(path, module, why) -> None:
    assert why in stranger(ROOT / path, module)
    assert bool(why) == bool(stranger(ROOT / path, module))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_imports_follow_the_arrows(package) -> None:
    sources = [path for path in SOURCES if package in path.parents]
    wrong = [f"line {line}: {why}" for path in sources for module, line in imports(path) if (why := stranger(path, module))]
    assert not wrong, "\n".join(wrong)


def test_the_storeys_below_torch_do_not_import_it() -> None:
    wrong = []
    for path in SOURCES:
        own = name_of(path)
        allowed = OUTSIDE.get(room_of(own)) if own.startswith("zoo_core.") else None
        if allowed is not None:
            loaded = {module.partition(".")[0] for module, _ in imports(path)}
            wrong += [f"{own} imports {name}" for name in sorted(loaded & HEAVY - allowed)]
    assert not wrong, "\n".join(wrong)


def test_what_listing_loads_is_light() -> None:
    light = [path for path in SOURCES if path.name == "plugin.py"]
    light += [path for package in PACKAGES for path in [package / "__init__.py"]]
    light += [ROOT / "zoo_cli" / name for name in ("main.py", "parser.py", "table.py")]
    light += [ROOT / "zoo_cli/commands" / name for name in ("list.py", "show.py", "plugins.py")]
    storey_0 = {f"zoo_core.{room}" for room in STOREY_0}
    wrong = []
    for path in light:
        for module, line in imports(path, on_load=True):
            top = module.partition(".")[0]
            inside = top == "zoo_core" and not any(f"{module}.".startswith(f"{room}.") for room in storey_0)
            if top in HEAVY or inside:
                wrong.append(f"{path.relative_to(ROOT)}, line {line}: imports {module}")
    assert not wrong, "\n".join(wrong)


def test_the_command_line_imports_heavy_libraries_inside_a_command_only() -> None:
    heavy = HEAVY | {"zoo_core.types", "zoo_core.build", "zoo_core.hub", "zoo_core.data", "zoo_core.engine"}
    allowed = {ROOT / "zoo_cli/options.py", ROOT / "zoo_cli/saved_model.py"}  # imported by `show`, when it runs
    wrong = [
        f"{path.relative_to(ROOT)}, line {line}: imports {module}"
        for path in sorted((ROOT / "zoo_cli").rglob("*.py"))
        if path not in allowed
        for module, line in imports(path, on_load=True)
        if any(f"{module}.".startswith(f"{name}.") for name in heavy)
    ]
    assert not wrong, "\n".join(wrong)


def _code_strings(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the string literals of a file that are not docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value, node.lineno


def test_the_core_names_no_plugin_and_no_part_of_one() -> None:
    from zoo_core.plugins import CORE
    from zoo_core.registry import entries

    ours = {path.parent.name for path in PLUGINS} | {path.name for path in PLUGINS}
    parts = {
        entry.contribution.name
        for entry in entries()
        if entry.plugin.distribution in ours and entry.plugin.distribution != CORE
    }
    plugin = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in sorted(ours)))
    wrong = []
    for path in sorted((ROOT / "zoo_core").rglob("*.py")):
        for line, source in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code = source.partition("#")[0]
            if plugin.search(code) and path.name not in ("plugins.py",):
                wrong.append(f"{path.relative_to(ROOT)}, line {line}: names a plugin: {source.strip()}")
        wrong += [
            f"{path.relative_to(ROOT)}, line {line}: names a part of a plugin: {text!r}"
            for text, line in _code_strings(path)
            if text in parts
        ]
    assert parts, "no plugin is installed"
    assert not wrong, "\n".join(wrong)


def test_no_room_for_odds_and_ends() -> None:
    banned = re.compile(r"^_*(utils?|misc|common|helpers?|tools|stuff)$")
    wrong = [str(path.relative_to(ROOT)) for path in SOURCES if banned.match(path.stem) or banned.match(path.parent.name)]
    assert not wrong


def test_files_are_short() -> None:
    long = {
        str(path.relative_to(ROOT)): n for path in SOURCES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert not long, f"a file is one noun, rarely over 300 lines: {long}"


def test_functions_fit_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}, line {node.lineno}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.end_lineno and node.end_lineno - node.lineno + 1 > 60
    ]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_every_package_is_typed_and_explains_itself(package) -> None:
    assert (package / "py.typed").is_file()
    silent = [
        str(path.relative_to(ROOT))
        for path in sorted(package.rglob("*.py"))
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent, f"without a docstring: {silent}"


def test_assert_is_for_tests() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}, line {node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert not wrong, wrong


def test_the_public_surface() -> None:
    import zoo

    assert sorted(zoo.__all__) == PUBLIC
    assert sorted(name for name in dir(zoo) if name in zoo.__all__) == PUBLIC
    assert all(getattr(zoo, name) is not None for name in PUBLIC)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    import zoo

    with pytest.raises(AttributeError, match=r"module 'zoo' has no attribute 'craete'"):
        zoo.craete  # noqa: B018


def test_the_client_of_the_hub_is_imported_when_it_is_needed() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}, line {line}"
        for path in SOURCES
        for module, line in imports(path, on_load=True)
        if module.partition(".")[0] == "huggingface_hub"
    ]
    assert not wrong, "\n".join(wrong)


def test_importing_the_front_door_is_cheap() -> None:
    import subprocess
    import sys

    program = "import sys, zoo; print([m for m in ('torch', 'pydantic', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
