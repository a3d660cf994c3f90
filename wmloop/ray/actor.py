"""An actor: a process with one core somewhere in the cluster, which drives whole episodes with its copy of the agent."""

from __future__ import annotations

import contextlib
import os
import socket
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from wmloop.agents.collector import Driving, EpisodeSoFar, EpisodeTask
from wmloop.config import EnvConfig
from wmloop.device import set_up
from wmloop.envs import EnvPool
from wmloop.episodes import Episode
from wmloop.errors import EnvironmentFailedError, UsageError, WmloopError
from wmloop.ray.identity import differing, identity
from wmloop.ray.parcels import packed, unpacked
from wmloop.ray.shares import Places
from wmloop.spaces import ActionSpec, ObservationSpec

_TELL_SECONDS = 0.5
#: Of the first episode so much is shown on the way.
_SHOWN_BYTES = 1 << 16


class Setup(NamedTuple):
    """What an actor drives: so many copies of the environment (see envs.engine.make_envs)."""

    config: EnvConfig
    copies: int
    max_unrewarded: int | None


class Opened(NamedTuple):
    """What an actor has found: what the environment takes and shows, and what its node is."""

    actions: ActionSpec
    observations: ObservationSpec
    identity: dict[str, str]


class Told(NamedTuple):
    """How far a share has come: frames since its beginning, lines that environments printed, the wave's first episode."""

    frames: int
    printed: list[str]
    first: EpisodeSoFar | None


class Driven(NamedTuple):
    """The episodes of a share by their copies, and for each what a Recorder kept of it, by name."""

    frames: int
    printed: list[str]
    episodes: dict[int, Episode]
    kept: dict[int, dict[str, Any]]


class Actor:
    """Drive shares of waves. What it answers is packed (see ray.parcels); a fault is answered, as the exception itself."""

    def __init__(self) -> None:
        self._pool: EnvPool | None = None
        self._printed: list[str] = []

    def open(self, wanted: Mapping[str, str], folder: str, setup: bytes) -> bytes:
        """Make the environments of a Setup, in a folder if it is here, and return what was Opened.

        Where what decides episodes is not as `wanted` (see ray.identity), that is refused before anything is unpacked.
        """
        self.close()
        try:
            here = identity()
            if other := differing(wanted, here):
                raise UsageError(
                    f"the Ray node {socket.gethostname()} has {other}: episodes driven there would be others. Install the same"
                    " on all nodes, for example with `pip install 'wmloop[ray]'` from one constraints file"
                )
            with contextlib.suppress(OSError):
                os.chdir(folder)
            set_up("cpu", 1)
            config, copies, max_unrewarded = unpacked(setup)
            self._pool = EnvPool(config, copies, max_unrewarded, self._printed.append, num_workers=1)
            return packed(Opened(self._pool.actions, self._pool.observations, here))
        except Exception as error:
            return _fault(error)

    def drive(self, task: bytes, own: Sequence[int]) -> Iterator[bytes]:
        """Drive the episodes of the copies `own` of a task, (wave, num_envs, agents, explore, trace): see collector.drive.

        Yields what is Told a few times a second, and at the end what was Driven.
        """
        try:
            yield from self._drive(task, own)
        except Exception as error:
            yield _fault(error)

    def close(self) -> None:
        """End the environments."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _drive(self, task: bytes, own: Sequence[int]) -> Iterator[bytes]:
        wave: list[EpisodeTask]
        wave, num_envs, agents, explore, trace = unpacked(task)
        assert self._pool is not None, "it was opened"
        set_up("cpu", 1)  # some of it belongs to the thread
        places = Places(self._pool, own, num_envs)
        mine = [task if copy in own else None for copy, task in enumerate(wave)]
        driving = Driving(places, mine, {half: agents[half] for half in places.parts}, explore, trace)
        frames, due = 0, time.monotonic() + _TELL_SECONDS
        for came, first in driving:
            frames += came
            if time.monotonic() >= due:
                yield packed(Told(frames, self._lines(), first and _latest(first)))
                due = time.monotonic() + _TELL_SECONDS
        episodes = dict(zip(sorted(own), driving.episodes(), strict=True))
        kept = {}
        if trace is not None:
            kept = {
                copy: {name: trace.part(name, copy, slice(len(episode))) for name in trace.names}
                for copy, episode in episodes.items()
            }
        yield packed(Driven(frames, self._lines(), episodes, kept))

    def _lines(self) -> list[str]:
        printed, self._printed[:] = list(self._printed), []
        return printed


def _latest(episode: EpisodeSoFar) -> EpisodeSoFar:
    """Return as much of an episode as is shown on the way."""
    steps = max(1, _SHOWN_BYTES // max(1, episode.observation.nbytes))
    observations, actions = episode.latest(steps)
    return EpisodeSoFar([seen[None] for seen in observations], [action[None] for action in actions], episode.ended)


def _fault(error: Exception) -> bytes:
    """Return an exception to be raised where the episodes are awaited; a stranger's with its traceback as a note."""
    if not isinstance(error, WmloopError):
        error.add_note(f"on the Ray node {socket.gethostname()}:\n{traceback.format_exc()}")
    try:
        return packed(error)
    except UsageError:
        return packed(EnvironmentFailedError(f"an actor of Ray failed: {type(error).__name__}: {error}"))
