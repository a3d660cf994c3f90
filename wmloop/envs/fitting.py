"""Whether an environment and the settings fit each other, and wmloop.

Every refusal says what was found, what would fit, and the file and line of the environment where there is one.
"""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium

from wmloop.config import EnvConfig
from wmloop.envs.actions import Actions, actions_of
from wmloop.envs.answers import place_of
from wmloop.envs.keys import arrow_keys_of, names_of
from wmloop.envs.observations import Observations
from wmloop.errors import UsageError
from wmloop.spaces import ActionSpec, BinnedActions, BoxActions, DiscreteActions


def fit(
    config: EnvConfig, env: gymnasium.Env[Any, Any], shown: gymnasium.Space[Any] | None
) -> tuple[Actions, Observations]:
    """Return what hands an environment its actions and reads its observations, of the space `shown` if not its own.

    Raises:
        UsageError: they do not fit the settings, or wmloop; the message says what would.
    """
    _require_callable(config, env)
    who = f"the environment {config.id!r}{place_of(env, '__init__')}"
    found: dict[str, Any] = {}
    for name in ("observation_space", "action_space"):
        try:
            found[name] = getattr(env, name)
        except (AttributeError, NotImplementedError):
            raise UsageError(f"{who} declares no {name}: set self.{name} to a space of gymnasium") from None
    names = names_of(env)
    actions = actions_of(who, found["action_space"], arrow_keys_of(config, names), names, config.action_bins)
    observations = Observations(who, shown or found["observation_space"], config.observation)
    spec = actions.spec
    choices = spec.choices if isinstance(spec, BinnedActions) else spec
    wrong = [
        *_misfits_of_driving(config, spec), *_misfits_of_bins(config, choices), *_misfits_of_actions(config, choices),
        *_misfits_of_looks(config, observations),
    ]  # fmt: skip
    if wrong:
        raise UsageError("; ".join(wrong))
    observations.look_at(config.crop)
    return actions, observations


def _require_callable(config: EnvConfig, env: gymnasium.Env[Any, Any]) -> None:
    """Refuse an environment whose `reset` or `step` cannot be called as gymnasium calls them.

    Raises:
        UsageError: it is one; the message says how they have to look.
    """
    calls: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
        "reset": ("reset(self, *, seed=None, options=None)", (), {"seed": 0, "options": None}),
        "step": ("step(self, action)", (0,), {}),
    }
    for name, (wanted, arguments, keywords) in calls.items():
        try:
            signature = inspect.signature(getattr(env.unwrapped, name))
        except (AttributeError, TypeError, ValueError):
            continue  # it has none, or none that can be told
        try:
            signature.bind(*arguments, **keywords)
        except TypeError as error:
            raise UsageError(
                f"the environment {config.id!r}{place_of(env, name)} has a {name} that cannot be called as gymnasium calls it"
                f" ({error}): write `def {wanted}`"
            ) from None


def _misfits_of_driving(config: EnvConfig, actions: ActionSpec) -> list[str]:
    """Return what of the random policy does not fit the actions that are decided."""
    wrong, size, choice = [], actions.size, isinstance(actions, DiscreteActions)
    for key in ("mean", "std", "initial_offset"):
        length = len(getattr(config.random_policy, key))
        if choice and length:
            wrong.append(
                f"env.random_policy.{key} has {length} entries, and {config.id!r} takes one of {size} actions, which have no"
                " mean: give []"
            )
        elif length not in (0, size):
            offset = key == "initial_offset"
            what = "numbers" if offset else "pairs, such as [-0.5, 0.5],"
            empty = "adds nothing" if offset else "leaves it to the action's range"
            wrong.append(
                f"env.random_policy.{key} has {length} entries, and {config.id!r} has {size} action dimensions: give {size}"
                f" {what} or [], which {empty}"
            )
    if not choice and any(config.random_policy.initial_offset) and not config.random_policy.initial_decisions:
        wrong.append(
            f"env.random_policy.initial_offset {list(config.random_policy.initial_offset)} is added over no agent steps: give"
            " env.random_policy.initial_decisions, or [] for no offset"
        )
    return wrong + _misfits_of_weights(config, actions)


def _misfits_of_weights(config: EnvConfig, actions: ActionSpec) -> list[str]:
    """Return what of the random policy's weights does not fit the actions that are decided."""
    weights = config.random_policy.weights
    if not weights:
        return []
    begin = f"env.random_policy.weights has {len(weights)} entries, and {config.id!r}"
    if not isinstance(actions, DiscreteActions):
        return [f"{begin} takes numbers, of which none is chosen more often than another: give []"]
    if len(weights) != actions.size:
        return [
            f"{begin} takes one of {actions.size} actions: give {actions.size} numbers, or [], which draws all alike"
        ]
    if not any(weights):
        return ["env.random_policy.weights are all 0: at least one action has to be drawn"]
    return []


def _misfits_of_bins(config: EnvConfig, actions: ActionSpec) -> list[str]:
    """Return what of env.action_bins does not fit the environment's own actions, or what is said of these."""
    bins, size = list(config.action_bins), actions.size
    if not bins:
        return []
    if not isinstance(actions, DiscreteActions):
        return [f"env.action_bins names actions, and {config.id!r} takes {size} numbers: give []"]
    if max(bins) >= size:
        return [f"env.action_bins is {bins}, and {config.id!r} has the actions 0 to {size - 1}"]
    wrong = []
    if partless := sorted({*config.arrow_keys} - {*bins}):
        wrong.append(
            f"env.arrow_keys is {list(config.arrow_keys)}, and no part of env.action_bins {bins} is action {partless[0]}: give"
            f" five of {sorted({*bins})}, or []"
        )
    mirror = config.mirrored_actions
    if len(mirror) == size and [mirror[action] for action in bins] != bins[::-1]:
        wrong.append(
            f"mirroring must reverse the order of env.action_bins {bins}, and env.mirrored_actions {list(mirror)} makes them"
            f" {[mirror[action] for action in bins]}: order the parts, such as [2, 0, 1] where 1 and 2 mirror each other,"
            " or give mirrored_actions []"
        )
    return wrong


def _misfits_of_actions(config: EnvConfig, actions: ActionSpec) -> list[str]:
    """Return what of the settings does not fit the environment's own actions."""
    wrong, size, choice = [], actions.size, isinstance(actions, DiscreteActions)
    if choice and any(action >= size for action in config.arrow_keys):
        wrong.append(
            f"env.arrow_keys is {list(config.arrow_keys)}, and {config.id!r} has the actions 0 to {size - 1}: name only these"
        )
    mirror = config.mirrored_actions
    if choice and mirror and (sorted(mirror) != list(range(size)) or any(mirror[mirror[i]] != i for i in range(size))):
        wrong.append(
            f"env.mirrored_actions is {list(mirror)}, and {config.id!r} takes one of {size} actions: name for each of them, in"
            " order, the action that it is in the mirrored world, such as [0, 2, 1] where 1 is left and 2 is right; [] where"
            " mirroring is no symmetry"
        )
    elif not choice and any(not 0 <= dimension < size for dimension in mirror):
        wrong.append(
            f"env.mirrored_actions names {list(mirror)}, and {config.id!r} has the action dimensions 0 to {size - 1}: name only"
            " these, or give [] where mirroring is no symmetry"
        )
    elif isinstance(actions, BoxActions) and (uneven := [i for i in mirror if actions.low[i] != -actions.high[i]]):
        bounds = f"[{actions.low[uneven[0]]:g}, {actions.high[uneven[0]]:g}]"
        wrong.append(
            f"env.mirrored_actions names {list(mirror)}, whose sign is flipped, and action dimension {uneven[0]} of"
            f" {config.id!r} lies in {bounds}: name only dimensions with bounds such as [-1, 1]"
        )
    return wrong


def _misfits_of_looks(config: EnvConfig, observations: Observations) -> list[str]:
    """Return what of the settings does not fit what is seen."""
    wrong = []
    if config.mirrored_actions and observations.numbers:
        wrong.append(
            f"env.mirrored_actions is {list(config.mirrored_actions)}, and the observations of {config.id!r} have a vector of"
            f" {observations.numbers} numbers, of which there is no mirror image: give []"
        )
    if config.crop is not None and observations.size is None:
        wrong.append(
            f"env.crop is {config.crop}, and {config.id!r} shows no picture: leave it out, or where a preset has it give"
            " --set env.crop=none"
        )
    elif config.crop is not None and observations.size is not None:
        top, bottom, left, right = config.crop
        height, width = observations.size
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            wrong.append(
                f"env.crop {config.crop} does not lie within the {height}x{width} pictures of {config.id!r}: the largest is"
                f" [0, {height}, 0, {width}]"
            )
    return wrong
