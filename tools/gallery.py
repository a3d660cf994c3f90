"""Pictures of runs: moments of a held-out episode above what M dreamt they would be, and the tasks of several runs in a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from wmloop.device import resolve_threads, set_up
from wmloop.envs import RealEnv, make_envs
from wmloop.errors import UsageError
from wmloop.opening import history_of, require_trust, stored_config
from wmloop.pipelines import Pipeline
from wmloop.report.branches import AHEAD, open_loop
from wmloop.report.episode import pictures_of
from wmloop.report.pictures import grid
from wmloop.report.probe import driven_and_seen
from wmloop.seeding import evaluation_seeds
from wmloop.serving.agent import Served
from wmloop.serving.choice import choose
from wmloop.store import Store

#: Moments that are shown.
_MOMENTS = 8
#: Times that a picture is enlarged, each pixel as a square.
_ENLARGED = 2
#: Pixels of a task in a row, (width, height), and between two.
_TASK, _BETWEEN = (240, 160), 6
#: Bytes of a file at most, so that a page of the documentation stays light.
_MOST = 150_000


class Pair(NamedTuple):
    """Pictures (N, H, W, 3) uint8 of one episode and of a dream: both `steps` agent steps after `decision`.

    The dream branched off there, and was told the actions that were really taken, and nothing else.
    """

    seed: int
    score: float
    decision: int
    steps: list[int]
    real: np.ndarray
    dreamt: np.ndarray


def write(path: Path, target: Path) -> Pair:
    """Write the picture of the run in the folder `path` as a PNG, and return what is on it.

    Raises:
        UsageError: the run has no agent, no world model, or one that draws no pictures.
    """
    pair = beside(Store.open(path))
    sheet = grid([pair.real, pair.dreamt]).repeat(_ENLARGED, 0).repeat(_ENLARGED, 1)
    picture = Image.fromarray(sheet)
    picture.save(target, "png", optimize=True)
    if target.stat().st_size > _MOST:  # 256 colours are enough to see what is dreamt
        picture.quantize(256, Image.Quantize.FASTOCTREE).save(target, "png", optimize=True)
    return pair


def write_tasks(paths: Sequence[Path], target: Path) -> None:
    """Write one picture of the task of each run, a third into a held-out episode of its best agent, side by side as a PNG."""
    drawn = [_drawn(Store.open(path)) for path in paths]
    row = Image.new("RGBA", (len(drawn) * (_TASK[0] + _BETWEEN) - _BETWEEN, _TASK[1]))
    for number, picture in enumerate(drawn):
        whole = Image.fromarray(picture)
        scale = max(_TASK[0] / whole.width, _TASK[1] / whole.height)
        large = whole.resize((round(whole.width * scale), round(whole.height * scale)), Image.Resampling.LANCZOS)
        left, top = (large.width - _TASK[0]) // 2, (large.height - _TASK[1]) // 2
        row.paste(large.crop((left, top, left + _TASK[0], top + _TASK[1])), (number * (_TASK[0] + _BETWEEN), 0))
    row.save(target, "png", optimize=True)


@torch.inference_mode()
def _drawn(store: Store) -> np.ndarray:
    """Return what people see of a run's environment, (H, W, 3) uint8, while its best agent acts."""
    config = stored_config(store)
    require_trust(store, config, trusted=False)
    history = history_of(store, config)
    env = RealEnv(config.env, "rgb_array")
    try:
        served, device = Served.of(history, choose(history, None)[0]), set_up("cpu", resolve_threads(0))
        agent = served.agent_in(env, history, config, device)
        (seed,), pictures, over = evaluation_seeds(1), [], False
        observation, carry = env.reset(seed), agent.start(1)
        while not over:
            action, carry = agent.act(carry, observation[None], None)
            pictures.append(env.render())
            observation, _, terminated, truncated, _ = env.step(action[0])
            over = terminated or truncated
    finally:
        env.close()
    picture = pictures[len(pictures) // 3]
    if picture is None:
        raise UsageError(f"{config.env.id} draws no picture")
    return picture


def beside(store: Store) -> Pair:
    """Drive the first held-out episode with the best agent, and dream from a quarter of it on.

    Raises:
        UsageError: as `write` does.
    """
    config = stored_config(store)
    require_trust(store, config, trusted=False)
    history = history_of(store, config)
    _require_dreams(store, history.pipeline)
    device = set_up("cpu", resolve_threads(0))
    with make_envs(config.env, 1) as pool:
        agent = Served.of(history, choose(history, None)[0]).agent_in(pool, history, config, device)
        (episode,), (seen,) = driven_and_seen(pool, agent, evaluation_seeds(1))
        spec = pool.observations
    decision = len(episode) // 4
    ahead = min(AHEAD, len(episode) - decision)
    steps = [int(step) for step in np.unique(np.geomspace(1, ahead, _MOMENTS).round())]  # most where they part
    with torch.inference_mode():
        features = open_loop(agent, [seen], [(0, decision)], ahead, episode.seed).features
        dreamt = agent.world.decode(torch.cat([features[step - 1] for step in steps]))
    real = pictures_of(spec, episode.observations[[decision + step for step in steps]])
    if real is None or dreamt is None or real.shape != dreamt.shape:
        raise UsageError(f"{store.name} has no picture to show: what {config.env.id} shows, or what M dreams, is none")
    return Pair(episode.seed, episode.score, decision, steps, real, dreamt)


def _require_dreams(store: Store, pipeline: Pipeline) -> None:
    if not pipeline.dreams:
        raise UsageError(f"{store.name} has no world model (pipeline {pipeline.name}): there is no dream to show")
