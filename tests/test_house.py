"""The architecture as a test: who may import whom, and through which door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "wmloop"
#: A module may import modules of its own layer and of those below it.
LAYERS = {
    "commands": 0, "config": 0, "errors": 0, "events": 0, "machine": 0, "ranking": 0,
    "seeding": 0, "signals": 0, "streams": 0,
    "dream": 1, "graphs": 1, "learn": 1, "models": 1, "episodes": 1, "envs": 1, "store": 1,
    "agents": 2, "calibration": 2, "serving": 2, "training": 2, "stages": 2,
    "loop": 3, "history": 3, "retention": 3, "pipelines": 3, "view": 3, "player": 3, "report": 3,
    "device": 3, "bundle": 3, "doctor": 3, "tracking": 3,
    "cli": 4, "__main__": 4,
    "__init__": 4,
}  # fmt: skip
DOORS = {
    "typer": {"cli"},
    "rich": {"cli", "view"},
    "gymnasium": {"envs"},
    "safetensors": {"store/tensors.py"},
    "psutil": {"machine", "envs"},
    "pydantic": {"config"},
    "pygame": {"envs", "view", "doctor"},
    "Box2D": {"envs"},
    "av": {"view", "doctor"},
    "matplotlib": {"report"},
    "tensorboard": {"tracking"},
}
FILES = sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_downward(path):
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "wmloop" and len(parts) > 1 and parts[1] in LAYERS:
            assert LAYERS[parts[1]] <= LAYERS[room(path)], f"{path} imports {name} from above"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_each_library_has_one_door(path):
    here = {room(path), str(path.relative_to(ROOT))}
    for name in imports(path):
        allowed = DOORS.get(name.split(".")[0])
        assert allowed is None or here & allowed, f"{path} imports {name}, whose door is {allowed}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_models_know_no_files_and_the_store_knows_no_models(path):
    names = imports(path)
    if room(path) == "store":
        assert not {n for n in names if n.startswith(("torch", "wmloop.models", "wmloop.learn", "wmloop.dream"))}
    if room(path) in {"models", "learn", "dream", "episodes", "envs"}:
        assert not {n for n in names if n.startswith("wmloop.store")}
    if room(path) == "stages":
        assert not {n for n in names if n.startswith(("wmloop.view", "wmloop.loop", "wmloop.cli"))}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_unpickled_or_evaluated(path):
    tree = ast.parse(path.read_text())
    assert not imports(path) & {"pickle", "cPickle", "dill", "cloudpickle", "yaml", "shelve", "marshal"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "torch.load", "torch.save", "__import__"}, f"{path}: {called}"
            assert not any(k.arg == "allow_pickle" for k in node.keywords), f"{path}: allow_pickle"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_atomic_module_renames_or_syncs(path):
    if path.name == "atomic.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"os.rename", "os.replace", "os.fsync", "shutil.move"}, str(path)


def test_there_is_no_room_for_leftovers():
    assert not {p.stem for p in FILES} & {"utils", "util", "common", "base", "helpers", "misc"}
