"""How fast environments are driven: decisions a second of the pool beside a plain loop of the same environment.

python benchmarks/driving.py [ID ...] [--copies 64] [--seconds 5] [--times 3]

Both take random actions, with the environment's profile, one after the other in the same process; the figure is the ratio of a
pair. The plain loop draws once a decision, as the pool does. The pool has nobody who thinks: its copies are driven in two
halves, as in a stage of a run, and those that ended begin anew once half have. Both clocks start after a first reset.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from wmloop.agents.collector import halves
from wmloop.config import EnvConfig, build_config
from wmloop.envs import EnvPool
from wmloop.envs.making import make


def plain(config: EnvConfig, seconds: float) -> float:
    """Return the decisions a second of a loop as people write it."""
    env, observe = make(config)
    actions = [env.action_space.sample() for _ in range(1000)]
    env.reset(seed=1)
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for _ in range(config.action_repeat):
            _, _, terminated, truncated, _ = env.step(actions[done % len(actions)])
            if terminated or truncated:
                env.reset(seed=done)
                break
        if observe is not None:
            observe()
        done += 1
    rate = done / (time.perf_counter() - begun)
    env.close()
    return rate


def pooled(config: EnvConfig, copies: int, seconds: float) -> float:
    """Return the decisions a second of `copies` in a pool."""
    rng = np.random.default_rng(0)
    with EnvPool(config, copies) as pool:
        actions = [np.stack([pool.actions.sample(rng) for _ in range(copies)]) for _ in range(100)]
        parts = {half: [action[half.start :: half.step] for action in actions] for half in halves(copies)}
        pool.reset(range(copies))
        ended, done, seed, steps, begun = np.zeros(copies, np.bool_), 0, copies, 0, time.perf_counter()
        waiting: set[range] = set()
        while time.perf_counter() - begun < seconds:
            if ended.mean() > 0.5:
                if not waiting:
                    pool.reset([seed + i if over else None for i, over in enumerate(ended)])
                    seed, ended = seed + copies, np.zeros(copies, np.bool_)
            else:
                for half in parts.keys() - waiting:
                    steps += 1
                    pool.send(half, parts[half][steps % len(actions)])
                    waiting.add(half)
            if waiting:
                half, step = pool.receive()
                waiting.remove(half)
                done += np.count_nonzero(step.frames)
                ended[half.start :: half.step] |= step.terminated | step.truncated
        return done / (time.perf_counter() - begun)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="*", default=["CartPole-v1", "LunarLander-v3", "CarRacing-v3"])
    parser.add_argument("--copies", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    for name in options.ids:
        config = build_config("laptop", {"env": {"id": name}}).env
        pairs = [
            (pooled(config, options.copies, options.seconds), plain(config, options.seconds))
            for _ in range(options.times)
        ]
        ratios, (ours, theirs) = [a / b for a, b in pairs], map(statistics.median, zip(*pairs, strict=True))
        print(
            f"{name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), {ours:,.0f} against"
            f" {theirs:,.0f} decisions/s, {options.copies} copies"
        )


if __name__ == "__main__":
    main()
