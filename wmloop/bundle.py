"""A trained agent as one safetensors file: V, M and C with their settings, for other machines and for others' code.

Tensors are named `vision.*`, `memory.*` and `actor.*`, as in the run. The metadata holds `format` (`wmloop-agent-1`),
`config` (the run's settings, TOML) and `origin` (JSON: run, iteration, hash of the controller's manifest, all figures).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from wmloop import __version__
from wmloop.config import RunConfig
from wmloop.config.legacy import stored
from wmloop.config.text import from_toml, to_toml
from wmloop.errors import StoreCorruptError, UsageError
from wmloop.models.state import Arrays, load_module
from wmloop.serving.agent import Triple
from wmloop.store import Store, Version, atomic, check_run_name, private_folder
from wmloop.store.tensors import encode, read
from wmloop.training.networks import new_actor, new_memory, new_vision

FORMAT = "wmloop-agent-1"
#: The networks of an agent: prefix in the file, stage and file in a run.
_PARTS = {
    "vision": ("vision", "model.safetensors"),
    "memory": ("memory", "model.safetensors"),
    "actor": ("controller", "actor.safetensors"),
}


def write(store: Store, iteration: int, path: Path) -> int:
    """Write the agent of an iteration to the new file `path`, whole or not at all; return its bytes.

    Raises:
        UsageError: the file is there already.
        StoreCorruptError: the agent is damaged, or is not in the run.
        StorageError: the file system refuses.
    """
    if path.exists():
        raise UsageError(f"{path} is there already: choose another name (--to FILE.safetensors) or move it away")
    triple = Triple.of(store, iteration)._asdict()
    tensors = {
        f"{prefix}.{name}": array
        for prefix, (stage, file) in _PARTS.items()
        for name, array in triple[stage].tensors(file).items()
    }
    versions = [*triple.values(), store.version(iteration, "evaluate")]
    origin = {
        "run": store.name,
        "iteration": iteration,
        "controller": triple["controller"].hash,
        "wmloop": __version__,
        "metrics": {version.stage: dict(version.metrics) for version in versions if version},
    }
    data = encode(
        tensors, {"format": FORMAT, "config": store.config_text, "origin": json.dumps(origin, sort_keys=True)}
    )
    atomic.write_file(path.absolute(), data)
    return len(data)


def unpack(path: Path, root: Path, name: str | None, facts: dict[str, Any]) -> Store:
    """Make a run of the agent in the file `path`, to play and to evaluate; by default with the name it had.

    Every tensor is checked against the networks that its settings describe before the run is made; nothing in the file
    is executed. `facts` is noted beside where the agent comes from.

    Raises:
        UsageError: there is no such file, or the run's name is taken or does not do.
        StoreCorruptError: it is no agent of wmloop, or a damaged one.
        StorageError: the file system refuses.
    """
    if not path.exists():
        raise UsageError(f"there is no file {path}")
    tensors, notes = read(path)
    if notes.get("format") != FORMAT:
        raise StoreCorruptError(f"{path} is not an agent that `wmloop export` wrote: its format is not {FORMAT!r}")
    try:
        config, origin, figures, parts = _understand(tensors, notes)
    except _MISUNDERSTOOD as error:
        raise StoreCorruptError(f"{path} is not a whole agent: {error}") from None
    told: dict[str, str] = {
        "file": path.name,
        **{key: str(origin[key]) for key in ("run", "iteration", "controller") if key in origin},
    }
    name = name or f"{origin['run']}-{origin['iteration']}"
    check_run_name(name)
    with private_folder(root, name) as scratch:  # where versions are made; the run itself appears whole
        made = Store.create(scratch, "agent", to_toml(config), {})
        versions: dict[str, Version] = {}
        for prefix, (stage, file) in _PARTS.items():
            draft = made.draft(0, stage)
            draft.save_tensors(file, parts[prefix])
            parents = list(versions.values()) if stage == "controller" else []
            versions[stage] = draft.commit(parents, figures.get(stage, {}), 0.0)
        if "evaluate" in figures:
            made.draft(0, "evaluate").commit(list(versions.values()), figures["evaluate"], 0.0)
        return Store.create(root, name, to_toml(config), {**facts, "imported": told}, made.versions())


#: What reading a stranger's notes may run into.
_MISUNDERSTOOD = (
    AttributeError, IndexError, KeyError, RecursionError, RuntimeError, StoreCorruptError, TypeError, UsageError, ValueError,
)  # fmt: skip


def _understand(
    tensors: Arrays, notes: dict[str, str]
) -> tuple[RunConfig, dict[str, Any], dict[str, dict[str, float]], dict[str, Arrays]]:
    """Return an agent's settings, origin, figures by stage and tensors by network; raises one of _MISUNDERSTOOD."""
    config = stored(from_toml(notes["config"], "config"))
    origin = json.loads(notes["origin"])
    figures = {
        stage: {str(key): float(value) for key, value in metrics.items()}
        for stage, metrics in origin["metrics"].items()
    }
    if not all(math.isfinite(value) for metrics in figures.values() for value in metrics.values()):
        raise ValueError("a figure is not finite")
    if "score" not in figures.get("evaluate", {"score": 0.0}):
        raise ValueError("its evaluation has no score")
    int(origin["iteration"])
    parts = {
        prefix: {name[len(prefix) + 1 :]: array for name, array in tensors.items() if name.startswith(prefix + ".")}
        for prefix in _PARTS
    }
    actions = parts["memory"]["lstm.weight_ih_l0"].shape[1] - config.vision.latent
    meta = torch.device("meta")
    with meta:  # shapes without memory: the settings may ask for anything
        networks = {
            "vision": new_vision(config, meta),
            "memory": new_memory(config, actions, meta),
            "actor": new_actor(config, actions, meta),
        }
    for prefix, network in networks.items():
        load_module(network, parts[prefix])
    return config, origin, figures, parts
