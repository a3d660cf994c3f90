"""Make the small run that ships with wmloop.

    python tools/make_demo.py RUN ITERATION    of one iteration of a run
    python tools/make_demo.py --starts         of the demo that is there: the states that its dreams begin at, anew

A run that has its episodes tells where dreams begin. The demo has none, so its own agent drives some, exploring, on seeds
for training. Its networks, figures and settings stay as they are.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from wmloop import bundle, pipelines
from wmloop.agents.collector import EpisodeTask, drive, halves
from wmloop.config import WorldModelConfig
from wmloop.envs import make_envs
from wmloop.episodes import pack
from wmloop.opening import history_of, stored_config
from wmloop.seeding import derive_seed, training_seed
from wmloop.serving.agent import Served
from wmloop.serving.starts import STARTS, arrays_of
from wmloop.store import Store
from wmloop.store.tensors import encode, read
from wmloop.training.driving import Exploring
from wmloop.training.latents import see
from wmloop.training.rollouts import episodes_of, record_spaces, shard_file
from wmloop.training.starts import remembered

DEMO = Path(__file__).parent.parent / "wmloop" / "demo"
_EPISODES, _SEED = 40, 0


def main(run: Path, iteration: int) -> None:
    """Replace the demo by the exported agent of `iteration`; of the facts of its run, those about no place are kept."""
    source = Store.open(run)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "demo.safetensors"
        bundle.write(source, pipelines.get(stored_config(source).pipeline), iteration, file)
        _replace(file, source.facts)


def add_starts() -> None:
    """Let the demo's agent drive, and store what its world model remembers of that with it."""
    store = Store.open(DEMO)
    told = store.facts["imported"]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / told["file"]
        config = stored_config(store)
        assert isinstance(config, WorldModelConfig)
        pipeline = pipelines.get(config.pipeline)
        bundle.write(store, pipeline, 0, file)
        tensors, notes = read(file)
        states, actions = _drive(store, config, Path(scratch))
        tensors |= {f"{STARTS}.{name}": array for name, array in states.items()}
        origin = json.loads(notes["origin"])
        origin |= {name: told[name] for name in ("run", pipeline.agent)} | {"iteration": int(told["iteration"])}
        notes |= {"origin": json.dumps(origin, sort_keys=True), "actions": json.dumps(actions)}
        file.write_bytes(encode(tensors, notes))
        _replace(file, store.facts)


def _drive(store: Store, config: WorldModelConfig, scratch: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return states by part, and the record of the actions, of episodes that the agent drives as it does in training."""
    served = Served.of(history_of(store, config), 0)
    seeds = [training_seed(_SEED, "demo", i) for i in range(_EPISODES)]
    device, made = torch.device("cpu"), Store.create(scratch, "driven", store.config_text, {})
    rollout = made.draft(0, "rollout")
    with make_envs(config.env, _EPISODES) as pool:
        agent = served.agent(config, pool.actions, device)
        place: Any = SimpleNamespace(rng=_rng)
        wave = [EpisodeTask(seed, 1_000_000) for seed in seeds]
        agents = dict.fromkeys(halves(_EPISODES), agent)
        explore = Exploring(place, 0, wave, _EPISODES, pool.actions, config.rollout)
        rollout.save_tensors(shard_file(0), pack(drive(pool, wave, agents, lambda *_: None, explore)))
        record_spaces(rollout, pool.actions, pool.observations)
        actions = pool.actions.record()
    driven = rollout.commit([], {}, 0.0)
    vision = made.draft(0, "vision")
    for name in served.versions["vision"].files:
        vision.save_bytes(name, served.versions["vision"].bytes(name))
    seen = see(agent.world.vision, episodes_of(driven), bool(config.env.mirrored_actions))
    vision.save_tensors("latents-0000.safetensors", seen)
    parts = {**served.versions, "vision": vision.commit([], {}, 0.0)}
    states = remembered(config, [driven], device, **parts)
    assert states is not None, "everything was saved"
    return arrays_of(states), actions


def _rng(*position: int | str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(_SEED, "demo", *position))


def _replace(file: Path, known: Any) -> None:
    names = ("git", "python", "cpu", "instructions", "cores", "versions")
    facts = {name: known[name] for name in names if name in known}
    shutil.rmtree(DEMO, ignore_errors=True)
    demo = bundle.unpack(file, DEMO.parent, DEMO.name, facts)
    print(f"{DEMO}: {sum(version.num_bytes for version in demo.versions()):,} bytes")


if __name__ == "__main__":
    if sys.argv[1:] == ["--starts"]:
        add_starts()
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]))
