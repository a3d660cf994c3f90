"""The architecture as a test: who may import whom, and through which door."""

import ast
import functools
import graphlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from wmloop.pipelines import PIPELINES, get

ROOT = Path(__file__).parent.parent / "wmloop"
#: The rooms of the house, and the rooms that each may import. A new arrow is a decision: it is drawn here first.
ROOMS = {
    "__init__": "registration",
    "__main__": "cli signals streams",
    "agents": "entries envs episodes errors learn models spaces",
    "api": (
        "bundle commands config device dream_env envs episodes errors events history loop opening player seeding serving "
        "starting store tracking training"
    ),
    "bundle": "__init__ commands config entries errors history legacy models opening pipelines serving spaces store",
    "calibration": "agents config dreams envs episodes models seeding",
    "cli": (
        "__init__ bundle calibration commands config device display doctor envs errors events follower history legacy "
        "loop machine opening pipelines player ranking ranks ray report retention scoring scratch seeding serving signals "
        "starting store streams study torchrun tracking training view"
    ),
    "commands": "torchrun",
    "config": "commands entries errors legacy pipelines",
    "device": "envs errors machine models torchrun",
    "display": "errors",
    "doctor": "__init__ commands config device display envs errors machine scratch store view",
    "dream_env": (
        "agents bundle commands config device dreams envs errors history models opening seeding serving spaces store"
    ),
    "dreams": "entries errors learn models",
    "entries": "errors",
    "envs": "config entries episodes errors machine scratch seeding signals spaces",
    "episodes": "machine spaces",
    "errors": "",
    "events": "legacy",
    "follower": "config device errors history loop opening pipelines ranks store training",
    "graphs": "",
    "history": "pipelines ranking store",
    "learn": "errors ranks",
    "legacy": "",
    "loop": "__init__ config device envs errors events history pipelines ranks retention store training",
    "machine": "",
    "models": "config errors learn spaces",
    "opening": "commands config errors history pipelines store",
    "pipelines": "entries errors",
    "player": "agents display dreams envs errors models seeding spaces",
    "ranking": "",
    "ranks": "errors torchrun",
    "ray": "agents config device envs episodes errors machine scratch spaces",
    "registration": "",
    "report": (
        "__init__ agents calibration config dreams envs episodes events history models pipelines ranking seeding serving "
        "spaces store training view"
    ),
    "retention": "history ranking store",
    "scratch": "errors",
    "seeding": "errors",
    "serving": "agents commands config envs errors history models pipelines spaces store training",
    "scoring": "__init__ agents calibration config device envs history ranking serving store",
    "signals": "",
    "spaces": "config entries errors",
    "stages": "agents calibration config envs episodes learn models ranking seeding store training",
    "starting": "commands config device envs errors events pipelines store",
    "store": "__init__ commands errors legacy machine",
    "streams": "",
    "study": "config errors events history machine opening ranking ray report seeding store",
    "torchrun": "",
    "tracking": "errors events store",
    "training": (
        "agents calibration commands config dreams envs episodes errors events graphs learn legacy models pipelines "
        "ranks seeding spaces store"
    ),
    "view": "display events pipelines ranking streams",
}
DOORS = {
    "typer": {"cli"},
    "rich": {"cli", "view"},
    "gymnasium": {"envs", "dream_env", "registration"},
    "safetensors": {"store/tensors.py"},
    "psutil": {"machine", "envs"},
    "pydantic": {"config"},
    "pygame": {"display", "envs", "doctor"},
    "Box2D": {"envs"},
    "av": {"display", "doctor"},
    "matplotlib": {"report"},
    "tensorboard": {"tracking"},
    "ray": {"ray/gateway.py", "study/ray.py"},
    "submitit": {"study/slurm.py"},
    "torch": {
        "agents", "api", "bundle", "calibration", "cli/play.py", "device", "doctor", "dream_env", "dreams", "graphs", "learn",
        "loop", "models", "player", "ranks", "ray", "report", "scoring", "serving", "stages", "tracking", "training",
    },
}  # fmt: skip
#: Rooms, or files of them, that open files; all others are handed what is in them.
FILES_OPENED = {
    "cli",
    "config",
    "display",
    "envs",
    "machine",
    "ray/identity.py",
    "scratch",
    "store",
    "streams",
    "study",
}
FILES = sorted(ROOT.rglob("*.py"))


def for_each(paths: Sequence[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """Make of a rule for one file the test that each of `paths` keeps it: a test of each would cost more than all rules do."""

    def test_of(rule: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            for path in paths:
                rule(path)

        return test

    return test_of


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def imports(path: Path) -> set[str]:
    names = set()
    tree = parsed(path)
    if path == ROOT / "__init__.py":  # the public names: known to type checkers, imported when they are asked for
        seen = [node for node in tree.body if ast.unparse(node).splitlines()[0] != "if TYPE_CHECKING:"]
        tree = ast.Module(seen, [])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    names = [name.split(".") for name in imports(path) if name.startswith("wmloop.")]
    return {parts[1] if parts[1] in ROOMS else "__init__" for parts in names} - {room(path)}


@for_each(FILES)
def test_a_module_imports_only_from_rooms_that_its_own_may_import(path):
    assert room(path) in ROOMS, f"{path} is in no room of the house: name it, and what it may import"
    assert imported_rooms(path) <= set(ROOMS[room(path)].split()), f"{path} imports from a room that it may not"


def test_no_arrow_between_rooms_is_left_over():
    drawn = {(name, other) for name, others in ROOMS.items() for other in others.split()}
    assert drawn == {(room(path), other) for path in FILES for other in imported_rooms(path)}


def test_rooms_import_in_no_circle():
    list(graphlib.TopologicalSorter({name: others.split() for name, others in ROOMS.items()}).static_order())


@for_each(FILES)
def test_files_are_opened_in_few_rooms(path):
    if {room(path), str(path.relative_to(ROOT))} & FILES_OPENED:
        return
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"open", "os.open"}, f"{path}: {called}"
            mode = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            assert not (called.endswith(".open") and isinstance(mode, str) and len(mode) <= 3), f"{path}: {called}"
            assert not called.endswith((".read_text", ".write_text", ".read_bytes", ".write_bytes")), (
                f"{path}: {called}"
            )


@for_each(FILES)
def test_each_library_has_one_door(path):
    here = {room(path), str(path.relative_to(ROOT))}
    for name in imports(path):
        allowed = DOORS.get(name.split(".")[0])
        assert allowed is None or here & allowed, f"{path} imports {name}, whose door is {allowed}"


@for_each(FILES)
def test_models_know_no_files_and_the_store_knows_no_models(path):
    names = imports(path)
    if room(path) == "store":
        assert not {n for n in names if n.startswith(("torch", "wmloop.models", "wmloop.learn", "wmloop.dreams"))}
    if room(path) in {"models", "learn", "dreams", "episodes", "envs"}:
        assert not {n for n in names if n.startswith("wmloop.store")}
    if room(path) == "stages":
        assert not {n for n in names if n.startswith(("wmloop.view", "wmloop.loop", "wmloop.cli"))}


@for_each(FILES)
def test_nothing_is_unpickled_or_evaluated(path):
    tree = parsed(path)
    assert not imports(path) & {"pickle", "cPickle", "dill", "cloudpickle", "yaml", "shelve", "marshal"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "torch.load", "torch.save", "__import__"}, f"{path}: {called}"
            assert not any(k.arg == "allow_pickle" for k in node.keywords), f"{path}: allow_pickle"


@for_each(FILES)
def test_only_the_disk_module_renames_or_syncs(path):
    if path.name == "disk.py":
        return
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            called, one = ast.unparse(node.func), len(node.args) == 1 and not node.keywords
            assert called not in {"os.rename", "os.replace", "os.fsync", "shutil.move"}, str(path)
            assert not (one and called.endswith((".rename", ".replace"))), f"{path}: {called}"


#: Where a word that is a stage's name is another thing's: V's and M's networks, a machine's memory.
OTHERS = {
    "vision": {"models/networks.py", "serving/world_model.py", "stages/vision.py"},
    "memory": {"models/networks.py", "serving/world_model.py", "stages/memory.py", "doctor.py", "machine.py"},
}


@for_each(FILES)
def test_no_stage_is_named_outside_its_pipeline(path):
    if room(path) in {"pipelines", "config"}:  # groups of settings are named after what they set
        return
    said = {node.value for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant)}
    named = {name for pipeline in PIPELINES.own for name in get(pipeline).names} & {
        word for word in said if isinstance(word, str)
    }
    assert {name for name in named if str(path.relative_to(ROOT)) not in OTHERS.get(name, set())} == set()


#: Where a 64 is no picture's side, or is one that has to be known.
SIXTY_FOURS = {
    "api.py": "an example",
    "cli/stopping.py": "bytes read at once",
    "config/ppo_features.py": "agent steps per gradient step",
    "config/evolution.py": "candidates of a generation in Ha and Schmidhuber 2018",
    "models/blocks.py": "rows computed together",
    "models/controller.py": "widths of layers",
    "models/pixel_policy.py": "channels, and the pictures that the network of Kuth et al. 2021 is built for",
    "models/vision.py": "channels, and V says what pictures it is built for",
    "store/version.py": "digits of a hash",
    "tracking.py": "pictures of a film",
    "config/world_model.py": "dreams of a candidate",
    "training/experience.py": "episodes remembered together",
    "view/state.py": "bars of a histogram",
}
#: Where an environment is named: the default of env.id, and examples.
NAMED = {"config/env.py", "api.py", "serving/trained.py", "cli/start.py"}


def suppositions(tree: ast.AST) -> set[str]:
    """Return what a module supposes of the environment: 64 as a number or a size in words, CarRacing by name."""
    said = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    words = [value for value in said if isinstance(value, str)]
    sized = any(type(value) is int and value == 64 for value in said) or any(
        re.search(r"\b64(x64|, 64)\b", word) for word in words
    )
    return {what for what, there in (("64", sized), ("CarRacing", any("CarRacing" in word for word in words))) if there}


@for_each(FILES)
def test_only_environments_say_what_they_show_and_are_called(path):
    name, found = str(path.relative_to(ROOT)), suppositions(parsed(path))
    if room(path) != "envs":
        assert found == {what for what, places in (("64", SIXTY_FOURS), ("CarRacing", NAMED)) if name in places}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("shape = (n, 64, 64, 3)", {"64"}),
        ("SIZE = 64", {"64"}),
        ('def f():\n    """Return pictures (N, 64, 64, 3)."""', {"64"}),
        ('"shrunk to 64x64"', {"64"}),
        ('id = "CarRacing-v3"', {"CarRacing"}),
        ('f"{x} of CarRacing"', {"CarRacing"}),
        ('seen = spec.shape, "64 bits", 640, 64.0', set()),
    ],
)
def test_what_a_module_supposes_of_the_environment_is_found(source, found):
    assert suppositions(ast.parse(source)) == found


def own_to_models(tree: ast.AST) -> set[str]:
    """Return what a tree names that only models know: parts of a state, and an LSTM."""
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names = attributes | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.alias)}
    said = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    # Prose may speak of an LSTM; "lstm.weight_ih_l0" is the name of a tensor.
    return (
        attributes & {"z", "h", "c", "inner"}
        | {n for n in names if "lstm" in n.lower()}
        | {text for text in said if "lstm" in text}
    )


def functions_with(attribute: str, tree: ast.AST) -> set[str]:
    """Return the functions of a tree that take `attribute` of something."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    taken = {node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == attribute}
    within = {f.name: taken & set(ast.walk(f)) for f in functions}
    assert taken == set().union(*within.values()), f"{attribute} is taken outside any function"
    return {name for name, found in within.items() if found}


OUTSIDE_MODELS = [path for path in FILES if room(path) != "models"]


@for_each(OUTSIDE_MODELS)
def test_a_state_is_opaque_outside_models(path):
    assert own_to_models(parsed(path)) == set()


def test_no_module_has_more_than_300_lines():
    lines = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > 300} == {}


@pytest.mark.parametrize(
    ("attribute", "where"), [("imagine", "dreams.py: unroll"), ("follower", "training/experience.py: filter_states")]
)
def test_one_loop_dreams_and_one_filters_what_was_stored(attribute, where):
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in OUTSIDE_MODELS
        for name in functions_with(attribute, parsed(path))
    }
    assert found == {where}


def test_these_rules_find_what_they_forbid():
    for text in ("state.h", "state.c[0]", "x = state.inner", "memory.lstm", "w['lstm.bias']", "import nn.LSTM as L"):
        assert own_to_models(ast.parse(text)), text
    assert not own_to_models(ast.parse("'An LSTM of width D'; state.features; h, c = pair"))
    loop = "class A:\n    def b(self):\n        step = self.world.imagine\n        return [step(s) for s in []]"
    assert functions_with("imagine", ast.parse(loop)) == {"b"}
    with pytest.raises(AssertionError, match="outside any function"):
        functions_with("imagine", ast.parse("step = world.imagine"))


#: The one module that names each file of a run, a version or a report; every other asks it. `*` is what is filled in.
FILE_NAMES = {
    "config/presets.py": {"*.toml"},
    "pipelines/pipeline.py": {"*.safetensors"},
    "cli/init.py": {".toml"},
    "cli/report.py": {"report.html", ".html"},
    "cli/study_output.py": {"*.csv", "*-*.svg"},
    "store/evaluations.py": {"eval-*-*.json"},
    "store/draft.py": {"snapshot-*.safetensors", "snapshot-", "work.json"},
    "store/jsontext.py": {".json"},
    "store/layout.py": {
        "run.toml", "config.toml", "facts.json", "events.jsonl", "environment.log", "pictures.safetensors",
    },
    "store/lock.py": {"lock.json"},
    "store/tensors.py": {".safetensors"},
    "study/program.py": {"program.json", "scores-*.jsonl", "scores-"},
    "study/slurm.py": {"jobs.json"},
    "study/task.py": {"task.json", "result.json", "task.log"},
    "store/version.py": {"manifest.json", "pruned.json"},
    "tracking.py": {"metrics.csv"},
    "training/evolution.py": {"generations.json"},
    "training/latents.py": {"latents-*.safetensors", "latents-"},
    "training/real_waves.py": {"wave-*.json"},
    "training/rollouts.py": {"actions.json", "observations.json", "episodes-*.safetensors", "episodes-"},
    "training/tally.py": {"summary-*.json"},
    "training/tracks.py": {"*-*.json"},
}  # fmt: skip
_FILE_NAME = re.compile(r"[a-z0-9_.*\-]*\.(safetensors|jsonl?|toml|csv|log|html|svg|png)")
#: What the names of numbered files begin with.
_BEGINNINGS = {
    begun for names in FILE_NAMES.values() for name in names if (begun := name.partition("*")[0])[-1:] == "-"
}


def file_names(tree: ast.AST) -> set[str]:
    """Return the file names that a module says, whole or, of numbered ones, their beginning; prose is none."""
    templates = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {part for template in templates for part in template.values}
    said = ["".join(p.value if isinstance(p, ast.Constant) else "*" for p in node.values) for node in templates]
    said += [
        node.value for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts
    ]  # fmt: skip
    return {text for text in said if _FILE_NAME.fullmatch(text) or text in _BEGINNINGS}


@for_each(FILES)
def test_a_file_is_named_in_its_home_alone(path):
    assert file_names(parsed(path)) == FILE_NAMES.get(str(path.relative_to(ROOT)), set())


def test_no_file_has_two_homes():
    named = [name for names in FILE_NAMES.values() for name in names]
    assert len(named) == len(set(named))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('draft.save_tensors("model.safetensors", arrays)', {"model.safetensors"}),
        ('name = f"latents-{i:04d}.safetensors"', {"latents-*.safetensors"}),
        ('f"{name}.safetensors" in version.files', {"*.safetensors"}),
        ('[n for n in version.files if n.startswith("latents-")]', {"latents-"}),
        ('name.endswith(".json")', {".json"}),
        ('path / "config.toml"', {"config.toml"}),
        ('say(f"{name}.json is damaged"); say("see run.toml of it"); metavar = "FILE.safetensors"; "a-"', set()),
        ('"""Read `facts.json`."""', set()),
    ],
)
def test_a_file_that_is_named_is_found(source, found):
    assert file_names(ast.parse(source)) == found


#: Private names that tests use, where there is nothing public to ask.
PRIVATE = {
    "notes._told": "what is told once a process has to be told anew in each test",
    "notes._waiting": "the same",
    "statistics._RESAMPLES": "nearly all of the time that an interval takes, and no part of what it promises",
}
TESTS = sorted(Path(__file__).parent.glob("*.py"))


def private_names(tree: ast.AST) -> set[str]:
    """Return the names with an underscore that a test imports from wmloop, takes of an object or patches.

    What is a library's, or the test's own, is no business of this rule: `self._x`, `os._exit`, `state._replace`.
    """
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    own = [n for n in imported if isinstance(n, ast.ImportFrom) and (n.module or "").split(".")[0] == "wmloop"]
    others = {alias.asname or alias.name.split(".")[0] for n in imported if n not in own for alias in n.names}
    others = others - {"wmloop"} | {"self", "super"}

    def is_private(name: str) -> bool:
        return bool(re.fullmatch("_[^_].*", name)) and name not in {"_replace", "_asdict", "_fields"}

    def begin(node: ast.AST) -> str:
        while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
            node = node.func if isinstance(node, ast.Call) else node.value
        return node.id if isinstance(node, ast.Name) else ""

    found = {alias.name for node in own for alias in node.names if is_private(alias.name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and begin(node.value) not in others:
            found.add(ast.unparse(node))
        if (
            isinstance(node, ast.Call)
            and node.args
            and ast.unparse(node.func).endswith(("setattr", "delattr", "patch"))
        ):
            told = [part.value for part in node.args[:2] if isinstance(part, ast.Constant)]
            of = "" if isinstance(node.args[0], ast.Constant) else f"{ast.unparse(node.args[0])}."
            if begin(node.args[0]) not in others:
                found |= {f"{of}{name}" for name in told if any(map(is_private, str(name).split(".")))}
    return found


@for_each(TESTS)
def test_tests_ask_what_is_public(path):
    assert private_names(parsed(path)) <= PRIVATE.keys()


def test_no_private_name_is_excused_that_no_test_uses():
    assert set().union(*(private_names(parsed(path)) for path in TESTS)) == PRIVATE.keys()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from wmloop.cli.watch import _Log, Watch", {"_Log"}),
        ("from wmloop import doctor\ndoctor._disk(path)", {"doctor._disk"}),
        ("import wmloop\nwmloop.doctor._disk(path)", {"wmloop.doctor._disk"}),
        ("pool._processes[1].pid", {"pool._processes"}),
        ("window._held = {'left'}", {"window._held"}),
        ("from wmloop.report import probe\nmonkeypatch.setattr(probe, '_AHEAD', 4)", {"probe._AHEAD"}),
        ("monkeypatch.setattr('wmloop.cli.session._SECONDS', 0.0)", {"wmloop.cli.session._SECONDS"}),
        ("with context() as p:\n    p.delattr(env, '_draw')", {"env._draw"}),
        ("import os\nfrom gym import Car\nos._exit(0); patch.setattr(Car, '_draw', 0); state._replace(h=1)", set()),
        ("class A:\n    def b(self): return self._c + super()._d + self.__dict__['_e']", set()),
    ],
)
def test_private_names_in_tests_are_found(source, found):
    assert private_names(ast.parse(source)) == found


def test_there_is_no_room_for_leftovers():
    assert not {p.stem for p in FILES} & {"utils", "util", "common", "base", "helpers", "misc"}
