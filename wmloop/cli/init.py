"""`wmloop init`: settings to start from, for any environment."""

from __future__ import annotations

import contextlib
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmloop.cli.exits import guarded, say, say_next
from wmloop.cli.options import PipelineOption, SetOption, at_home
from wmloop.cli.outputs import require_room
from wmloop.cli.tasks import task_ids
from wmloop.commands import quoted, wmloop
from wmloop.errors import StorageError, UsageError
from wmloop.opening import pipeline_of

if TYPE_CHECKING:
    from wmloop.config import RunConfig
    from wmloop.envs import Known

_WIDTH, _SUFFIX = 100, ".toml"
#: Settings that a new environment often needs to be otherwise (docs/environments.md), of all pipelines.
_FIRST = (
    "budget.goal", "env.id", "env.kwargs", "env.observation", "env.pixels", "env.action_repeat", "env.episode_frames",
    "env.crop", "env.mirrored_actions", "env.action_bins", "env.arrow_keys", "env.random_policy.mean", "env.random_policy.std",
    "env.random_policy.weights", "rollout.prefill", "rollout.frames", "rollout.max_unrewarded", "rollout.perturb_prob",
    "memory.train_steps", "memory.reward_scale", "memory.reward_min", "controller.gamma",
    "ppo.max_unrewarded", "ppo.reward_scale", "ppo.gamma",
)  # fmt: skip


@guarded
def init(
    environment: Annotated[
        str, typer.Argument(metavar="ID", help="A Gymnasium id, or module:ID.", autocompletion=task_ids)
    ],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE.toml", callback=at_home, help="Where to write; without it ID.toml here."),
    ] = None,
    pipeline: PipelineOption = None,
    sets: SetOption = None,
) -> None:
    """Write settings for an environment to a file to edit.

    The environment is made once. What follows from it, its time limit and the score that counts as its solution, is filled
    in. The other settings that an environment often needs are in comments, with their meaning, their value, and whether it is
    the default or the profile's. What --set says stands in the file, too, and the environment is made with it. A file that
    is there is never overwritten. An environment whose spaces wmloop cannot use is refused here, too; `wmloop start` also
    drives it for a moment, and may refuse it then.
    """
    from wmloop.config import build_config
    from wmloop.config.text import parse_setting
    from wmloop.envs import known
    from wmloop.starting import with_version

    path = to or Path(f"{environment.rpartition(':')[2].replace('/', '-')}{_SUFFIX}")
    if path.exists() or path.is_symlink():
        raise UsageError(f"there is a file {path} already: say another with --to")
    require_room(path, "--to")
    system = {} if pipeline is None else {"pipeline": pipeline}
    layers = [parse_setting(text) for text in sets or []]
    preset = next((layer["preset"] for layer in reversed(layers) if "preset" in layer), "laptop")
    config = build_config(preset, *with_version([*layers, {"env": {"id": environment}}]), system)
    told = known(config.env)
    if (misfit := _misfit(config, told)) is not None:
        raise UsageError(misfit)
    text = "\n".join(_lines(config, told, _named(config, [*layers, system]), path)) + "\n"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"there is a file {path} already: say another with --to") from None
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise StorageError(f"cannot write {path}: {error.strerror or error}; say another place with --to") from None
    say(f"{path}: {_spaces(config, told)}")
    name = re.sub("[^a-z0-9]+", "-", path.stem.lower())[:50].strip("-") or "my-run"
    say_next({
        "a short test that everything works": wmloop("start", f"{name}-test", "--preset", "smoke", "--config", str(path)),
        "train, once the file is as you want it": wmloop("start", name, "--config", str(path)),
    })  # fmt: skip


def _misfit(config: RunConfig, told: Known) -> str | None:
    """Return why wmloop, or the pipeline, cannot train in an environment; None where it can."""
    if told.spaces is None:
        return told.misfit
    try:
        pipeline_of(config).resolve("fits")(config, *told.spaces)
    except UsageError as error:
        return str(error)
    return None


def _spaces(config: RunConfig, told: Known) -> str:
    """Say what an environment shows, and what is looked at in its place, and what an action is."""
    drawn = " (what it renders is looked at: env.pixels)" if config.env.pixels else ""
    return f"{config.env.id} shows {told.observations}{drawn}; an action is {told.actions}"


def _named(config: RunConfig, layers: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the dotted names of the settings that layers say."""
    from wmloop.config import settings
    from wmloop.config.part import flat
    from wmloop.legacy import settings_now

    said = {key for layer in layers for key, _ in flat(settings_now(layer))}
    return {name for name in settings(config) if any(key == name or key.startswith(f"{name}.") for key in said)}


def _lines(config: RunConfig, told: Known, given: Collection[str], path: Path) -> Iterator[str]:
    """Yield the lines of the file, in which the settings `given` by name stand."""
    from wmloop.config import build_config, explain, settings
    from wmloop.config.part import flat
    from wmloop.config.presets import profile
    from wmloop.config.text import toml_value

    environment, values = config.env.id, settings(config)
    has = profile(environment)
    own = {} if has is None else dict(flat(has.settings))
    derived = {name: value for name, value in _derived(told).items() if name not in own and name not in given}
    meanings = {setting.name: setting.meaning for setting in explain(pipeline=config.pipeline)}
    yield from _head(config, told, path)
    plain = settings(build_config("laptop", {"env": {"id": environment}, "pipeline": config.pipeline}))
    shown = [name for name in dict.fromkeys([*_FIRST, *sorted(given)]) if name in values]
    groups = ["", *dict.fromkeys(name.rpartition(".")[0] for name in shown)]
    group = ""
    for name in sorted(shown, key=lambda name: groups.index(name.rpartition(".")[0])):
        here, _, last = name.rpartition(".")
        if here != group:
            group = here
            yield from ("", f"[{group}]")
        yield ""
        yield from _comment(meanings[name])
        if name in derived:
            value, origin = derived[name]
            yield f"{last} = {toml_value(value)}  # {origin}"
        elif name == "env.id":
            yield f"{last} = {toml_value(environment)}"
        elif name in given:
            yield f"{last} = {toml_value(values[name])}"
        else:
            whose = "its profile's" if name in own else "the default"
            if values[name] != plain[name]:
                whose = f"preset {config.preset}'s"
            yield f"# {last} = {toml_value(values[name])}  # {whose}"


def _derived(told: Known) -> dict[str, tuple[Any, str]]:
    """Return what follows from an environment: settings by name, each with where its value is from."""
    found = {
        "budget.goal": (told.reward_threshold, "its reward_threshold in Gymnasium"),
        "env.episode_frames": (told.max_episode_steps, "its max_episode_steps in Gymnasium"),
    }
    return {name: (value, origin) for name, (value, origin) in found.items() if value is not None}


def _head(config: RunConfig, told: Known, path: Path) -> Iterator[str]:
    """Yield what the file begins with: what the environment is, how to use the file, and how to read it."""
    from wmloop.config.presets import package_of

    yield from _comment(f"Settings of wmloop. {_spaces(config, told)}.")
    if (package := package_of(config.env.id)) is not None:
        yield from _comment(f"It needs a package: {package.install} (licence {package.licence})")
    yield from _comment(f"Train: {quoted(['wmloop', 'start', '--config', str(path)])}")
    yield from _comment("What stands in a comment has the value that is shown, unless a preset has another.")
    yield from _comment('The first rollouts decide where a value is "auto". All settings: wmloop settings')


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
