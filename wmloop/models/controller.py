"""C, the controller on [z, h]: actors and critics (Kuth, Stermann & Heitzer 2021, figure 4; HS18's linear controller)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from wmloop.learn.policy import Policy
from wmloop.models.mixed import Layers
from wmloop.models.policies import Categorical, ClippedGaussian, bias_of, near_zero

#: What lies below an actor's heads.
Kind = Literal["mlp", "hidden", "linear"]
#: What an actor's spread of actions follows from. Evolution leaves it alone.
_SPREAD = "spread."


class Actor(nn.Module):
    """Map features [z, h] (B, Z + D), or the first `inputs` of them, to a policy.

    These are the layers below the heads, which are those of a kind of actions. `mlp` is that of Kuth et al. 2021,
    288-256-256-128-64; `linear` is HS18's, which has none; `hidden` is HS18's with one hidden layer, of 40 tanh units.
    """

    _HIDDEN = 40

    def __init__(self, inputs: int, kind: Kind) -> None:
        super().__init__()
        self.trunk: nn.Module
        match kind:
            case "mlp":
                self.trunk, self.width = _mlp(inputs, 256, 256, 128, 64), 64
            case "hidden":
                self.trunk, self.width = Layers(_linear(inputs, self._HIDDEN, 1.0), nn.Tanh()), self._HIDDEN
            case "linear":
                self.trunk, self.width = nn.Identity(), inputs
        self.inputs = inputs

    def init_mean(self, action: Tensor) -> None:
        """Let the untrained policy be near what was done so far, `action` (A,) on average."""
        raise NotImplementedError

    def deciding(self) -> dict[str, nn.Parameter]:
        """Return, by name, the parameters that evolution changes: all but those of the spread.

        The deterministic action is the mean of the clipped policy, so with a wide spread it does not reach the bounds.
        """
        return {name: part for name, part in self.named_parameters() if not name.startswith(_SPREAD)}

    def forward(self, features: Tensor) -> Policy:
        """Return the policy for features (..., Z + D)."""
        raise NotImplementedError


class GaussianActor(Actor):
    """Map features to a clipped Gaussian over actions.

    With two heads of 3 `mlp` has 181,318 parameters. `linear` has 867, and `hidden` on z alone 1,443; both have a free log
    standard deviation beside them so that PPO can train them. The mean passes a tanh, so that it never leaves the action
    space; exploration noise on top is clipped where the action is used, not here.
    """

    def __init__(
        self, inputs: int = 288, actions: int = 3, kind: Kind = "mlp", log_std: tuple[float, float] = (-3.0, 0.0)
    ) -> None:
        super().__init__(inputs, kind)
        self.log_std_bounds = log_std
        self.mean = nn.Linear(self.width, actions)
        self.spread: nn.Module = nn.Linear(self.width, actions) if kind == "mlp" else _Constant(actions)
        near_zero(self.mean, self.spread)

    def init_mean(self, action: Tensor) -> None:
        """Let the untrained policy's mean be near `action` (A,), at most 0.8 towards a bound."""
        with torch.no_grad():
            self.mean.bias.copy_(bias_of(action))

    def forward(self, features: Tensor) -> ClippedGaussian:
        """Return the policy for features (..., Z + D)."""
        x = self.trunk(features[..., : self.inputs])
        return ClippedGaussian.of_heads(self.mean(x), self.spread(x), self.log_std_bounds)


class CategoricalActor(Actor):
    """Map features to a policy over discrete actions, of which there are `actions`."""

    #: No action is less probable than this in the untrained policy, however seldom it was taken.
    _LEAST = 0.01

    def __init__(self, inputs: int, actions: int, kind: Kind = "mlp") -> None:
        super().__init__(inputs, kind)
        self.logits = nn.Linear(self.width, actions)
        near_zero(self.logits)

    def init_mean(self, action: Tensor) -> None:
        """Let the untrained policy take actions as often as they were taken so far, `action` (A,) of the time."""
        with torch.no_grad():
            self.logits.bias.copy_(action.clamp(min=self._LEAST).log())

    def forward(self, features: Tensor) -> Categorical:
        """Return the policy for features (..., Z + D)."""
        return Categorical(self.logits(self.trunk(features[..., : self.inputs])).log_softmax(-1))


class PlainCritic(nn.Module):
    """Map features [z, h] (B, Z + D), or the first `inputs` of them, to the value (B,): 288-256-128-1."""

    def __init__(self, inputs: int = 288) -> None:
        super().__init__()
        self.inputs = inputs
        self.net = nn.Sequential(_mlp(inputs, 256, 128), nn.Linear(128, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return the value (...,) of features (..., Z + D), in units of reward_scale."""
        return self.net(features[..., : self.inputs]).squeeze(-1)


class AttentionCritic(nn.Module):
    """Map features [z, h] to the value through attention, as the critic of Kuth et al. 2021 does in its text.

    The features are cut into tokens of 32; each is embedded with its place, a learned query attends over all of them
    (4 heads), and a small network reads the value off what it gathered. They give no layout: this one is wmloop's.
    """

    _TOKEN = 32

    def __init__(self, inputs: int = 288, width: int = 64) -> None:
        super().__init__()
        self.inputs = inputs
        self.padding = -inputs % self._TOKEN
        tokens = (inputs + self.padding) // self._TOKEN
        self.embed = nn.Linear(self._TOKEN, width)
        self.place = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.query = nn.Parameter(torch.randn(1, width) * 0.02)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.net = nn.Sequential(_mlp(width, 128, 64), nn.Linear(64, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return the value (...,) of features (..., Z + D), in units of reward_scale."""
        flat = nn.functional.pad(features[..., : self.inputs].flatten(0, -2), (0, self.padding))
        tokens = torch.relu(self.embed(flat.unflatten(-1, (-1, self._TOKEN)))) + self.place
        gathered, _ = self.attention(self.query.expand(len(flat), 1, -1), tokens, tokens, need_weights=False)
        return self.net(gathered.squeeze(1)).squeeze(-1).unflatten(0, features.shape[:-1])


def make_critic(kind: Literal["plain", "attention"], inputs: int) -> nn.Module:
    """Return the critic a configuration names."""
    return PlainCritic(inputs) if kind == "plain" else AttentionCritic(inputs)


class _Constant(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(size))

    def forward(self, features: Tensor) -> Tensor:
        return self.value.expand(*features.shape[:-1], -1)


def _mlp(*widths: int) -> Layers:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [_linear(inputs, outputs, math.sqrt(2)), nn.ReLU()]
    return Layers(*layers)


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.zeros_(linear.bias)
    return linear
