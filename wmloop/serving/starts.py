"""What travels with an agent so that others can dream in its world model: its actions, and remembered states to begin at."""

from __future__ import annotations

import torch

from wmloop.config import RunConfig
from wmloop.history import History
from wmloop.models.state import Arrays
from wmloop.models.world_model import State
from wmloop.pipelines import weights_file
from wmloop.serving.agent import Served
from wmloop.spaces import ActionSpec, ObservationSpec
from wmloop.store import Draft
from wmloop.training.rollouts import ACTIONS, OBSERVATIONS, has_episodes
from wmloop.training.weights import has, stored

#: The file of an imported agent's own stage that holds the states; in an exported file it is what their names begin with.
STARTS = "starts"


def starts_of(history: History, served: Served, config: RunConfig, device: torch.device) -> State | None:
    """Return remembered states (K, ...) that dreams of an agent begin at; None where neither it nor its run has any.

    They are stored with an imported agent. In the run that trained it they are computed of its rollouts, and are the same.

    Raises:
        StoreCorruptError: what is stored is damaged.
    """
    own = served.versions[served.pipeline.agent]
    if has(own, STARTS):
        return State(**{name: torch.from_numpy(part).to(device) for name, part in stored(own, STARTS).arrays.items()})
    collected = history.collected(own.iteration + 1)
    rollouts = [version for version in collected if has_episodes(version)][-config.replay :]  # evolution keeps none
    found: State | None = served.pipeline.resolve("starts")(config, rollouts, device, **served.versions)
    return found


def arrays_of(states: State) -> Arrays:
    """Return states as named arrays, as `save` takes them."""
    return {name: part.cpu().numpy() for name, part in states._asdict().items()}


def save(draft: Draft, starts: Arrays | None, actions: ActionSpec | None, observations: ObservationSpec | None) -> None:
    """Save in the draft of an agent's own stage where its dreams begin, what it takes and what it sees, where that is known."""
    if starts:
        draft.save_tensors(weights_file(STARTS), starts)
    if actions is not None:
        draft.save_json(ACTIONS, actions.record())
    if observations is not None:
        draft.save_json(OBSERVATIONS, observations.record())
