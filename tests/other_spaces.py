"""Spaces that wmloop does not ship: discrete actions, and vectors to look at. What is here is all that they need."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from wmloop.models.controller import Actor


class DiscreteActions:
    """One of `size` actions, which M reads one-hot; a mirrored world has them in another order."""

    kind, shape, dtype = "discrete", (), np.dtype(np.int64)

    def __init__(self, size):
        self.size = size

    def __str__(self):
        return f"among {self.size}"

    def record(self):
        return {"kind": self.kind, "size": self.size}

    @classmethod
    def of(cls, record):
        return cls(record["size"])

    def encode(self, actions):
        return np.eye(self.size, dtype=np.float32)[actions]

    def decode(self, encoded):
        return encoded.argmax(-1)

    def mirror(self, encoded, mirror):
        return encoded[..., list(mirror)]

    def sample(self, rng):
        return rng.integers(self.size)

    def random_walk(self, settings, decisions, rng):
        held = rng.random(decisions) < rng.uniform(*settings.autocorrelation)
        begun = np.maximum.accumulate(np.where(held, 0, np.arange(decisions)))
        return rng.integers(self.size, size=decisions)[begun]

    def perturbations(self, settings, rngs):
        return Held(self, settings, rngs)

    def from_keys(self, steer, up, down):
        return np.int64(1 if steer < 0 else 2 if steer > 0 else 0)


class Held:
    """A random action, held for a while: more than any sampled one weighs."""

    def __init__(self, spec, settings, rngs):
        self._spec, self._settings, self._rngs = spec, settings, rngs
        self._left, self._action = np.zeros(len(rngs), int), np.zeros((len(rngs), spec.size), np.float32)

    def __call__(self):
        for i, rng in enumerate(self._rngs):
            self._left[i] -= 1
            if self._left[i] < 0:
                self._action[i] = 0
                if rng.random() < self._settings.perturb_prob:
                    low, high = self._settings.perturb_decisions
                    self._left[i] = rng.integers(low, high + 1) - 1
                    self._action[i] = 2 * self._spec.encode(self._spec.sample(rng))
        return self._action


class Categorical(NamedTuple):
    """A policy over one-hot actions; `log_p` (..., A)."""

    log_p: torch.Tensor

    def sample(self, noise):
        gumbel = -torch.log(-torch.special.log_ndtr(noise))
        return self.executed(self.log_p + gumbel)

    def logprob(self, action):
        return (action * self.log_p).sum(-1)

    @staticmethod
    def executed(action):
        return F.one_hot(action.argmax(-1), action.shape[-1]).to(action.dtype)

    def entropy(self):
        return -(self.log_p.exp() * self.log_p).sum(-1)

    def kl(self, other):
        return (self.log_p.exp() * (self.log_p - other.log_p)).sum(-1)

    def mode(self):
        return self.executed(self.log_p)

    def likelihood(self, action, slack, floor):
        return (action * (1 - floor) * (self.log_p / slack).softmax(-1)).sum(-1) + floor / action.shape[-1]

    def flat(self):
        return Categorical(self.log_p.flatten(0, 1))

    def at(self, rows):
        return Categorical(self.log_p[rows])


class CategoricalActor(Actor):
    """Logits on the layers that every actor has."""

    def __init__(self, inputs, actions, kind="mlp"):
        super().__init__(inputs, kind)
        self.logits = nn.Linear(self.width, actions)
        nn.init.zeros_(self.logits.weight)

    def init_mean(self, action):
        with torch.no_grad():
            self.logits.bias.copy_(action.clamp(min=0.01).log())

    def forward(self, features):
        return Categorical(self.logits(self.trunk(features)).log_softmax(-1))


def make_categorical(config, inputs, size):
    """Return what ACTORS has for discrete actions."""
    return CategoricalActor(inputs, size, config.actor)


class Vector(NamedTuple):
    """Observations of `size` numbers; there is nothing to see."""

    size: int
    dtype = np.dtype(np.float32)

    @property
    def shape(self):
        return (self.size,)

    def picture(self, observation):
        return None
