"""What CMA-ES evolves C by: generations of candidates, in dreams or in the real environment."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wmloop.agents.collector import EpisodeTask, drive, halves, waves
from wmloop.agents.world_model import Agent
from wmloop.config import EvolutionConfig, HS18Config, HS18DreamConfig
from wmloop.dreams import Noise, returns
from wmloop.envs import Envs
from wmloop.episodes import Episode
from wmloop.errors import DivergedError, UsageError
from wmloop.learn.cma import CMAES
from wmloop.models.controller import Actor
from wmloop.models.networks import parts_seen, shapes_of, unallocated
from wmloop.models.population import Population, weights_of, with_weights
from wmloop.models.vision_memory import VisionMemory
from wmloop.models.world_model import State
from wmloop.seeding import training_seed
from wmloop.spaces import ActionSpec, ObservationSpec
from wmloop.store import Version
from wmloop.training.context import StageContext
from wmloop.training.driving import Ticker
from wmloop.training.experience import LatentReplay
from wmloop.training.starts import sample_starts
from wmloop.training.viewer import DreamViewer
from wmloop.training.weights import has, load, save

#: The files of a search: its state, and what it came to, generation by generation.
_SEARCH, GENERATIONS = "search", "generations.json"
#: A covariance of more is decomposed for minutes, and takes gigabytes.
_MOST_WEIGHTS = 6_000


class Evolution:
    """A search for an actor's deciding weights, and the record of this stage's generations.

    `modules` are all that changes: the search, and the record, which grows by a generation each.
    """

    def __init__(self, ctx: StageContext[Any], settings: EvolutionConfig, actor: Actor, before: Version | None) -> None:
        """Go on with the search of a version `before`, or begin one at the actor's weights."""
        self._ctx, self._settings, self.actor = ctx, settings, actor
        diagonal = settings.covariance == "diagonal"
        self.search = CMAES(weights_of(actor), settings.sigma, settings.population_size, diagonal)
        if before is not None and has(before, _SEARCH):
            load(self.search, before, _SEARCH)
        self.record = Record(settings)
        self.modules = {_SEARCH: self.search, "record": self.record}

    def candidates(self, generation: int) -> Tensor:
        """Return the weights (P, W) that this stage's generation of a number tries; they follow from its place."""
        return self.search.ask(self._noise(generation))

    def tell(self, generation: int) -> dict[str, float]:
        """Let the search learn from the recorded scores of a generation; return what is said of it.

        Raises:
            DivergedError: a score is not finite.
        """
        fitness = self.record.fitness(generation)
        self.search.tell(self._noise(generation), fitness)
        self.record.sigma[generation] = self.search.sigma
        return {"best_fitness": float(fitness.max()), "sigma": float(self.search.sigma)}

    def save(self) -> None:
        """Save the mean of the search as C's actor, the search itself, and what its generations came to."""
        with_weights(self.actor, self.search.mean)
        save(self.actor, self._ctx.draft, "actor")
        save(self.search, self._ctx.draft, _SEARCH)
        self._ctx.draft.save_json(GENERATIONS, self.record.summary())

    def _noise(self, generation: int) -> Tensor:
        rng = self._ctx.rng("candidates", generation)
        return torch.from_numpy(rng.standard_normal((self._settings.population_size, len(self.search.mean))))


class Record(nn.Module):
    """What was tried in this stage: of G generations of P candidates in E episodes each, float64.

    `scores`, `frames` and `decisions` (G, P, E), `sigma` (G,) after each.
    """

    scores: Tensor
    frames: Tensor
    decisions: Tensor
    sigma: Tensor

    def __init__(self, settings: EvolutionConfig) -> None:
        super().__init__()
        size = settings.generations, settings.population_size, settings.episodes
        for name in ("scores", "frames", "decisions"):
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))
        self.register_buffer("sigma", torch.zeros(settings.generations, dtype=torch.float64))
        # rounded: 0.07 * 100 is a little more than 7
        self._counted = max(1, math.ceil(round(settings.worst_fraction * settings.episodes, 9)))

    def fitness(self, generation: int) -> Tensor:
        """Return the fitness (P,) of a generation's candidates: the mean return of each one's worst episodes.

        They are summed in the order in which they were: where all count, it is the plain mean to the last bit.
        """
        scores = self.scores[generation]
        worst = scores.sort(dim=1, stable=True).indices[:, : self._counted].sort(1).values
        return scores.gather(1, worst).mean(1)

    def summary(self) -> list[dict[str, float]]:
        """Return one record a generation, as JSON."""
        return [
            {
                "mean_fitness": float(fitness.mean()),
                "best_fitness": float(fitness.max()),
                "sigma": float(self.sigma[g]),
                "frames": float(self.frames[g].sum()),
            }
            for g, fitness in enumerate(map(self.fitness, range(len(self.scores))))
        ]


def fits(config: HS18Config | HS18DreamConfig, actions: ActionSpec, observations: ObservationSpec) -> None:
    """Refuse, before anything is collected, a C of so many weights that their full covariance takes too long.

    Raises:
        UsageError: it is one; or C would evolve by rewards that M does not learn. The message says what would do.
    """
    if isinstance(config, HS18DreamConfig) and not config.learns_rewards:
        raise UsageError(
            "with memory.reward_weight=0 the world model learns no rewards, and candidates are chosen by what it says of them:"
            " give memory.reward_weight a value above 0"
        )
    *_, actor = unallocated(config, actions, parts_seen(observations))
    weights = sum(part.numel() for part in actor.deciding().values())
    if config.evolution.covariance == "full" and weights > _MOST_WEIGHTS:
        raise UsageError(
            f"a controller of {weights:,} weights has too many for their full covariance, which takes up to {_MOST_WEIGHTS:,}:"
            " choose --set controller.actor=linear, --set controller.inputs=z, or --set evolution.covariance=diagonal"
        )


def shapes(config: HS18Config | HS18DreamConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all networks' tensors as configured, and of the search's covariance; no memory is taken."""
    vision, memory, actor = unallocated(config)
    weights = sum(part.numel() for part in actor.deciding().values())
    covariance = (weights,) if config.evolution.covariance == "diagonal" else (weights, weights)
    return shapes_of(vision=vision, memory=memory, actor=actor) | {f"{_SEARCH}.covariance": covariance}


class DreamtGeneration:
    """One generation of candidates in dreams: all in one batch, from the same starts, and chance falls alike for each."""

    def __init__(
        self, ctx: StageContext[HS18DreamConfig], evolution: Evolution, world: VisionMemory, temperature: float,
        experience: LatentReplay, states: State | None,
    ) -> None:  # fmt: skip
        """Dream in `world` from the moments of `experience`; `states` are M's at each, if dreams begin at any."""
        self._ctx, self._evolution, self._world = ctx, evolution, world
        self._imagination = world.imagination(temperature)
        self._experience, self._states = experience, states
        self._viewer = DreamViewer(ctx, world, evolution.actor, experience.replay.spec)
        self.horizon = ctx.config.evolution.horizon or ctx.config.env.most_decisions

    def __call__(self, generation: int) -> dict[str, float]:
        """Try a generation's candidates and learn from them; return its metrics.

        Raises:
            DivergedError: what a dream pays is not finite.
        """
        ctx, settings = self._ctx, self._ctx.config.evolution
        population, episodes = settings.population_size, settings.episodes
        start, noise = self._starts(generation), self._imagination.noise_size
        chance = Noise.draw(self.horizon, episodes, noise, 0, ctx.generator("dream", generation)).repeated(population)
        policy = Population(self._evolution.actor, self._evolution.candidates(generation))
        dreams = returns(self._imagination, policy, start.at(torch.arange(episodes).repeat(population)), chance)
        self._viewer.next(dreams.features, dreams.action)
        paid = (dreams.total.cpu().double() * self._world.reward_scale).unflatten(0, (population, episodes))
        if not torch.isfinite(paid).all():
            raise DivergedError(
                f"what M imagines in {self.horizon} agent steps is not finite: set a shorter evolution.horizon or a lower"
                " dream.temperature in a new run or a fork"
            )
        self._evolution.record.scores[generation] = paid
        told = self._evolution.tell(generation)
        return {
            "dream_return": float(paid.mean()),
            "dream_terminated_fraction": float(dreams.ended.mean()),
            **told,
        }

    def _starts(self, generation: int) -> State:
        """Return where a generation's dreams begin: as whole episodes did, or, where they are shorter, at any moment."""
        config, experience, rng = self._ctx.config, self._experience, self._ctx.rng("branch", generation)
        count = config.evolution.episodes
        if self._states is not None:
            burn_in, decay = config.dream.burn_in, config.memory.recency_decay
            return self._states.at(sample_starts(experience, count, burn_in, decay, rng))
        first = experience.replay.first
        rows = rng.permuted(np.arange(len(first)))[np.arange(count) % len(first)]
        side = rng.integers(0, len(experience.mu), count)
        return self._world.memory.begin(experience.mu[torch.from_numpy(side), torch.from_numpy(first[rows])])


class RealRound:
    """One episode of every candidate of a generation in the real environment: all drive the same one, without noise.

    An environment cannot be put back into the middle of an episode. So a round is the smallest step of this search.
    """

    def __init__(
        self, ctx: StageContext[HS18Config], evolution: Evolution, world: VisionMemory, pool: Envs, actions: ActionSpec
    ) -> None:
        """Drive the copies of `pool`, which takes `actions`; V and M, `world`, are the same for all candidates."""
        self._ctx, self._evolution, self._world, self._pool, self._actions = ctx, evolution, world, pool, actions

    def __call__(self, number: int) -> dict[str, float]:
        """Drive the round of a number, and after a generation's last one learn from it; return what is said of it.

        Raises:
            DivergedError: an episode's return is not finite.
            Interrupted: the run is to stop.
        """
        settings, record = self._ctx.config.evolution, self._evolution.record
        generation, place = divmod(number, settings.episodes)
        driven = self._drive(number, generation, place)
        record.scores[generation, :, place] = torch.tensor([episode.score for episode in driven], dtype=torch.float64)
        record.frames[generation, :, place] = torch.tensor([episode.frames for episode in driven])
        record.decisions[generation, :, place] = torch.tensor([len(episode) for episode in driven])
        told = {"score": float(record.scores[generation, :, : place + 1].mean())}
        return told | self._evolution.tell(generation) if place + 1 == settings.episodes else told

    def totals(self) -> dict[str, float]:
        """Return what all rounds came to: frames, decisions and episodes."""
        record = self._evolution.record
        frames = float(record.frames.sum())
        return {
            "frames": frames,
            "units": frames,
            "episodes": float(record.scores.numel()),
            "decisions": float(record.decisions.sum()),
        }

    def _drive(self, number: int, generation: int, place: int) -> list[Episode]:
        ctx, width = self._ctx, self._pool.num_envs
        candidates = self._evolution.candidates(generation)
        seed = training_seed(ctx.config.seed, ctx.iteration, "track", generation, place)
        tasks = [EpisodeTask(seed) for _ in candidates]
        driven: list[Episode] = []
        for wave in waves(tasks, width):
            first = len(driven)
            agents = {}
            for copies in halves(width):
                chosen = [min(first + copy, len(tasks) - 1) for copy in copies]  # copies that idle are the last one's
                agents[copies] = Agent(
                    self._world, Population(self._evolution.actor, candidates[chosen]), self._actions
                )
            done = (number * len(tasks) + first) * ctx.config.env.most_frames
            driven += drive(self._pool, wave, agents, Ticker(ctx, self._pool.observations, done))
        return driven
