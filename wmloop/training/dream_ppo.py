"""PPO on dreams."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from wmloop.config import WorldModelConfig
from wmloop.dreams import DreamBatch, Noise, rollout
from wmloop.errors import UsageError
from wmloop.graphs import CapturedGraph
from wmloop.learn import ppo
from wmloop.learn.batch import Batch
from wmloop.models.controller import Actor
from wmloop.models.world_model import Imagination, State, TellsSurprise
from wmloop.ranks import ALONE, Ranks
from wmloop.training.context import StageContext
from wmloop.training.experience import LatentReplay
from wmloop.training.starts import sample_starts
from wmloop.training.viewer import DreamViewer


class DreamPPO:
    """Updates of an actor and a critic, each on a new batch of dreams, held near the policy as it was at first.

    The world model knows what was driven so far. The penalty on the divergence from the first policy lets the actor move far
    where that policy is wide, and little where it is narrow; the next rollouts teach the model what lies beyond.
    """

    def __init__(
        self, imagination: Imagination, actor: Actor, critic: nn.Module, optimizer: torch.optim.Optimizer,
        settings: ppo.Settings, curiosity: float = 0.0, ranks: Ranks = ALONE,
    ) -> None:  # fmt: skip
        """Dream in `imagination`; the optimizer has the parameters of both networks.

        `curiosity` is the weight of a reward for exploring: the world model's loss on what it imagines, whose sign is
        flipped for the actor (HS18, iterative training procedure; Schmidhuber 1991). In a dream what comes is drawn from the
        model itself, so this is the loss that it expects of itself: at temperature 1 the real one where it is calibrated.

        Each of several `ranks` dreams its share of the dreams; all learn from the whole.

        Raises:
            UsageError: curiosity is asked for, and the imagination does not tell its surprise.
        """
        if curiosity and not isinstance(imagination, TellsSurprise):
            raise UsageError(
                f"controller.curiosity asks for the surprise in a dream, which {type(imagination).__name__} does not tell: see"
                " wmloop.models.world_model.TellsSurprise"
            )
        self._curiosity, self._ranks = curiosity, ranks
        self._imagination, self._actor, self._critic = imagination, actor, critic
        self.noise_size = imagination.noise_size
        self._optimizer, self._settings = optimizer, settings
        self._reference = copy.deepcopy(actor).requires_grad_(False)
        self._dream = CapturedGraph(self._imagine)  # the weights of actor and world model stay where they are

    def update(
        self, start: State, noise: Noise, shuffle: torch.Generator, paid: Tensor | None = None
    ) -> tuple[DreamBatch, dict[str, float]]:
        """Dream from `start` (N) and learn from it; return the dreams, and PPO's metrics.

        What `paid` (N,) tells takes the place of the rewards that the world model imagines of dreams of one step.

        Raises:
            DivergedError: as `ppo.update` does.
        """
        batch = self._dreamt(start, noise)
        if paid is not None:
            batch = batch._replace(reward=paid.unsqueeze(0), terminal_reward=paid.unsqueeze(0))
        learnt, metrics = batch.learnable(), dict[str, float]()
        if self._curiosity and isinstance(self._imagination, TellsSurprise):
            surprise = self._imagination.surprise(batch.features[1:])
            learnt, metrics = curious(learnt, surprise, self._curiosity), {"surprise": float(surprise.mean())}
        networks = (self._actor, self._critic, self._reference)
        return batch, metrics | ppo.update(*networks, self._optimizer, learnt, self._settings, shuffle, self._ranks)

    def _dreamt(self, start: State, noise: Noise) -> DreamBatch:
        if self._ranks.size == 1:
            return self._dream(*start, *noise)
        count = len(start.features)
        rows = self._ranks.rows(count)
        return DreamBatch(*self._ranks.join(self._dream(*start.at(rows), *noise.at(rows)), count))

    def _imagine(self, features: Tensor, inner: Tensor, *noise: Tensor) -> DreamBatch:
        return rollout(self._imagination, self._actor, State(features, inner), Noise(*noise))


def curious(batch: Batch, surprise: Tensor, weight: float) -> Batch:
    """Return a batch whose rewards have `weight` times the `surprise` (T, N) besides, with mean 0 and standard deviation 1.

    Each step counts in these with the probability that its episode comes to it.
    """
    flat = ppo.normalise(surprise.flatten(), batch.mask.flatten())
    return batch._replace(reward=batch.reward + weight * flat.view_as(surprise))


class DreamStep:
    """One step of C's training: dreams branch off what was driven, C learns from them, and people see one of them."""

    def __init__(
        self, ctx: StageContext[WorldModelConfig], learner: DreamPPO, experience: LatentReplay, states: State,
        viewer: DreamViewer, reward_scale: float,
    ) -> None:  # fmt: skip
        """Branch off `experience`, of which M's states are `states`; rewards are dreamt in units of `reward_scale`."""
        self._ctx, self._learner, self._viewer = ctx, learner, viewer
        self._experience, self._states, self._reward_scale = experience, states, reward_scale

    def __call__(self, i: int) -> dict[str, float]:
        """Make step `i`, which depends on nothing but its number and the networks; return its metrics.

        Raises:
            DivergedError: as `ppo.update` does.
        """
        ctx, config = self._ctx, self._ctx.config
        dream, decay = config.dream, config.memory.recency_decay
        moments = sample_starts(self._experience, dream.num_dreams, dream.burn_in, decay, ctx.rng("branch", i))
        noise = Noise.draw(
            dream.horizon, dream.num_dreams, self._learner.noise_size, self._experience.replay.spec.size,
            ctx.generator("dream", i),
        )  # fmt: skip
        paid = self._experience.rewards[moments[1]] if dream.rewards == "recorded" else None
        start = self._states.at(moments)
        batch, metrics = self._learner.update(start, noise, ctx.generator("minibatches", i), paid)
        self._viewer.next(batch.features[:, 0], batch.action[:, 0])
        return metrics | batch.metrics(self._reward_scale)
