"""`wmloop play`: watch the agent, or act yourself."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import agent_named, log_named, open_run, output_of
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
            help="real: the environment; dream: inside the world model; both: the environment, and beside it a dream that"
            " starts from the same moment, gets no further observations (open loop), and starts again every 25 agent steps.",
        ),
    ] = "real",
    render: Annotated[
        str | None, typer.Option(metavar="window|terminal", help="Where to show it. Without it a window.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE.mp4", help="Write a video instead; also FILE.gif.", callback=at_home),
    ] = None,
    episodes: EpisodesOption = 1,
    seed: SeedOption = 0,
    iteration: IterationOption = None,
    against: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Show the agent of this iteration beside it, on the same episodes."),
    ] = None,
    trust_env: TrustOption = False,
    runs: RunsOption = Path("runs"),
    best: Annotated[bool, typer.Option("--best", hidden=True)] = False,
) -> None:
    """Watch the agent, or play yourself, in the environment or a dream.

    In the real environment each image has its reconstruction by the VAE and the world model's prediction beside it; in a
    dream every image comes from the world model. Vectors are plotted, number by number, real and predicted; a dream
    of them is drawn by the environment's renderer where the environment's state can be set to the predicted vector
    (CartPole, MountainCar). Keys: m switches between you (arrow keys, or 0 to 9 for Discrete actions) and the policy; space
    pauses; . makes one agent step; tab switches between real, both and dream; t and T lower and raise the dream's temperature;
    r restarts; v records; ? lists the keys; q quits.
    """
    if best:
        say("note: play --best is called play now: it uses the best agent")
        if iteration is not None:
            raise UsageError("--best and --iteration name two agents: omit one, or give it with --against")
    if against is not None and place != "real":
        raise UsageError("two agents can only be compared in the real environment: omit --in")
    where = _place(render, to)
    store = open_run(runs, name)
    config = stored_config(store)
    require_trust(store, config, trust_env)

    from wmloop.display.places import open_showing, require_place

    history = history_of(store, config)
    dreams = history.pipeline.dreams
    if place != "real" and not dreams:
        raise UsageError(
            f"the run {store.name} is of the pipeline {config.pipeline}, whose agents have no dreams: omit --in"
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
    say(agent_named(store, number, why))
    if against is not None:
        choose(history, against)
        say(f"left: iteration {number}; right: iteration {against}")
    with log_named(store), contextlib.ExitStack() as stack:
        env = stack.enter_context(contextlib.closing(RemoteEnv(config.env, output_of(store))))
        real = _real(config, history, number, env, device)
        comparison = None
        if against is not None:
            other = stack.enter_context(contextlib.closing(RemoteEnv(config.env, output_of(store))))
            right = _real(config, history, against, other, device)
            comparison = Comparison({f"iteration {number}": real, f"iteration {against}, at the right": right})
        elif isinstance(real, Real) and place != "dream":
            say(real.legend(place == "both"))
        fps = env.frames_per_second / config.env.action_repeat
        showing = open_showing(where, fps)
        dream = Dreamt(real, config.env.most_decisions, config.env.action_repeat) if isinstance(real, Real) else None
        about = store.name if "imported" in store.facts else f"{store.name} iteration {number}"
        player = Player(showing, real, dream, place, about, fps, comparison)
        stack.callback(lambda: print(*player.results, sep="\n", end="\n" if player.results else ""))
        stack.callback(showing.close)  # first: a terminal can show the results only when it has its own screen back
        try:
            player.play(fresh_seeds(episodes, seed))
        except ClosedError:
            say("stopped before the end")
    if to is not None and to.exists():
        say(f"wrote {to} ({to.stat().st_size / 1e6:.1f} MB)")


def _place(render: str | None, to: Path | None) -> Place:
    """Return where to show it; a file is `--to` today, and was once named by `--render`."""
    if render is not None and to is not None:
        raise UsageError("--render and --to name two places: omit one")
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

    agent = Served.of(history, iteration).agent_in(env, history, config, device)
    return Real(env, agent, env.draw) if history.pipeline.dreams else Plain(env, agent)
