"""What the temperature of dreams does to a policy: a new C for each, trained from scratch in one V and M of a run.

    python -m tools.temperatures RUN ITERATION UPDATES EPISODES SEED TAU [TAU ...]

RUN is a run's folder; V and M are those of ITERATION, which stay as they are, and what was collected up to there is where
dreams begin. Each C has UPDATES of PPO at one temperature TAU. Then EPISODES dreams at TAU, two or more, as many at 1, and
as many real episodes, fresh ones of SEED, tell what it scores (mean +- standard deviation): a line of a Markdown table for
each TAU.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from wmloop.agents.collector import waves
from wmloop.agents.world_model import Agent
from wmloop.calibration.dreamt import score_dreams
from wmloop.calibration.ends import ends
from wmloop.calibration.scores import score_episodes
from wmloop.calibration.windows import ReturnForecast
from wmloop.config import with_settings
from wmloop.device import resolve_device, resolve_threads, set_up
from wmloop.envs import make_envs
from wmloop.models.networks import new_actor, world_model
from wmloop.opening import history_of, stored_config
from wmloop.seeding import fresh_seeds
from wmloop.stages import controller
from wmloop.store import Store
from wmloop.store.draft import Draft
from wmloop.training.context import StageContext
from wmloop.training.weights import load, stored


def main(run: Path, iteration: int, updates: int, episodes: int, seed: int, taus: list[str]) -> None:
    """Print the table."""
    store = Store.open(run)
    own = stored_config(store)
    history = history_of(store, own)
    device = set_up(resolve_device("cpu"), resolve_threads(0))
    vision, memory = (history.version(iteration, name) for name in ("vision", "memory"))
    assert vision is not None, "V of this iteration is there"
    assert memory is not None, "M of this iteration is there"
    seeds = fresh_seeds(episodes, seed)
    decisions = own.env.most_decisions
    print(
        "| temperature | in dreams at it | in dreams at 1 | in reality | real terminations, predicted |\n|---|---|---|---|---|",
        flush=True,
    )
    for tau in taus:
        changed = {"dream": {"temperature": float(tau)}, "controller": {"initial_updates": updates}}
        config = with_settings(own, changed)
        with tempfile.TemporaryDirectory() as folder, make_envs(config.env, config.env.num_envs) as pool:
            draft = Draft(Path(folder), 0, "controller")
            context = StageContext(
                config, history.pipeline, 0, "controller", "dream steps", device, lambda: history.collected(iteration + 1),
                list, draft, lambda event: None, lambda: False,
            )  # fmt: skip
            metrics = controller.run(context, vision, memory)
            version = draft.commit([vision, memory], metrics, 0.0, {})
            world = world_model(config, pool.actions.size, device, stored(vision), stored(memory))
            actor = load(new_actor(config, world.memory.features, pool.actions, device), version, "actor")
            agent = Agent(world, actor, pool.actions)
            dreamt = [score_dreams(pool, agent, seeds, decisions, at, device) for at in (float(tau), 1.0)]
            results = []
            for wave in waves(seeds, pool.num_envs):
                results += score_episodes(config, pool, agent, wave, lambda *_: None, True)
        told = ends([ReturnForecast([], [], [], ends=one.ends) for one in results])
        cells = [_told(scores) for scores in (*dreamt, [one.score for one in results])]
        print(
            f"| {tau} | {' | '.join(cells)} | {told['terminations']:.0f}, {told['predicted_terminations']:.1f} |",
            flush=True,
        )


def _told(scores: list[float]) -> str:
    return f"{np.mean(scores):.0f} ± {statistics.stdev(scores):.0f}"


if __name__ == "__main__":
    if len(sys.argv) < 7 or int(sys.argv[4]) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), *map(int, sys.argv[2:6]), sys.argv[6:])
