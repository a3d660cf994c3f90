"""Begin a run: settle its settings on this machine, try its parts and its environment, and make its folder."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wmloop.commands import command
from wmloop.config import EnvConfig, RunConfig, build_config, with_settings
from wmloop.config.presets import PRESETS, PROFILES
from wmloop.config.text import to_toml
from wmloop.errors import UsageError, WmloopError
from wmloop.events import Message
from wmloop.pipelines import PIPELINES, get
from wmloop.store import Store, check_run_name, new_run_name, require_free
from wmloop.store.layout import HEADER


class Begun(NamedTuple):
    """A run that has been begun: its folder, its settings, what its user is told, what its environment printed."""

    store: Store
    config: RunConfig
    notes: list[Message]
    printed: list[str]


def exists(root: Path, name: str) -> bool:
    """Tell whether there is a run of this name."""
    folder = root / name
    return os.path.lexists(folder) and os.access(folder, os.X_OK) and (folder / HEADER).exists()


def require_new(root: Path, name: str, resumes: bool = False) -> None:
    """Refuse a name that `Store.create` would refuse, before torch loads and anything is looked at.

    With `resumes` the message says how to go on with the run that there is.

    Raises:
        UsageError: the name does not do, or is that of a run.
    """
    check_run_name(name)
    require_free(root / name)
    if exists(root, name):
        going_on = f"`{command('resume', root / name)}` goes on with it; or " if resumes else ""
        raise UsageError(f"there is a run {name!r} in {root} already: {going_on}choose another name")


def settle(preset: str | None, layers: Sequence[Mapping[str, Any]]) -> tuple[RunConfig, RunConfig, str]:
    """Return the configuration as it is asked for, with nothing left to choose in it, and why it has its preset and device.

    Each of `layers` holds nested settings, and lies over those before it.

    Raises:
        UsageError: as build_config does, or this machine cannot do what is asked for.
    """
    from wmloop.device import available_devices, resolve_device

    given, layers = layers, with_version(layers)
    preset = preset or next((layer["preset"] for layer in reversed(layers) if "preset" in layer), None)
    draft = build_config(preset or next(iter(PRESETS)), *layers)
    device = resolve_device(draft.device)
    why = f"device {device}"
    if draft.device == "auto":
        why += f" (chosen automatically; available: {', '.join(available_devices())})"
    if preset is None:
        preset = "gpu" if device == "cuda" else "laptop"
        why = f"preset {preset} (chosen by the device), {why}"
    else:
        why = f"preset {preset}, {why}"
    if layers is not given:
        why += f", environment {draft.env.id} (the newest version)"
    chosen = {} if any("seed" in layer for layer in layers) else {"seed": secrets.randbelow(2**31)}
    asked = build_config(preset, *layers)
    return asked, on_this_machine(with_settings(asked, chosen)), why


def with_version(layers: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return layers of settings in which the environment is named with its version: the newest, as Gymnasium has it.

    Else it would have no profile. An environment that has no version, or cannot be made, stays as it is named.

    Raises:
        UsageError: as build_config does.
    """
    named = [env["id"] for layer in layers if isinstance(env := layer.get("env"), Mapping) and "id" in env]
    if not named or re.search(r"-v\d+$", str(named[-1])):
        return layers
    from wmloop.envs import known

    env = build_config(next(iter(PRESETS)), *layers).env
    try:
        whole = known(env).id
    except WmloopError:  # it is refused, with the reason, where it is tried
        return layers
    return layers if whole == env.id else [*layers, {"env": {"id": whole}}]


def on_this_machine(config: RunConfig) -> RunConfig:
    """Return `config` with nothing left for the machine to choose.

    Raises:
        UsageError: this machine cannot do what it asks for.
    """
    from wmloop.device import resolve_device, resolve_precision, resolve_threads

    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    return with_settings(config, {"device": device, "threads": resolve_threads(config.threads), "precision": precision})


def leaves_goal(layers: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether layers of settings leave the goal to what is known of the environment."""
    return not any("goal" in layer["budget"] for layer in layers if isinstance(layer.get("budget"), Mapping))


def begin(config: RunConfig, root: Path, name: str | None, printed: list[str], goal_open: bool = False) -> Begun:
    """Make a run's folder in `root`, once all that it names is there and its environment was driven for a moment.

    `printed` takes the lines that the environment prints, also where it is refused. What is left open is taken from the
    environment, and said: its time limit, and, with `goal_open`, the score that counts as its solution.

    Raises:
        UsageError: something is missing or does not fit; there is no run then.
        StorageError: the file system refuses.
    """
    from wmloop.device import machine_facts
    from wmloop.envs import known

    if name is not None:
        require_new(root, name)
    warnings, limit = try_out(config, printed)
    derived = []
    if config.env.episode_frames is None:
        config = with_settings(config, {"env": {"episode_frames": limit or config.env.most_frames}})
        derived += [f"env.episode_frames = {limit}, its time limit"] if limit else []
    if goal_open and config.budget.goal is None and (solved := known(config.env).reward_threshold) is not None:
        config = with_settings(config, {"budget": {"goal": solved}})
        derived.append(f"budget.goal = {solved:g}, its reward_threshold in Gymnasium")
    store = Store.create(root, name or new_run_name(), to_toml(config), machine_facts())
    told = [(text, "warning") for text in warnings] + [(text, "info") for text in derived]
    notes = [Message(f"the environment {config.env.id!r}: {text}", level) for text, level in told]
    return Begun(store, config, notes, printed)


def try_out(
    config: RunConfig, printed: list[str], driven: list[tuple[EnvConfig, Any]] | None = None
) -> tuple[list[str], int | None]:
    """Try the parts that a run's settings name, and drive its environment for a moment; `printed` takes what that prints.

    Whoever tries several runs keeps in `driven` what came of their environments: none is driven twice.

    Returns what is to be said of the environment, and its time limit in frames, or None.

    Raises:
        UsageError: something is missing or does not fit.
    """
    from wmloop.envs import check_environment
    from wmloop.envs.engine import ENGINES

    driven = [] if driven is None else driven

    for registry in (PIPELINES, ENGINES, PROFILES):
        registry.require_unique()
    pipeline = get(config.pipeline)
    pipeline.check()
    found = next((found for env, found in driven if env == config.env), None)
    if found is None:
        found = check_environment(config.env, printed.append)
        driven.append((config.env, found))
    warnings, limit, actions, observations = found
    pipeline.resolve("fits")(config, actions, observations)
    return warnings, limit
