"""`wmloop play`: watch the agent, or take the wheel."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import log_named, open_run, output_of
from wmloop.cli.options import NameArgument, RunsOption, SeedOption, TrustOption, VersionOption
from wmloop.errors import UsageError
from wmloop.opening import history_of, require_trust, stored_config
from wmloop.seeding import EPISODES_A_SEED

if TYPE_CHECKING:
    import torch

    from wmloop.config import RunConfig
    from wmloop.envs import RemoteEnv
    from wmloop.history import History
    from wmloop.player import Plain, Real


@guarded
def play(
    name: NameArgument = None,
    place: Annotated[
        Literal["real", "dream", "both"],
        typer.Option("--in", help="In the real environment, inside M's dream, or in reality with M dreaming along."),
    ] = "real",
    render: Annotated[
        str, typer.Option(metavar="window|terminal|FILE.mp4", help="Where to show it; FILE.gif will do too.")
    ] = "window",
    episodes: Annotated[int, typer.Option(min=1, max=EPISODES_A_SEED, help="How many.")] = 1,
    seed: SeedOption = 0,
    version: VersionOption = None,
    best: Annotated[
        bool, typer.Option("--best", help="Take the best agent; it is also what is taken unasked.")
    ] = False,
    against: Annotated[
        int | None,
        typer.Option(metavar="ITERATION", min=0, help="Show this iteration's agent beside it, on the same tracks."),
    ] = None,
    trust_env: TrustOption = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Watch the agent in reality or in its dream, or drive yourself.

    In reality the picture has what V sees and what M expected beside it; the dream is all M's. Keys, in a window as in a
    terminal: m you drive (arrows), or C does; space pauses, . goes one decision on; tab changes the world, t and T the
    dream's temperature; r begins again, v records, ? shows the keys, q leaves.
    """
    if best and version is not None:
        raise UsageError("--best and --version ask for two agents: give one, and the other with --against")
    if against is not None and place != "real":
        raise UsageError("two agents can only be held against each other in reality: leave --in away")
    store = open_run(runs, name)
    config = stored_config(store)
    require_trust(store, config, trust_env)

    history = history_of(store, config)
    dreams = history.pipeline.dreams
    if place != "real" and not dreams:
        raise UsageError(
            f"the run {store.name} is of the pipeline {config.pipeline}: its agent has no world model to dream in, so leave"
            " --in away"
        )

    from wmloop.device import set_up
    from wmloop.display.places import open_showing
    from wmloop.display.showing import ClosedError
    from wmloop.envs import RemoteEnv
    from wmloop.player import Comparison, Dreamt, Player, Real
    from wmloop.seeding import fresh_seeds
    from wmloop.serving.choice import choose

    iteration, why = choose(history, version)
    device = set_up("cpu", 1)  # one small picture at a time: more threads would only wait for each other
    say(f"{store.name}, iteration {iteration} ({why})")
    if against is not None:
        choose(history, against)
        say(f"left: iteration {iteration}; right: iteration {against}")
    elif dreams and place != "dream":
        below = ", and below that M's dream with closed eyes" if place == "both" else ""
        say(
            f"left: reality; right, where its world model draws pictures: what V sees, below it what M expected to see{below}"
        )
    with log_named(store), contextlib.ExitStack() as stack:
        env = stack.enter_context(contextlib.closing(RemoteEnv(config.env, output_of(store))))
        real = _real(config, history, iteration, env, device)
        comparison = None
        if against is not None:
            other = stack.enter_context(contextlib.closing(RemoteEnv(config.env, output_of(store))))
            right = _real(config, history, against, other, device)
            comparison = Comparison({f"iteration {iteration}": real, f"iteration {against}, at the right": right})
        fps = env.frames_per_second / config.env.action_repeat
        showing = open_showing(render, fps)
        dream = Dreamt(real, config.env.most_frames, config.env.action_repeat) if isinstance(real, Real) else None
        player = Player(showing, real, dream, place, f"{store.name} iteration {iteration}", fps, comparison)
        stack.callback(lambda: print(*player.results, sep="\n", end="\n" if player.results else ""))
        stack.callback(showing.close)  # first: a terminal can show the results only when it has its own screen back
        try:
            player.play(fresh_seeds(episodes, seed))
        except ClosedError:
            say("left before the end")


def _real(config: RunConfig, history: History, iteration: int, env: RemoteEnv, device: torch.device) -> Real | Plain:
    from wmloop.player import Plain, Real
    from wmloop.serving.agent import Served
    from wmloop.training.rollouts import require_same_actions

    require_same_actions(history.collected(), env.actions)
    agent = Served.of(history, iteration).agent(config, env.actions, device)
    return Real(env, agent) if history.pipeline.dreams else Plain(env, agent)
