"""A trained agent as one safetensors file with its settings, for other machines and for others' code.

Tensors are named after their stage, or after their file where that is no `model`: `vision.*`, `memory.*`, `actor.*`; and
`starts.*` are remembered states at which dreams begin, which files of earlier days do not have. The
metadata holds `format` (`wmloop-agent-1`), `config` (the run's settings, TOML), `origin` (JSON: run, iteration, hash of
the manifest of the agent's stage under that stage's name, wmloop's version, all figures), and `actions` and `observations`
(JSON: what the agent was trained to take and to see), which files of earlier days do not have.
"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from wmloop import __version__
from wmloop.commands import runs_folder
from wmloop.config import RunConfig
from wmloop.config.legacy import stored
from wmloop.config.text import from_toml, to_toml
from wmloop.entries import names_module
from wmloop.errors import DivergedError, StoreCorruptError, UsageError
from wmloop.history import History
from wmloop.legacy import metrics_now
from wmloop.models.state import Arrays
from wmloop.opening import open_named, stored_config
from wmloop.pipelines import Pipeline, get
from wmloop.serving import starts
from wmloop.serving.agent import Served, files_of
from wmloop.spaces import ActionSpec, ObservationSpec, recorded, recorded_observations
from wmloop.store import Store, Version, atomic, check_run_name, private_folder, require_free
from wmloop.store.tensors import SUFFIX, begins_as_one, encode, read

FORMAT = "wmloop-agent-1"


def write(store: Store, pipeline: Pipeline, iteration: int, path: Path) -> int:
    """Write the agent of an iteration to the new file `path`, whole or not at all; return its bytes.

    Raises:
        UsageError: the file is there already.
        StoreCorruptError: the agent is damaged, or is not in the run.
        StorageError: the file system refuses.
    """
    if path.exists():
        raise UsageError(f"{path} is there already: choose another name (--to FILE.safetensors) or move it away")
    history = History(store, pipeline)
    served = Served.of(history, iteration)
    parts = served.tensors()
    with contextlib.suppress(StoreCorruptError):  # an agent is whole without its run's episodes
        if (found := starts.starts_of(history, served, stored_config(store), torch.device("cpu"))) is not None:
            parts[starts.STARTS] = starts.arrays_of(found)
    tensors = {f"{prefix}.{name}": array for prefix, arrays in parts.items() for name, array in arrays.items()}
    versions = [*served.versions.values(), store.version(iteration, pipeline.scored_by)]
    origin = {
        "run": store.name,
        "iteration": iteration,
        pipeline.agent: served.versions[pipeline.agent].hash,
        "wmloop": __version__,
        "metrics": {version.stage: dict(version.metrics) for version in versions if version},
    }
    notes = {"format": FORMAT, "config": store.config_text, "origin": json.dumps(origin, sort_keys=True)}
    if (actions := served.actions(history)) is not None:
        notes["actions"] = json.dumps(actions.record())
    if (observations := served.observations(history)) is not None:
        notes["observations"] = json.dumps(observations.record())
    data = encode(tensors, notes)
    atomic.write_file(path.absolute(), data)
    return len(data)


def unpack(path: Path, root: Path, name: str | None, facts: dict[str, Any]) -> Store:
    """Make a run of the agent in the file `path`, to play and to evaluate; by default with the name it had.

    Every tensor is checked against the networks that its settings describe before the run is made; nothing in the file
    is executed. `facts` is noted beside where the agent comes from.

    Raises:
        UsageError: there is no such file, it is no safetensors file, or the run's name is taken or does not do.
        StoreCorruptError: it is no agent of wmloop, or a damaged one.
        StorageError: the file system refuses.
    """
    if not path.exists():
        raise UsageError(f"there is no file {path}")
    path, called = path.resolve(), path.name  # caches of files often hand out links
    if not begins_as_one(path):
        raise UsageError(f"{path} is no safetensors file; `wmloop export` writes one of an agent")
    try:
        tensors, notes = read(path)
    except StoreCorruptError as error:
        raise StoreCorruptError(f"{path} is not an agent that `wmloop export` wrote, or is damaged: {error}") from None
    if notes.get("format") != FORMAT:
        raise StoreCorruptError(f"{path} is not an agent that `wmloop export` wrote: its format is not {FORMAT!r}")
    try:
        agent = _understand(tensors, notes)
    except _MISUNDERSTOOD as error:
        raise StoreCorruptError(f"{path} is not a complete agent: {error}") from None
    told: dict[str, str] = {
        "file": called,
        **{key: str(agent.origin[key]) for key in ("run", "iteration", agent.pipeline.agent) if key in agent.origin},
    }
    name = name or f"{agent.origin['run']}-{agent.origin['iteration']}"
    check_run_name(name)
    require_free(root / name)
    with private_folder(root, name) as scratch:  # where versions are made; the run itself appears whole
        made = Store.create(scratch, "agent", to_toml(agent.config), {})
        versions: dict[str, Version] = {}
        for stage in agent.pipeline.parts:
            draft = made.draft(0, stage.name)
            for prefix, (owner, file) in files_of(agent.pipeline).items():
                if owner == stage.name:
                    draft.save_tensors(file, agent.parts[prefix])
            if stage.name == agent.pipeline.agent:
                starts.save(draft, agent.parts.get(starts.STARTS), agent.actions, agent.observations)
            parents = list(versions.values()) if stage.name == agent.pipeline.agent else []
            versions[stage.name] = draft.commit(parents, agent.figures.get(stage.name, {}), 0.0)
        if scored := agent.figures.get(agent.pipeline.scored_by):
            made.draft(0, agent.pipeline.scored_by).commit(list(versions.values()), scored, 0.0)
        return Store.create(root, name, to_toml(agent.config), {**facts, "imported": told}, made.versions())


@contextlib.contextmanager
def opened(run: str | Path) -> Iterator[Store]:
    """Open a run by name or folder, `demo`, or the agent of an exported file, which is a run for as long as it is open.

    Raises:
        UsageError, StoreCorruptError: as `open_named` and `unpack` do.
    """
    path = Path(run)
    if path.suffix != SUFFIX:
        yield open_named(runs_folder(), str(run))
        return
    with tempfile.TemporaryDirectory() as folder:
        yield unpack(path, Path(folder), "agent", {})


#: What reading a stranger's notes may run into.
_MISUNDERSTOOD = (
    AttributeError, DivergedError, IndexError, KeyError, OverflowError, RecursionError, RuntimeError, StoreCorruptError,
    TypeError, UsageError, ValueError,
)  # fmt: skip


class _Agent(NamedTuple):
    """What a file holds: `figures` are metrics by stage, `parts` tensors by network; files of earlier days tell no spaces."""

    config: RunConfig
    pipeline: Pipeline
    origin: dict[str, Any]
    figures: dict[str, dict[str, float]]
    parts: dict[str, Arrays]
    actions: ActionSpec | None
    observations: ObservationSpec | None


def _understand(tensors: Arrays, notes: dict[str, str]) -> _Agent:
    """Return the agent that a file holds; raises one of _MISUNDERSTOOD."""
    table = from_toml(notes["config"], "config")
    if names_module(str(table.get("pipeline", ""))):  # what a stranger's file names is not executed
        raise ValueError(
            f"its pipeline is {table['pipeline']!r}, which would import code that the file names; that is not allowed. Install"
            " a package that registers the pipeline as an entry point, and export the agent again under that name"
        )
    config = stored(table)
    pipeline = get(config.pipeline)
    origin = json.loads(notes["origin"])
    figures = {
        stage: metrics_now({str(key): float(value) for key, value in metrics.items()})
        for stage, metrics in origin["metrics"].items()
    }
    if not all(math.isfinite(value) for metrics in figures.values() for value in metrics.values()):
        raise ValueError("a metric is not finite")
    if "score" not in figures.get(pipeline.scored_by, {"score": 0.0}):
        raise ValueError("its evaluation has no metric 'score'")
    int(origin["iteration"])
    str(origin["run"])
    parts = {
        prefix: {name[len(prefix) + 1 :]: array for name, array in tensors.items() if name.startswith(prefix + ".")}
        for prefix in (*files_of(pipeline), starts.STARTS)
    }
    if not parts[starts.STARTS]:
        del parts[starts.STARTS]
    actions = recorded(json.loads(notes["actions"])) if "actions" in notes else None
    observations = recorded_observations(json.loads(notes["observations"])) if "observations" in notes else None
    pipeline.resolve("accept")(config, actions, parts)
    return _Agent(config, pipeline, origin, figures, parts, actions, observations)
