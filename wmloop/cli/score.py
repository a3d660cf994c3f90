"""`wmloop eval`: score an agent on fresh episodes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wmloop.cli.dreamt import score_dreams
from wmloop.cli.exits import guarded, say, say_next
from wmloop.cli.opening import agent_named, log_named, open_run, output_of, play_command, trust_of
from wmloop.cli.options import (
    Device,
    EngineOption,
    EpisodesOption,
    IterationOption,
    JsonOption,
    NameArgument,
    RunsOption,
    SeedOption,
    TrustOption,
    laid_over,
    print_json,
    with_engine,
)
from wmloop.commands import command
from wmloop.errors import UsageError, WmloopError
from wmloop.opening import history_of, require_trust, ships, stored_config

if TYPE_CHECKING:
    from wmloop.config import RunConfig
    from wmloop.history import History
    from wmloop.store import Store, Version


@guarded
def score(
    name: NameArgument = None,
    episodes: EpisodesOption = 100,
    seed: SeedOption = 0,
    iteration: IterationOption = None,
    place: Annotated[
        Literal["real", "dream"],
        typer.Option(
            "--in",
            help="real: the environment; dream: whole episodes imagined by the world model, each from the first observation"
            " of a real one on.",
        ),
    ] = "real",
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="TAU",
            min=0.01,
            max=100.0,
            help="Temperature of the world model's predictions, with --in dream. Without it 1.",
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to compute; auto is cuda where there is one.")] = "auto",
    engine: EngineOption = None,
    trust_env: TrustOption = False,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Evaluate the agent on fresh episodes, real or dreamt.

    These episodes are used neither for training nor for choosing a run's best agent; there is no exploration noise. Prints
    the mean score with its standard deviation and 95% confidence interval, the worst, and each episode's score. The same
    --seed gives the same episodes to every run. The result is stored with the run, for `wmloop log` and `wmloop report`; that
    of `demo` is not, because its folder belongs to the installation. Nor is what --in dream finds.
    """
    if temperature is not None and place == "real":
        raise UsageError("--temperature is that of the world model: give --in dream, too")
    store = open_run(runs, name)
    config = laid_over(stored_config(store), with_engine(None, engine))
    require_trust(store, config, trust_env)

    from wmloop.calibration.scores import EpisodeResult
    from wmloop.device import resolve_device, resolve_threads, set_up
    from wmloop.scoring import fresh_scores, told
    from wmloop.seeding import fresh_seeds
    from wmloop.serving.choice import choose
    from wmloop.view.words import counted, span, tenths

    history = history_of(store, config)
    number, why = choose(history, iteration)
    where = set_up(resolve_device(device), resolve_threads(0))
    chosen = (*(() if iteration is None else ("--iteration", str(iteration))), *trust_of(store))
    if place == "dream":
        begin = "begins as a fresh episode of" if episodes == 1 else "begin as the fresh episodes of"
        say(f"{agent_named(store, number, why)}, {counted(episodes, 'dream')} that {begin} seed {seed}")
        following = command("eval", store.path, "--episodes", str(episodes), "--seed", str(seed), *chosen)
        tau = temperature or 1.0
        score_dreams(store, config, history, number, where, episodes, seed, tau, as_json, following)
        return
    estimate = _expected(history, config, episodes)
    say(f"{agent_named(store, number, why)}, {counted(episodes, 'fresh episode')} of seed {seed}{estimate}")
    results: list[EpisodeResult] = []
    begun, frames, shown = time.monotonic(), 0, 0.0

    def tick(count: int, _: object) -> None:
        nonlocal frames, shown
        frames += count
        now = time.monotonic()
        if sys.stderr.isatty() and now - shown > 0.5:
            shown = now
            mean = f", mean score {tenths(_mean(results))}" if results else ""
            rate = frames / (now - begun)
            # until the first are done an episode counts as a whole episode
            each = sum(r.frames for r in results) / len(results) if results else config.env.most_frames
            left = span(max(0.0, episodes * each - frames) / rate) if rate else "?"
            line = f"{len(results)} of {counted(episodes, 'episode')}{mean}, {rate:.0f} frames/s, {left} left"
            print(f"\r{line} \x1b[K", end="", file=sys.stderr)

    seeds = fresh_seeds(episodes, seed)
    with log_named(store):
        for wave in fresh_scores(history, config, number, seeds, where, tick, output_of(store)):
            results += wave
            if not sys.stderr.isatty() and len(results) < episodes:
                left = span((time.monotonic() - begun) / len(results) * (episodes - len(results)))
                say(f"{len(results)} of {episodes} episodes, mean score {tenths(_mean(results))}, {left} left")
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr)
    report = told(store, number, seed, results, time.monotonic() - begun)
    _keep(store, report, config, history.version(number, history.pipeline.agent))
    if as_json:
        print_json("eval", **report)
    else:
        _print_report(report, config)
    say_next({
        "watch it": play_command(store.path, *(("--seed", str(seed)) if seed else ()), *chosen),
        "read what it learnt": command("report", store.path, *chosen),
    })  # fmt: skip


def _expected(history: History, config: RunConfig, episodes: int) -> str:
    """Return how long so many episodes may take, by how long the run's latest evaluation took; nothing where none says."""
    from wmloop.view.words import span

    scored = [version for version in history.all(history.pipeline.scored_by) if version.seconds > 0]
    if not scored:
        return ""
    confirmed = config.evaluate.confirm_episodes if "confirmed_score" in scored[-1].metrics else 0
    return f": about {span(scored[-1].seconds / (config.evaluate.episodes + confirmed) * episodes)}"


def _keep(store: Store, report: dict[str, Any], config: RunConfig, scored: Version | None) -> None:
    """Keep an evaluation with its run; where that may not be written it is printed, and that is all."""
    from wmloop.scoring import keep

    if ships(store):
        say(f"note: not stored: {store.name} belongs to the installation")
        return
    if scored is None:
        return
    try:
        keep(store, report, config, scored)
    except WmloopError as error:
        say(f"note: this evaluation is not stored with the run: {error}")


def _mean(results: Sequence[Any]) -> float:
    return float(sum(result.score for result in results) / len(results))


def _print_report(report: dict[str, Any], config: RunConfig) -> None:
    from wmloop.view.words import tenths

    bounds = report["score_ci95"]
    certain = f", 95% CI of the mean {tenths(bounds[0])} to {tenths(bounds[1])}" if bounds else ""
    count = len(report["tracks"])
    spread = f" +- {tenths(report['score_std'])} over {count} episodes" if count > 1 else " in one episode"
    print(f"score   {tenths(report['score'])}{spread}{certain}")
    print(f"worst   {tenths(report['score_min'])}")
    if "predicted_return" in report:
        left_out = ""
        if config.burn_in or config.max_unrewarded is not None:
            left_out = ", over the same part of each episode, scaled to a whole one (which part: docs/evaluate.md)"
        print(
            f"dream   M predicted a return of {tenths(report['predicted_return'])}, the real one was"
            f" {tenths(report['real_return'])}{left_out}"
        )
    print(f"frames  {report['frames']:,.0f} in {report['seconds']:.1f} s")
    scores = [f"{tenths(episode['score']):>8}" for episode in report["tracks"]]
    for i in range(0, len(scores), 10):
        print(("scores  " if i == 0 else "        ") + "".join(scores[i : i + 10]))
