"""What an environment takes and shows: actions and observations, in its own units and as networks read them."""

from wmloop.spaces.actions import ACTIONS, ActionSpec, Perturbing, recorded
from wmloop.spaces.bins import BinnedActions
from wmloop.spaces.box import BoxActions
from wmloop.spaces.discrete import DiscreteActions
from wmloop.spaces.observations import ObservationSpec, PictureAndVector, Pixels, Vector, recorded_observations

__all__ = [
    "ACTIONS", "ActionSpec", "BinnedActions", "BoxActions", "DiscreteActions", "ObservationSpec", "Perturbing",
    "PictureAndVector", "Pixels", "Vector", "recorded", "recorded_observations",
]  # fmt: skip
