"""The engine on Ray: waves of whole episodes, driven by actors that have the environments and a copy of the agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wmloop.agents.agent import Agent
from wmloop.agents.collector import Announces, EpisodeSoFar, EpisodeTask, Explore, Tick
from wmloop.agents.recorder import Recorder
from wmloop.config import EnvConfig
from wmloop.envs import EnvPool, PoolStep
from wmloop.envs.output import Sink
from wmloop.episodes import Episode
from wmloop.ray.actor import Driven, Opened, Setup, Told
from wmloop.ray.identity import identity, rounding
from wmloop.ray.link import START_SECONDS, link, require
from wmloop.ray.parcels import packed, packed_from, unpacked
from wmloop.ray.shares import dealt

_SLOW = (
    "it has no CPU free, or its nodes start slowly (see `ray status`); --set env.worker_timeout=... waits longer, also on"
    " resume"
)


class RayEnvs:
    """Drive whole waves on a Ray cluster: that of RAY_ADDRESS, or one of its own on this machine's cores (an Envs).

    There is an actor for each CPU of the cluster, `num_envs` at most. Each thinks by itself, about a batch of the shape that
    one machine would think about, so episodes are the same, to the bit, whatever the number of actors, and those of the engine
    `processes` on a CPU. The episodes of an actor that dies are driven again. What is stepped decision by decision, with
    `reset`, `send` and `receive`, is stepped on this machine.

    Raises:
        UsageError: Ray is not installed, a node has other versions, or the environment does not fit.
        EnvironmentFailedError: the cluster, or an environment, does not start.
    """

    #: Refuse where Ray is not installed.
    require = staticmethod(require)

    def __init__(
        self, config: EnvConfig, num_envs: int, max_unrewarded: int | None = None, output: Sink | None = None
    ) -> None:
        self.num_envs = num_envs
        self._config, self._max_unrewarded, self._output = config, max_unrewarded, output or (lambda line: None)
        self._here: EnvPool | None = None
        self._news: list[tuple[str, str]] = []  # what people have not been told yet, with its level
        self._differing: set[str] = set()
        self._link = link(config)
        self._actors = min(num_envs, self._link.cpus)
        setup = Setup(config, -(-num_envs // self._actors), max_unrewarded)
        self._link.ask("open", self._actors, identity(), str(Path.cwd()), packed(setup))
        try:
            opened = self._opened(self._link.event(lambda: None, START_SECONDS + config.worker_timeout, _SLOW)[1])
        except BaseException:
            self._link.close()
            raise
        self.actions, self.observations = opened.actions, opened.observations
        actors, nodes = (
            f"{count} {word}{'s' * (count > 1)}"
            for count, word in ((self._actors, "actor"), (self._link.nodes, "node"))
        )
        self._news.append((f"Ray: {num_envs} environments, driven by {actors} on {nodes}", "info"))

    def drive(
        self, wave: Sequence[EpisodeTask], agents: Mapping[range, Agent[Any]],
        tick: Tick, explore: Explore | None, trace: Recorder | None,
    ) -> list[Episode]:  # fmt: skip
        """Drive one wave as collector.drive does.

        Raises:
            EnvironmentFailedError: the cluster is lost; or whatever an environment or an agent raises.
        """
        shares = dealt(len(wave), self.num_envs, self._actors)
        task, device = packed_from((list(wave), self.num_envs, dict(agents), explore, trace))
        frames, episodes = [0] * len(shares), dict[int, Episode]()
        try:
            self._link.ask("drive", task, shares, START_SECONDS + self._config.worker_timeout)
            while (event := self._link.event(lambda: tick(0, None)))[0] != "done":
                self._tell(tick)
                if event[0] == "opened":
                    self._opened(event[1])
                elif event[0] == "died":
                    again = f"its {len(shares[event[1]])} episodes are driven again by another"
                    self._news.append((f"Ray: an actor has died ({event[2]}); {again}", "warning"))
                    self._tell(tick)  # it may be long until there is a CPU for another
                else:
                    _, share, answer = event
                    said = _raised(unpacked(answer))
                    new, frames[share] = max(0, said.frames - frames[share]), max(said.frames, frames[share])
                    tick(new, self._taken(said, episodes))
                    if trace is not None and isinstance(said, Driven):
                        for copy, parts in said.kept.items():
                            trace.put(copy, {name: _on(device, part) for name, part in parts.items()})
            self._tell(tick)
        except BaseException:  # actors may still be driving: nothing is asked of these any more
            self._link.close()
            raise
        return [episodes[copy] for copy in range(len(wave))]

    def reset(self, seeds: Sequence[int | None], decisions: Sequence[int | None] | None = None) -> np.ndarray:
        """Begin an episode in every copy that has a seed, on this machine; return all observations (N, ...)."""
        if self._here is None:
            self._here = EnvPool(self._config, self.num_envs, self._max_unrewarded, self._output)
        return self._here.reset(seeds, decisions)

    def send(self, copies: range, actions: np.ndarray) -> None:
        """Let `copies`, which were reset, take one decision, on this machine."""
        assert self._here is not None, "they were reset"
        self._here.send(copies, actions)

    def receive(self) -> tuple[range, PoolStep]:
        """Wait until one `send` is done, and return its copies and what came of it."""
        assert self._here is not None, "they were reset"
        return self._here.receive()

    def pin_thread(self, copies: range) -> None:
        """Let the calling thread think where it disturbs the copies that are stepped here least."""
        if self._here is not None:
            self._here.pin_thread(copies)

    def close(self) -> None:
        """Let the actors end their environments; they themselves wait for the next engine of this process."""
        if self._here is not None:
            self._here.close()
        if not self._link.closed:
            self._link.ask("close")

    def __enter__(self) -> RayEnvs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, tick: Tick) -> None:
        """Let people know what is new: by whoever follows the wave, else among what environments print."""
        for text, level in self._news:
            if isinstance(tick, Announces):
                tick.announce(text, level)
            else:
                self._output(text)
        self._news = []

    def _opened(self, answer: bytes) -> Opened:
        """Return what an actor has found, and say where its node computes otherwise."""
        opened: Opened = _raised(unpacked(answer))
        other = rounding(identity(), opened.identity)
        if other and other not in self._differing:
            self._differing.add(other)
            self._news.append(
                (f"Ray: a node has {other}: episodes that it drives may differ in their last bits", "warning")
            )
        return opened

    def _taken(self, said: Told | Driven, episodes: dict[int, Episode]) -> EpisodeSoFar | None:
        """Take in what an actor says, and return the wave's first episode if it has gone on."""
        for line in said.printed:
            self._output(line)
        if isinstance(said, Told):
            return said.first
        episodes |= said.episodes
        return EpisodeSoFar.whole(said.episodes[0]) if 0 in said.episodes else None


def _on(device: torch.device, part: Any) -> Any:
    """Return a part of what an agent carried, a tensor or a tuple of them, on its device."""
    return type(part)(*(_on(device, piece) for piece in part)) if isinstance(part, tuple) else part.to(device)


def _raised(said: Any) -> Any:
    """Return what an actor says; raise it where it is a fault."""
    if isinstance(said, Exception):
        raise said
    return said
