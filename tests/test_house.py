"""The rooms of the package: what may import what, and how large a file may be."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "keras_sparse"

_GROUND = ("storage", "messages", "backend")
_BELOW_ENGINE = (*_GROUND, "probe", "sparsity")
# Each room with the rooms that it may import from.
MAY_USE = {
    "storage": (),
    "messages": (),
    "backend": ("storage", "messages"),
    "probe": _GROUND,
    "sparsity": (*_GROUND, "probe"),
    "plots": _BELOW_ENGINE,
    "data": ("storage", "messages"),
    "models": ("messages",),
    "deploy": (*_BELOW_ENGINE, "plots"),
    "migrate": (*_GROUND, "probe"),
    "distribute": _GROUND,
    "engine": _BELOW_ENGINE,
    "analysis": (*_BELOW_ENGINE, "engine", "methods", "signal_propagation", "plots"),
    "signal_propagation": _BELOW_ENGINE,
    "methods": (*_BELOW_ENGINE, "engine", "distribute", "signal_propagation"),
    "posttrain": (*_BELOW_ENGINE, "engine", "deploy", "plots"),
    "structured": (*_BELOW_ENGINE, "engine", "distribute", "deploy", "plots"),
    "layers": (*_BELOW_ENGINE, "engine"),
    "graphs": (*_BELOW_ENGINE, "engine", "distribute"),
    "precision": (*_BELOW_ENGINE, "engine", "layers", "graphs", "plots"),
    "streaming": (*_BELOW_ENGINE, "engine"),
    "tuning": (
        *_BELOW_ENGINE,
        *("engine", "methods", "data", "distribute", "deploy", "plots", "analysis"),
    ),
    "transfer": (*_BELOW_ENGINE, "engine", "methods", "data", "plots"),
}
# They use everything, and nothing uses them.
ROOF = ("experiments", "cli", "__init__")


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(path):
    """Rooms of this package that a module imports, also inside of functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "keras_sparse":
                yield from parts[1:2] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "keras_sparse":
                    yield parts[1] if len(parts) > 1 else "__init__"


def test_no_module_stands_loose():
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "cli.py"}
    assert {room_of(path) for path in modules()} == {*MAY_USE, *ROOF}


@pytest.mark.parametrize("room", MAY_USE)
def test_no_room_imports_upwards(room):
    upwards = {
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path in modules()
        if room_of(path) == room
        for other in imported_rooms(path)
        if other not in (room, *MAY_USE[room])
    }
    assert not upwards


def test_files_are_short():
    lines = {
        str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules()
    }
    assert {name: count for name, count in lines.items() if count > 320} == {}


def test_one_room_tells_the_backends_apart():
    """TensorFlow and JAX are imported where the plan says, and nowhere else."""
    allowed = ("backend", "deploy", "data", "distribute", "migrate", *ROOF)
    found = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            if any(name.split(".")[0] in ("tensorflow", "jax") for name in names):
                found.add(room_of(path))
    assert found <= set(allowed)


def test_the_backend_is_asked_for_in_one_room():
    asking = {room_of(path) for path in modules() if "backend.backend()" in path.read_text("utf-8")}
    assert asking <= {"backend", "deploy", "data", "distribute", "experiments"}
