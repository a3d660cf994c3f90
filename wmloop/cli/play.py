"""`wmloop play`: watch the agent, or take the wheel."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import log_named, open_run, output_of
from wmloop.cli.options import (
    EpisodesOption,
    IterationOption,
    NameArgument,
    RunsOption,
    SeedOption,
    TrustOption,
    at_home,
)
from wmloop.errors import UsageError
from wmloop.opening import history_of, require_trust, stored_config

if TYPE_CHECKING:
    import torch

    from wmloop.config import RunConfig
    from wmloop.display.places import Place
    from wmloop.envs import RemoteEnv
    from wmloop.history import History
    from wmloop.player import Plain, Real


@guarded
def play(
    name: NameArgument = None,
    place: Annotated[
        Literal["real", "dream", "both"],
        typer.Option(
            "--in",
            help="real: the environment; dream: inside the world model; both: the environment, and beside it a"
            " dream that sees no more of it.",
        ),
    ] = "real",
    render: Annotated[
        str | None, typer.Option(metavar="window|terminal", help="Where to show it. Without it in a window.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE.mp4", help="Write a video instead; FILE.gif will do too.", callback=at_home),
    ] = None,
    episodes: EpisodesOption = 1,
    seed: SeedOption = 0,
    iteration: IterationOption = None,
    against: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Show this iteration's agent beside it, on the same episodes."),
    ] = None,
    trust_env: TrustOption = False,
    runs: RunsOption = Path("runs"),
    best: Annotated[bool, typer.Option("--best", hidden=True)] = False,
) -> None:
    """Watch the agent in reality or in its dream, or drive yourself.

    In the real environment each picture has its reconstruction by the VAE and the world model's prediction beside it; in a
    dream every picture is the world model's. Keys: m switches between you (arrow keys) and the policy; space pauses; . goes
    one agent step on; tab goes on to the next of reality, both, and dream; t and T make the dream cooler and warmer; r
    restarts; v records; ? lists the keys; q quits.
    """
    if best:
        say("note: play --best is called play now: the best agent is what is taken")
        if iteration is not None:
            raise UsageError("--best and --iteration ask for two agents: give one, and the other with --against")
    if against is not None and place != "real":
        raise UsageError("two agents can only be held against each other in reality: leave --in away")
    where = _place(render, to)
    store = open_run(runs, name)
    config = stored_config(store)
    require_trust(store, config, trust_env)

    from wmloop.display.places import open_showing, require_place

    history = history_of(store, config)
    dreams = history.pipeline.dreams
    if place != "real" and not dreams:
        raise UsageError(
            f"the run {store.name} is of the pipeline {config.pipeline}: its agent has no world model to dream"
            f" in, so leave"
            " --in away"
        )

    require_place(where)

    from wmloop.device import set_up
    from wmloop.display.showing import ClosedError
    from wmloop.envs import RemoteEnv
    from wmloop.player import Comparison, Dreamt, Player, Real
    from wmloop.seeding import fresh_seeds
    from wmloop.serving.choice import choose

    number, why = choose(history, iteration)
    device = set_up("cpu", 1)  # one small picture at a time: more threads would only wait for each other
    say(f"{store.name}, iteration {number} ({why})")
    if against is not None:
        choose(history, against)
        say(f"left: iteration {number}; right: iteration {against}")
    elif dreams and place != "dream":
        below = ", and below that what M dreams without looking" if place == "both" else ""
        say(
            f"left: reality; right, where its world model draws pictures: what V sees, below it what M expected"
            f" to see{below}"
        )
    with log_named(store), contextlib.ExitStack() as stack:
        env = stack.enter_context(contextlib.closing(RemoteEnv(config.env, output_of(store))))
        real = _real(config, history, number, env, device)
        comparison = None
        if against is not None:
            other = stack.enter_context(contextlib.closing(RemoteEnv(config.env, output_of(store))))
            right = _real(config, history, against, other, device)
            comparison = Comparison({f"iteration {number}": real, f"iteration {against}, at the right": right})
        fps = env.frames_per_second / config.env.action_repeat
        showing = open_showing(where, fps)
        dream = Dreamt(real, config.env.most_frames, config.env.action_repeat) if isinstance(real, Real) else None
        player = Player(showing, real, dream, place, f"{store.name} iteration {number}", fps, comparison)
        stack.callback(lambda: print(*player.results, sep="\n", end="\n" if player.results else ""))
        stack.callback(showing.close)  # first: a terminal can show the results only when it has its own screen back
        try:
            player.play(fresh_seeds(episodes, seed))
        except ClosedError:
            say("left before the end")


def _place(render: str | None, to: Path | None) -> Place:
    """Return where to show it; a file is `--to` today, and was once named by `--render`."""
    if render is not None and to is not None:
        raise UsageError("--render and --to name two places: give one")
    if to is not None:
        return to
    if render is None or render == "window":
        return "window"
    if render == "terminal":
        return "terminal"
    if "." not in render:
        raise UsageError(f"--render takes window or terminal, not {render!r}; a video is --to FILE.mp4")
    say("note: play --render FILE is called play --to FILE now")
    return Path(os.path.expanduser(render))  # noqa: PTH111 - it leaves a home that is not there as it is


def _real(config: RunConfig, history: History, iteration: int, env: RemoteEnv, device: torch.device) -> Real | Plain:
    from wmloop.player import Plain, Real
    from wmloop.serving.agent import Served
    from wmloop.training.rollouts import require_same_actions

    require_same_actions(history.collected(), env.actions)
    agent = Served.of(history, iteration).agent(config, env.actions, device)
    return Real(env, agent) if history.pipeline.dreams else Plain(env, agent)
