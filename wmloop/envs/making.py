"""Make an environment of its id, or say why there is none."""

from __future__ import annotations

import difflib
import importlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from wmloop.config import EnvConfig
from wmloop.config.presets import Package, package_of
from wmloop.entries import look_here_first
from wmloop.envs.answers import read_rendering
from wmloop.envs.doom import TidyDoom, is_doom
from wmloop.envs.faults import first_line, where
from wmloop.errors import UsageError

CAR_RACING = "CarRacing-v3"

Observe = Callable[[], np.ndarray | None]


def make(config: EnvConfig, render_mode: str | None = None) -> tuple[gymnasium.Env[Any, Any], Observe | None]:
    """Return the environment and, where it draws only when asked, what draws its present picture.

    An environment that has no `render_mode` argument, or not this one, is made without. The module part of an id is looked
    for as `python -m` would: in the current folder first.

    Raises:
        UsageError: there is no such environment, it needs a package that is missing, or it fails as it is made.
    """
    if config.pixels:
        render_mode = "rgb_array"
    if config.id == CAR_RACING:
        return _make_car_racing(config, render_mode)
    module, _, name = config.id.rpartition(":")
    if module:
        _import(config.id, module)
    elif name not in gymnasium.registry and (package := package_of(config.id)) is not None:
        _register(config.id, package)
    try:
        with warnings.catch_warnings(action="ignore"):  # what matters of them is raised, in wmloop's words
            env = _make(config, render_mode)
            return (TidyDoom(env) if is_doom(env) else env), None
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv) as error:
        if module:
            raise UsageError(_unregistered(config.id, module, name)) from error
        near = difflib.get_close_matches(name, gymnasium.registry, n=3, cutoff=0.75)
        hint = f"did you mean {' or '.join(near)}?" if near else "`wmloop tasks` lists those that have a profile."
        hint += f" One of your own is found by its module: module:{name}"
        raise UsageError(f"there is no environment {config.id!r}: {hint}") from error
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise UsageError(f"the environment {config.id!r} needs a package{_missing(name, error)}") from error
    except gymnasium.error.Error as error:
        raise UsageError(f"the environment {config.id!r} cannot be made: {first_line(error)}") from error
    except Exception as error:
        missing = isinstance(error, TypeError) and "required positional argument" in str(error)
        hint = "; --set env.kwargs.NAME=VALUE gives it an argument" if missing else ""
        raise UsageError(f"the environment {config.id!r} cannot be made: {where(error)}{hint}") from error


def _missing(name: str, error: ImportError | gymnasium.error.Error) -> str:
    """Return what cannot be imported as an environment is made: perhaps its own module, by a wrong name."""
    entry = getattr(gymnasium.registry.get(name), "entry_point", None)
    own = entry.partition(":")[0] if isinstance(entry, str) else ""
    if isinstance(error, ModuleNotFoundError) and error.name and f"{own}.".startswith(f"{error.name}."):
        return f", or its entry_point {entry!r} names a module that is not there: {first_line(error)}"
    return f": {where(error)}"


def drawn_space(config: EnvConfig, env: gymnasium.Env[Any, Any]) -> gymnasium.spaces.Box:
    """Return the space of the pictures that the environment draws, of which it draws the first.

    Raises:
        UsageError: it draws none.
    """
    try:
        env.reset(seed=0)
        picture, failed = read_rendering(env.render()), ""
    except Exception as error:
        picture, failed = None, f" ({where(error)})"
    if picture is None:
        raise UsageError(
            f"env.pixels asks for what {config.id!r} draws, and it draws nothing{failed}: its render() has to return an array"
            " (height, width, 3) where its render_mode is 'rgb_array'"
        )
    return gymnasium.spaces.Box(0, 255, picture.shape, np.uint8)


def _make(config: EnvConfig, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    kwargs: dict[str, Any] = dict(config.kwargs)
    if render_mode is not None and "render_mode" not in kwargs:
        try:
            return gymnasium.make(config.id, render_mode=render_mode, disable_env_checker=True, **kwargs)
        except Exception as error:
            if config.pixels and "render_mode" not in str(error):
                raise
            try:
                return gymnasium.make(config.id, disable_env_checker=True, **kwargs)
            except Exception:
                raise error from None
    return gymnasium.make(config.id, disable_env_checker=True, **kwargs)


def _make_car_racing(config: EnvConfig, render_mode: str | None) -> tuple[gymnasium.Env[Any, Any], Observe]:
    # pygame and Box2D load only where they are driven
    from wmloop.envs.carracing import OnDemandCarRacing

    spec = gymnasium.spec(CAR_RACING)
    kwargs: dict[str, Any] = dict(config.kwargs)
    limit = kwargs.pop("max_episode_steps", spec.max_episode_steps)
    try:
        env = OnDemandCarRacing(**{"render_mode": render_mode, **spec.kwargs, **kwargs, "lazy": True})
        env.spec = spec
        return (gymnasium.wrappers.TimeLimit(env, int(limit)) if limit and limit > 0 else env), env.observe
    except Exception as error:
        raise UsageError(f"the environment {config.id!r} cannot be made: {where(error)}") from error


def _import(name: str, module: str) -> None:
    if not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(
            f"the environment {name!r} names {module!r}, which is no module's name: of a file strange.py it is 'strange', of"
            " a folder's file 'folder.strange'"
        )
    look_here_first()
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise UsageError(f"the environment {name!r} needs a package: {where(error)}") from error
        folders = [folder for folder in sys.path if Path(folder).is_dir() and "site-packages" not in folder]
        raise UsageError(
            f"the environment {name!r} is in the module {module!r}, and there is no module {error.name!r} in the current"
            f" folder ({Path.cwd()}), in PYTHONPATH or among the packages of {sys.prefix}: change to the folder that contains"
            f" it, or add that to PYTHONPATH (looked in: {', '.join(dict.fromkeys([*folders, 'site-packages']))})"
        ) from error
    except Exception as error:
        raise UsageError(
            f"the module {module!r} of the environment {name!r} cannot be imported: {where(error)}"
        ) from error


def _unregistered(name: str, module: str, wanted: str) -> str:
    """Return what is wrong where a module was imported and does not register an environment, and what is near."""
    found = [key for key, spec in gymnasium.registry.items() if _is_from(spec, module)]
    if near := difflib.get_close_matches(wanted, gymnasium.registry, n=3, cutoff=0.75):
        hint = f"did you mean {' or '.join(near)}?"
    else:
        hint = (
            f"it registers {', '.join(found[:3])}" if found else f'it has to call gymnasium.register("{wanted}", ...)'
        )
    return f"there is no environment {name!r}: the module {module} was imported, but registers no {wanted}; {hint}"


def _is_from(spec: gymnasium.envs.registration.EnvSpec, module: str) -> bool:
    entry = spec.entry_point
    made = entry.partition(":")[0] if isinstance(entry, str) else getattr(entry, "__module__", "")
    return f"{made}.".startswith(f"{module}.")


def _register(name: str, package: Package) -> None:
    """Import what registers an environment with Gymnasium; what it prints or warns of is not the user's affair."""
    if not package.installed:
        raise UsageError(
            f"the environment {name!r} needs a package that is not installed: {package.install} (its licence:"
            f" {package.licence})"
        )
    try:
        with warnings.catch_warnings(action="ignore"):
            importlib.import_module(package.module)
    except Exception as error:
        raise UsageError(
            f"the environment {name!r} needs the package {package.module!r}, which cannot be imported: {where(error)}"
        ) from error
