"""`wmloop play`: watch the agent."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Literal

import typer

from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import open_run, stored_config
from wmloop.cli.options import NameArgument, RunsOption, VersionOption


@guarded
def play(
    name: NameArgument = None,
    place: Annotated[
        Literal["real", "dream"], typer.Option("--in", help="In the real environment, or inside M's dream.")
    ] = "real",
    render: Annotated[
        str, typer.Option(metavar="window|terminal|FILE.mp4", help="Where to show it; FILE.gif will do too.")
    ] = "window",
    episodes: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Which tracks: 0, 1, 2 ... are all fresh.")] = 0,
    version: VersionOption = None,
    runs: RunsOption = Path("runs"),
) -> None:
    """Watch the agent in reality or in its dream.

    In reality the picture has what V sees and what M expected beside it; the dream is all M's, with C at the wheel.
    """
    store = open_run(runs, name)
    config = stored_config(store)

    from wmloop.device import set_up
    from wmloop.envs import PixelEnv
    from wmloop.play import choose, compose, dreamt_episode, load_agent, real_episode
    from wmloop.seeding import fresh_tracks
    from wmloop.view.showing import ClosedError, open_showing

    iteration, why = choose(store, version)
    device = set_up("cpu", 1)  # one small picture at a time: more threads would only wait for each other
    say(f"{store.name}, iteration {iteration} ({why})")
    if place == "real":
        say("left: reality; right: what V sees, and below it what M expected to see")
    real = place == "real"
    results: list[str] = []
    with contextlib.ExitStack() as stack:
        env = stack.enter_context(contextlib.closing(PixelEnv(config.env, render_mode="rgb_array")))
        showing = open_showing(render, env.frames_per_second / config.env.action_repeat)
        stack.callback(lambda: print(*results, sep="\n", end="\n" if results else ""))
        stack.callback(showing.close)  # first: a terminal can show the results only when it has its own screen back
        agent = load_agent(store, config, iteration, env, device)
        for number, track in enumerate(fresh_tracks(episodes, seed), 1):
            moments = real_episode(env, agent, track) if real else dreamt_episode(env, agent, config, track)
            about = f"{store.name} iteration {iteration} · {'reality' if real else 'a dream'} of track {track}"
            for moment in moments:
                state = f"{'score' if real else 'promised'} {moment.score:.1f}, {moment.frames} frames"
                try:
                    showing.show(compose(moment.pictures), f"{about} · {state}")
                except ClosedError:
                    say("the window was closed")
                    return
            results.append(f"episode {number} ({place}, track {track}): {state}, {moment.ended}")
