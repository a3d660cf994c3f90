"""Real experience. One episode has T+1 observations and T of everything else.

    obs[t], action[t] -> reward[t], terminated, obs[t+1]

The convention is stated here once, and everything else in wmloop follows it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from wmloop import machine
from wmloop.spaces import ActionSpec

#: What an episode's observations are called in a shard: as a stream, and as they are.
_STREAM, _PLAIN = "observations.zlib", "observations"


class Cut(IntEnum):
    """Why an episode that has not terminated was truncated; NONE also where a run of earlier days does not tell."""

    NONE = 0
    ENVIRONMENT = 1  # its own word, such as a time limit of its own
    FRAMES = 2  # env.episode_frames
    DECISIONS = 3  # no more were wanted of it, as of random driving
    UNREWARDED = 4  # rollout.max_unrewarded


@dataclass(frozen=True)
class Episode:
    """One real episode of T decisions.

    `observations` (T+1, ...); `actions` (T, ...) in the environment's own units; `rewards` (T,) float32, the official reward
    summed over the action repeat; `frames` the real frames it took; `deterministic` says that C drove without noise.
    `terminated` is the environment's word; `truncated` that it was stopped, `cut` says why. Where the observations were not
    asked for there are none of them, (0, ...).
    """

    observations: np.ndarray = field(repr=False)
    actions: np.ndarray = field(repr=False)
    rewards: np.ndarray = field(repr=False)
    terminated: bool
    truncated: bool
    seed: int
    frames: int
    deterministic: bool = False
    cut: Cut = Cut.NONE

    def __len__(self) -> int:
        """Return the number of decisions T."""
        return len(self.rewards)

    @property
    def score(self) -> float:
        """Return the sum of official rewards."""
        return float(self.rewards.sum(dtype=np.float64))


def pack(episodes: Sequence[Episode]) -> dict[str, np.ndarray]:
    """Return episodes as named arrays for a shard; pictures are losslessly compressed, one stream an episode."""
    arrays: dict[str, np.ndarray] = {}
    # compressing needs no interpreter, and the workers' cores are idle by now
    with ThreadPoolExecutor(machine.cores()) as pool:
        kept = list(pool.map(lambda episode: _kept(episode.observations), episodes))
    for i, (episode, (name, observations)) in enumerate(zip(episodes, kept, strict=True)):
        facts = (
            episode.terminated,
            episode.truncated,
            episode.seed,
            episode.frames,
            episode.deterministic,
            episode.cut,
        )
        arrays[f"{i:04d}.{name}"] = observations
        arrays[f"{i:04d}.shape"] = np.array(episode.observations.shape, np.int64)
        arrays[f"{i:04d}.actions"] = episode.actions
        arrays[f"{i:04d}.rewards"] = episode.rewards
        arrays[f"{i:04d}.facts"] = np.array(facts, np.int64)
    return arrays


def _kept(observations: np.ndarray) -> tuple[str, np.ndarray]:
    """Return observations as a shard holds them, and their name there: what is no bytes as it is."""
    if observations.dtype != np.uint8:
        return _PLAIN, observations
    return _STREAM, np.frombuffer(zlib.compress(np.ascontiguousarray(observations).data, 1), np.uint8)


def unpack(arrays: Mapping[str, np.ndarray], observed: bool = True) -> Iterator[Episode]:
    """Yield the episodes of a shard made by `pack`, with their observations only if `observed`: these are large.

    An episode keeps nothing of `arrays`.

    Raises:
        ValueError: the arrays are not such a shard (a stream does not decompress to its own shape).
    """
    for i in range(len(arrays) // 5):
        shape = tuple(int(n) for n in arrays[f"{i:04d}.shape"])
        actions, rewards = (arrays[f"{i:04d}.{name}"].copy() for name in ("actions", "rewards"))
        if shape[0] != len(rewards) + 1:
            raise ValueError(f"episode {i} has {len(rewards)} agent steps and observations of shape {shape}")
        plain = arrays.get(f"{i:04d}.{_PLAIN}")
        if not observed:
            observations = np.zeros((0, *shape[1:]), np.uint8 if plain is None else plain.dtype)
        elif plain is None:
            size = int(np.prod(shape))
            raw = zlib.decompressobj().decompress(arrays[f"{i:04d}.{_STREAM}"].tobytes(), size)
            if len(raw) != size:
                raise ValueError(f"observations of episode {i} do not decompress to {shape}")
            observations = np.frombuffer(raw, np.uint8).reshape(shape)
        else:
            observations = plain.reshape(shape).copy()
        terminated, truncated, seed, frames, deterministic, *cut = (int(n) for n in arrays[f"{i:04d}.facts"])
        yield Episode(
            observations,
            actions,
            rewards,
            bool(terminated),
            bool(truncated),
            seed,
            frames,
            bool(deterministic),
            Cut(*cut or [0]),
        )


class Replay:
    """All episodes so far, side by side in flat arrays of R rows; an episode of T decisions owns T+1 rows.

    Row `first[e] + t` is that of obs[t], whose latents V keeps in the same order, and holds action[t] and reward[t] of
    episode e; the last row of an episode has only an observation, its action and reward are zeros. `age` (E,)
    counts the iterations since an episode was collected. Actions (R, A) are as M reads them.
    """

    def __init__(self, batches: Sequence[Sequence[Episode]], spec: ActionSpec) -> None:
        """Lay out one batch of episodes an iteration, driven by the actions of `spec`."""
        self.spec = spec
        episodes = [episode for batch in batches for episode in batch]
        self.length = np.array([len(episode) for episode in episodes], np.int64)
        self.first = np.concatenate([[0], np.cumsum(self.length + 1)[:-1]]).astype(np.int64)
        rows = int((self.length + 1).sum())
        self.age = np.concatenate([np.full(len(b), len(batches) - 1 - i, np.int64) for i, b in enumerate(batches)])
        self.actions = np.zeros((rows, spec.size), np.float32)
        self.rewards = np.zeros(rows, np.float32)
        self.terminated = np.zeros(rows, np.float32)
        for start, episode in zip(self.first, episodes, strict=True):
            steps = slice(start, start + len(episode))
            self.actions[steps] = spec.encode(episode.actions)
            self.rewards[steps] = episode.rewards
            self.terminated[start + len(episode) - 1] = episode.terminated

    def sample_windows(
        self, count: int, sequence: int, recency_decay: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw windows of an episode each, so that all decisions of one age are covered equally often, newer ones more.

        Returns the row of each window's first step (count,) and its number of real steps (count,), at most `sequence`.
        A window that lay only within its episode would seldom cover the last decision, where episodes end. So it may
        begin up to `sequence` - 1 decisions before the episode and end as many after it; what lies outside is cut off.
        Of an episode no longer than `sequence` the window is all of it. Each is drawn in proportion to the number of its
        windows, all of it counting for `sequence` of them, and to `recency_decay` to the power of its age.
        """
        whole = self.length <= sequence
        windows = np.where(whole, sequence, self.length + sequence - 1)
        weight = windows * recency_decay**self.age
        chosen = rng.choice(len(weight), count, p=weight / weight.sum())
        start = (rng.random(count) * windows[chosen]).astype(np.int64) - (sequence - 1)
        begin = np.where(whole[chosen], 0, np.maximum(start, 0))
        end = np.where(whole[chosen], self.length[chosen], np.minimum(start + sequence, self.length[chosen]))
        return self.first[chosen] + begin, end - begin
