"""V and M together, a world model: what V sees becomes a state, which M takes along and dreams on from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from wmloop.models import mixture
from wmloop.models.encoder import AnyEncoder
from wmloop.models.kernel import Kernel
from wmloop.models.memory import Memory, done_probability
from wmloop.models.world_model import State


class VisionMemory:
    """V and M, put to use (see world_model.WorldModel). Features are [z, h] (N, Z + D), as M has them."""

    def __init__(self, vision: AnyEncoder, memory: Memory, terminated_weight: float) -> None:
        """Put the networks to use; M was trained with terminated steps counted `terminated_weight` times."""
        self.vision, self.memory, self.terminated_weight = vision.eval(), memory.eval(), terminated_weight
        self.device = next(memory.parameters()).device
        self._follow = memory.follower()

    @property
    def reward_scale(self) -> float:
        """Return the unit of M's rewards, in the environment's."""
        return float(self.memory.reward_scale)

    @torch.inference_mode()
    def observe(self, state: State | None, action: Tensor | None, observations: np.ndarray) -> State:
        """Return where N episodes are that were in `state`, took `action` (N, A) and now show `observations` (N, ...).

        Without a state they have just begun: M has seen nothing.
        """
        z, _ = self.vision.see(torch.from_numpy(observations).to(self.device))
        return self.memory.begin(z) if state is None or action is None else self._follow(state, action, z)

    @torch.inference_mode()
    def advance(self, state: State, action: Tensor) -> State:
        """Return where M is after `action` (N, A) in `state`; z is still that of before."""
        return self._follow(state, action, self.memory.split(state.features)[0])

    @torch.inference_mode()
    def expected(self, state: State) -> State:
        """Return the states with the mean of what M expects to see, having consumed all steps before it, as z."""
        _, h = self.memory.split(state.features)
        return State(torch.cat([mixture.expected(self.memory.density(h)), h], -1), state.inner)

    @torch.inference_mode()
    def terminated(self, state: State) -> Tensor:
        """Return the probability (N,) that the step to `state`, which is seen, has ended the episode."""
        z, h = self.memory.split(state.features)
        return done_probability(self.memory.predict(h, z).done_logit, self.terminated_weight)

    def latent(self, features: Tensor) -> Tensor:
        """Return z (N, Z) of features (N, Z + D); where V sees only vectors, that is the standardised vector."""
        return self.memory.split(features)[0]

    @torch.inference_mode()
    def decode(self, features: Tensor) -> np.ndarray | None:
        """Return V's pictures (N, H, W, 3) uint8 of the z in features (N, Z + D); None where V sees only vectors."""
        z, _ = self.memory.split(features)
        frames = self.vision.draw(z)
        return None if frames is None else np.asarray(frames.cpu().numpy())

    @torch.inference_mode()
    def decode_vector(self, features: Tensor) -> np.ndarray | None:
        """Return the vectors (N, n) of the z in features (N, Z + D); None where V sees only pictures."""
        z, _ = self.memory.split(features)
        vectors = self.vision.vector(z)
        return None if vectors is None else np.asarray(vectors.cpu().numpy())

    def imagination(self, temperature: float) -> Kernel:
        """Return M's dreaming at a mixture temperature."""
        return Kernel(self.memory, temperature, self.terminated_weight)

    def networks(self, shape: Sequence[int]) -> Mapping[str, tuple[nn.Module, Callable[[], object]]]:
        """Return V and M, each with a call that passes once through all its layers, for an observation of `shape`."""
        vision, memory = self.vision, self.memory
        seen = torch.zeros(1, *shape, device=self.device)
        state = memory.start(1, self.device)
        z, action = (torch.zeros(1, 1, size, device=self.device) for size in (memory.latent, memory.actions))

        def filter_states() -> None:
            memory.predict(memory(z, action, state)[0], z)
            memory.mixture_head(state[0])  # a prediction reads its weights in another order and never calls it

        return {
            "V, the VAE" if vision.pictures else "V": (vision, lambda: vision.draw(vision.see(seen)[0])),
            "M, the MDN-RNN": (memory, filter_states),
        }
