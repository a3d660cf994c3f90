"""The agent on pictures from its version."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from wmloop.agents.pixels import PixelAgent
from wmloop.config import VanillaPPOConfig
from wmloop.errors import UsageError
from wmloop.models.state import Arrays, load_module
from wmloop.spaces import ActionSpec, BoxActions, ObservationSpec, PictureAndVector, Pixels
from wmloop.store import Version
from wmloop.training.vanilla_ppo import new_networks
from wmloop.training.weights import load as weights


def fits(config: VanillaPPOConfig, actions: ActionSpec, observations: ObservationSpec) -> None:
    """Refuse an environment whose observations are no pictures alone, or whose actions are no Box.

    Raises:
        UsageError: it is one; the message says what would fit.
    """
    wrong, instead = [], ""
    if isinstance(observations, PictureAndVector):
        wrong, instead = ["shows a picture and a vector"], ", or choose the picture alone: --set env.observation=[KEY]"
    elif not isinstance(observations, Pixels):
        wrong, instead = ["shows a vector"], ", or look at what is drawn: --set env.pixels=true"
    if not isinstance(actions, BoxActions):
        wrong, instead = [*wrong, f"takes one of {actions.size} actions"], ""
    if wrong:
        raise UsageError(
            f"the environment {config.env.id!r} {' and '.join(wrong)}, and the pipeline vanilla-ppo takes only pictures and Box"
            f" actions: train in it with --pipeline world-model{instead}"
        )
    if len(first := config.ppo.initial_action) not in (0, actions.size):
        raise UsageError(
            f"ppo.initial_action has {len(first)} numbers, and actions of {config.env.id!r} have {actions.size}: give it as"
            " many, or none"
        )


def accept(config: VanillaPPOConfig, actions: ActionSpec | None, parts: Mapping[str, Arrays]) -> None:
    """Refuse tensors that are not those of the actor as configured, by names, dtypes and shapes.

    Raises:
        StoreCorruptError, KeyError: they are not.
    """
    meta = torch.device("meta")
    with meta:  # shapes without memory: the settings may ask for anything
        actor, _ = new_networks(config, len(parts["actor"]["mean.bias"]), meta)
    load_module(actor, parts["actor"])


def load(config: VanillaPPOConfig, actions: ActionSpec, device: torch.device, learner: Version) -> PixelAgent:
    """Return the agent that takes `actions`."""
    actor, _ = new_networks(config, actions.size, device)
    return PixelAgent(weights(actor, learner, "actor"), config.ppo.stack, actions)
