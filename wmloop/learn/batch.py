"""What a learner learns on: steps of many episodes, imagined or real, as plain tensors."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """T steps of N episodes, time first.

    `features` (T+1, N, F) includes where each episode stopped, for bootstrapping; `action` (T, N, A) is as it was sampled,
    as its `logprob` (T, N) needs it; `reward` (T, N) is expected over whether the step ends the episode, `continues` (T, N)
    the probability that it does not, and `mask` (T, N) the probability that the episode has come to the step: 0 where it
    had ended before. In reality these two are 0 or 1.
    """

    features: Tensor
    action: Tensor
    logprob: Tensor
    reward: Tensor
    continues: Tensor
    mask: Tensor
