"""How fast the engine on Ray drives rollouts beside the local pool, on this machine: decisions a second, as a ratio of pairs.

python benchmarks/on_ray.py [ID ...] [--copies 20] [--decisions 300] [--times 3]

Both drive the same wave with the same agent, one after the other, and have to give the same episodes. The agent is V, M and
C of random weights as preset laptop has them. Ray has as many CPUs as this process. Its start is not counted, nor is that of
the environments: a run pays for these once, and once a stage. A ratio of 1.25 is 25% of overhead.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from wmloop import machine
from wmloop.agents.collector import EpisodeTask, drive, halves
from wmloop.agents.recorder import Recorder
from wmloop.agents.world_model import Agent
from wmloop.config import WorldModelConfig, build_config
from wmloop.device import set_up
from wmloop.envs import Envs, make_envs
from wmloop.episodes import Episode
from wmloop.models.networks import new_actor, new_memory, new_vision, parts_seen
from wmloop.models.vision_memory import VisionMemory
from wmloop.training.context import Chance
from wmloop.training.driving import Exploring


def driven(pool: Envs, config: WorldModelConfig, decisions: int) -> tuple[float, list[Episode]]:
    """Return the decisions a second of a wave of a stage, and its episodes."""
    device = torch.device("cpu")
    torch.manual_seed(0)
    vision = new_vision(config, device, parts_seen(pool.observations))
    memory = new_memory(config, config.vision.latent_size, pool.actions.size, device)
    agent = Agent(
        VisionMemory(vision, memory, 1.0), new_actor(config, memory.features, pool.actions, device), pool.actions
    )
    wave = [EpisodeTask(seed, decisions) for seed in range(pool.num_envs)]
    explore = Exploring(Chance(0, 1, "rollout"), 0, wave, pool.num_envs, pool.actions, config.rollout)
    begun = time.perf_counter()
    episodes = drive(pool, wave, dict.fromkeys(halves(pool.num_envs), agent), lambda *_: None, explore, Recorder())
    return sum(map(len, episodes)) / (time.perf_counter() - begun), episodes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="*", default=["VizdoomTakeCover-v1", "CarRacing-v3"])
    parser.add_argument("--copies", type=int, default=20)
    parser.add_argument("--decisions", type=int, default=300)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    set_up("cpu", machine.cores())
    for name in options.ids:
        config: Any = build_config("laptop", {"env": {"id": name, "num_envs": options.copies}})
        engines = [config.env.model_copy(update={"engine": engine}) for engine in ("processes", "ray")]
        with make_envs(engines[0], options.copies) as here, make_envs(engines[1], options.copies) as there:
            for pool in (here, there):
                driven(pool, config, 2)  # what is slow only once
            pairs = [[driven(pool, config, options.decisions) for pool in (here, there)] for _ in range(options.times)]
        for (_, ours), (_, theirs) in pairs:
            assert [e.rewards.tobytes() for e in ours] == [e.rewards.tobytes() for e in theirs], "other episodes"
        ratios = [ours[0] / theirs[0] for ours, theirs in pairs]
        local, ray = (statistics.median(pair[place][0] for pair in pairs) for place in (0, 1))
        print(
            f"{name}: Ray takes {statistics.median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f}),"
            f" {ray:,.0f} against {local:,.0f} decisions/s, {options.copies} copies, {machine.cores()} cores"
        )


if __name__ == "__main__":
    main()
