"""What an environment takes and shows: actions and observations, in its own units and as networks read them."""

from wmloop.spaces.actions import ACTIONS, ActionSpec, Perturbing, recorded
from wmloop.spaces.box import BoxActions
from wmloop.spaces.observations import ObservationSpec, Pixels

__all__ = ["ACTIONS", "ActionSpec", "BoxActions", "ObservationSpec", "Perturbing", "Pixels", "recorded"]
