"""Randomness as a function of position: the same place in a run always gets the same seed."""

from __future__ import annotations

import hashlib

from wmloop.errors import UsageError

#: Real environments are seeded below this bound while training and above it when scoring,
#: so an evaluation episode can never have been a training episode.
HELD_OUT = 2**30
_CONFIRM_OFFSET = 1_000_000
_FRESH_OFFSET = 2_000_000
#: Fresh episodes of one seed: the next seed's begin behind them.
EPISODES_A_SEED = 100_000
#: The largest seed whose episodes' seeds all fit 64 bits.
LAST_SEED = (2**63 - HELD_OUT - _FRESH_OFFSET) // EPISODES_A_SEED - 1


def derive_seed(run_seed: int, *position: int | str) -> int:
    """Return a 63-bit seed for one place of a run.

    `position` names the place, e.g. `(iteration, "memory", step)`. The seed depends on nothing else, so
    work that starts again in the middle draws the same numbers without any saved generator state.
    """
    text = "/".join([str(run_seed), *map(repr, position)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def training_seed(run_seed: int, *position: int | str) -> int:
    """Return an environment seed in [0, 2**30), the half in which agents may train."""
    return derive_seed(run_seed, *position) % HELD_OUT


def evaluation_seeds(count: int) -> list[int]:
    """Return the held-out environment seeds by which a run ranks its own versions."""
    return [HELD_OUT + i for i in range(count)]


def confirmation_seeds(count: int) -> list[int]:
    """Return the held-out environment seeds on which a run confirms that its goal is met."""
    return [HELD_OUT + _CONFIRM_OFFSET + i for i in range(count)]


def fresh_seeds(count: int, seed: int) -> list[int]:
    """Return held-out environment seeds for `wmloop eval --seed`: never used within any run, nor by another `seed`.

    Raises:
        UsageError: there are not so many of one seed, or no such seed.
    """
    if not 0 <= seed <= LAST_SEED:
        raise UsageError(f"there are no fresh episodes of seed {seed}: seeds go from 0 to {LAST_SEED}")
    if count > EPISODES_A_SEED:
        raise UsageError(f"a seed has {EPISODES_A_SEED:,} fresh episodes, not {count:,}: take more of another seed")
    start = HELD_OUT + _FRESH_OFFSET + seed * EPISODES_A_SEED
    return [start + i for i in range(count)]
