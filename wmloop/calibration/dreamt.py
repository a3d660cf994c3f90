"""What an agent scores in whole episodes of its own dream, to be held beside what it scores in reality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from wmloop.agents.world_model import WorldModelAgent
from wmloop.dreams import Noise, rollout
from wmloop.envs import Envs
from wmloop.models.policies import Deterministic


@torch.inference_mode()
def dreamt_scores(
    agent: WorldModelAgent, observations: np.ndarray, decisions: int, temperature: float, generator: torch.Generator
) -> np.ndarray:
    """Return what N imagined episodes pay (N,), in the environment's rewards.

    They begin with the real first `observations` (N, ...) and see none after them; C is deterministic, and M imagines at a
    `temperature` (see mixture.sample). Where an episode ends is drawn, with M's probability of it at every agent step; it is
    cut after `decisions` of them.
    """
    begin = agent.world.observe(None, None, observations)
    imagination, count, device = agent.world.imagination(temperature), len(observations), begin.features.device
    noise = Noise.draw(decisions, count, imagination.noise_size, agent.actions.size, generator)
    batch = rollout(imagination, lambda features: Deterministic(agent.actor(features)), begin, noise)
    chance = torch.rand(count, generator=generator, device=device)
    reached, goes_on = batch.survival[:-1] > chance, batch.survival[1:] > chance
    paid = torch.where(goes_on, batch.reward, batch.terminal_reward) * reached
    scores: np.ndarray = (paid.cpu().double().sum(0) * agent.world.reward_scale).numpy()
    return scores


def score_dreams(
    pool: Envs, agent: WorldModelAgent, seeds: Sequence[int], decisions: int, temperature: float, device: torch.device
) -> list[float]:
    """Return the scores of dreams that begin as the real episodes of `seeds` do, as many at a time as the pool has copies."""
    generator, scores = torch.Generator(device).manual_seed(seeds[0]), list[float]()
    for k in range(0, len(seeds), pool.num_envs):
        wave = [*seeds[k : k + pool.num_envs]]
        begun = pool.reset([*wave, *[None] * (pool.num_envs - len(wave))])[: len(wave)]
        scores += dreamt_scores(agent, begun, decisions, temperature, generator).tolist()
    return scores
