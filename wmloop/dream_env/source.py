"""What a run brings to those who act in its world model, or in reality with it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from wmloop import bundle
from wmloop.agents.world_model import WorldModelAgent
from wmloop.commands import wmloop
from wmloop.config import EnvConfig, RunConfig
from wmloop.device import resolve_device
from wmloop.dream_env.options import require_agent
from wmloop.envs import RealEnv
from wmloop.errors import UsageError
from wmloop.history import History
from wmloop.models.world_model import State, WorldModel
from wmloop.opening import history_of, require_trust, stored_config
from wmloop.serving.agent import Served
from wmloop.serving.choice import choose
from wmloop.serving.starts import starts_of
from wmloop.spaces import ActionSpec
from wmloop.store import Store


def _think_alone() -> None:
    """Compute in this process's own thread: a forked child, such as AsyncVectorEnv's, has none of torch's and would wait."""
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_think_alone)


class Source(NamedTuple):
    """The world model of an agent, the `actions` that it reads, and states of real episodes that it remembers."""

    world: WorldModel
    actions: ActionSpec
    starts: State
    env: EnvConfig


def dreamt(run: str | Path, iteration: int | None, device: str) -> Source:
    """Return what dreams are made of, of a run's best agent or that of an iteration; no real environment is made.

    Raises:
        UsageError: there is no such run or agent, its pipeline does not dream, or nobody remembers where its dreams begin.
        StoreCorruptError: it is damaged.
    """
    with _opened(run, iteration) as (_, config, history, served):
        place = torch.device(resolve_device(device))
        starts, actions = starts_of(history, served, config, place), served.actions(history)
        if starts is None or actions is None:
            raise UsageError(
                f"{run} does not tell where dreams begin. They begin at states of real episodes that the world model"
                " remembers, and neither these nor the episodes are there: they were pruned, or the agent was exported by an"
                " older wmloop, or its pipeline remembers none. Export it anew from a run that has its episodes:"
                f" `{wmloop('export', 'RUN', '--to', 'FILE.safetensors')}`; that file will do as `run`"
            )
        agent: WorldModelAgent = served.agent(config, actions, place)
        return Source(agent.world, actions, starts, config.env)


def real(
    run: str | Path, iteration: int | None, device: str, trusted: bool, render_mode: str | None
) -> tuple[RealEnv, WorldModel]:
    """Return the real environment of a run, and the world model of its best agent or of that of an iteration.

    Raises:
        UsageError: as `dreamt`, or the environment does not fit, or its module is not `trusted` (see opening.require_trust).
        StoreCorruptError: it is damaged.
    """
    with _opened(run, iteration) as (store, config, history, served):
        require_trust(store, config, trusted)
        env = RealEnv(config.env, render_mode)
        try:
            agent: WorldModelAgent = served.agent_in(env, history, config, torch.device(resolve_device(device)))
        except BaseException:
            env.close()
            raise
        return env, agent.world


@contextlib.contextmanager
def _opened(run: str | Path, iteration: int | None) -> Iterator[tuple[Store, RunConfig, History, Served]]:
    require_agent(run, iteration)
    with bundle.opened(run) as store:
        config = stored_config(store)
        history = history_of(store, config)
        if not history.pipeline.dreams:
            raise UsageError(
                f"{store.name} has no dreams: agents of its pipeline, {config.pipeline}, do not learn in them"
            )
        yield store, config, history, Served.of(history, choose(history, iteration)[0])
