"""What a dreamer is shown: features, latents, or what is observed in reality as the world model draws it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from wmloop.errors import UsageError, nearest
from wmloop.models.blocks import block_size, by_blocks
from wmloop.models.world_model import DecodesVectors, HasLatents, WorldModel
from wmloop.spaces import ActionSpec, BoxActions, DiscreteActions

Show = Callable[[Tensor], np.ndarray]
"""(features (N, F)) -> observations (N, ...)."""


class View(NamedTuple):
    """The space of what is shown, and what shows it."""

    space: spaces.Box
    show: Show


def views(world: WorldModel, examples: Tensor) -> dict[str, Callable[[], View]]:
    """Return what can be shown of a world model by name, made when it is called; `examples` are some features (K, F)."""
    there: dict[str, Callable[[], View]] = {"features": lambda: _numbers(_same, examples)}
    if isinstance(world, HasLatents):
        there["latent"] = lambda: _numbers(world.latent, examples)
    if world.decode(examples[:1]) is not None:
        there["pixels"] = lambda: _pictures(world, examples)
    if isinstance(world, DecodesVectors) and world.decode_vector(examples[:1]) is not None:
        there["vector"] = lambda: _numbers(lambda features: torch.as_tensor(world.decode_vector(features)), examples)
    return there


def view(name: Any, there: dict[str, Callable[[], View]]) -> View:
    """Return what is shown by that name.

    Raises:
        UsageError: this world model does not show that.
    """
    if name not in list(there):
        names = ", ".join(map(repr, there))
        raise UsageError(f"this world model has no observation {name!r}{nearest(name, list(there))}: it has {names}")
    return there[name]()


#: Metadata of what may be asked of the environments; each has its own.
METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 30}


def metadata(draws: bool, action_repeat: int, frames_per_second: float = METADATA["render_fps"]) -> dict[str, Any]:
    """Return an environment's metadata: whether it `draws`, and how many agent steps a second people should see."""
    speed = max(1, round(frames_per_second / action_repeat))
    return {"render_modes": ["rgb_array"] if draws else [], "render_fps": speed}


def action_space(actions: ActionSpec) -> spaces.Space[Any]:
    """Return actions in the environment's units as Gymnasium has them.

    Raises:
        UsageError: Gymnasium has none like these.
    """
    if isinstance(actions, BoxActions):
        return spaces.Box(actions.low, actions.high, dtype=np.float32)
    if isinstance(actions, DiscreteActions):
        return spaces.Discrete(actions.size)
    raise UsageError(f"actions of the kind {actions.kind!r} have no space of Gymnasium: Box and Discrete have")


def encode(actions: ActionSpec, given: np.ndarray) -> np.ndarray:
    """Return actions (N, ...) in the environment's units as a world model reads them, (N, A) float32.

    Numbers are clipped to their bounds, as they are where the real environment takes them.

    Raises:
        UsageError: these are no actions of the environment.
    """
    if given.shape[1:] != actions.shape:
        raise UsageError(f"an action of shape {given.shape[1:]} was given, and its shape is {actions.shape}")
    if isinstance(actions, BoxActions):
        if given.dtype.kind not in "biuf" or not np.isfinite(given).all():
            raise UsageError("an action was given that is no finite numbers")
        return actions.encode(np.clip(given.astype(np.float32), actions.low, actions.high))
    if given.dtype.kind not in "iu" or ((given < 0) | (given >= actions.size)).any():
        raise UsageError(f"an action was given that is none of the whole numbers from 0 to {actions.size - 1}")
    return actions.encode(given)


def _same(features: Tensor) -> Tensor:
    return features


def _numbers(tell: Callable[[Tensor], Tensor], examples: Tensor) -> View:
    size = tell(examples[:1]).shape[1]
    most = float(np.finfo(np.float32).max)  # not infinity, which Gymnasium's checker takes for a mistake

    def show(features: Tensor) -> np.ndarray:
        return np.array(tell(features).cpu().numpy(), np.float32)

    return View(spaces.Box(-most, most, (size,), np.float32), show)


def _pictures(world: WorldModel, examples: Tensor) -> View:
    def draw(features: Tensor) -> list[Tensor]:
        return [torch.as_tensor(world.decode(features))]

    size = block_size(draw, [examples])
    shape = tuple(draw(examples[:1])[0].shape[1:])
    return View(
        spaces.Box(0, 255, shape, np.uint8), lambda features: by_blocks(draw, size, [features])[0].numpy().copy()
    )
