"""`wmloop eval`: score an agent on fresh tracks."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from wmloop import ranking
from wmloop.cli.exits import guarded, say
from wmloop.cli.opening import log_named, open_run, output_of
from wmloop.cli.options import Device, JsonOption, NameArgument, RunsOption, SeedOption, TrustOption, VersionOption
from wmloop.opening import history_of, require_trust, stored_config
from wmloop.seeding import EPISODES_A_SEED


@guarded
def score(
    name: NameArgument = None,
    tracks: Annotated[int, typer.Option(min=1, max=EPISODES_A_SEED, metavar="N", help="How many fresh tracks.")] = 100,
    seed: SeedOption = 0,
    version: VersionOption = None,
    device: Annotated[Device, typer.Option(help="Where to compute; auto is cuda where there is one.")] = "auto",
    trust_env: TrustOption = False,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Score the agent on fresh real tracks.

    No run trains or ranks itself on these tracks, and there is no exploration noise. Prints the mean and deviation
    over tracks, the 95% confidence interval of the mean, the worst, and every track's score. The same seed gives the
    same tracks to every run.
    """
    store = open_run(runs, name)
    config = stored_config(store)
    require_trust(store, config, trust_env)

    from wmloop.agents.collector import EpisodeTask, waves
    from wmloop.calibration.scores import EpisodeResult, details, score_episodes, summarise
    from wmloop.device import resolve_device, resolve_threads, set_up
    from wmloop.envs import make_envs
    from wmloop.seeding import fresh_seeds
    from wmloop.serving.agent import Served
    from wmloop.serving.choice import choose
    from wmloop.training.rollouts import require_same_actions
    from wmloop.view.words import span

    history = history_of(store, config)
    iteration, why = choose(history, version)
    where = set_up(resolve_device(device), resolve_threads(0))
    say(f"{store.name}, iteration {iteration} ({why}), {tracks} fresh tracks of seed {seed}")
    results: list[EpisodeResult] = []
    begun, frames, shown = time.monotonic(), 0, 0.0

    def tick(count: int, _: object) -> None:
        nonlocal frames, shown
        frames += count
        now = time.monotonic()
        if sys.stderr.isatty() and now - shown > 0.5:
            shown = now
            mean = f", mean score {_mean(results):.1f}" if results else ""
            rate = frames / (now - begun)
            # until the first are done a track counts as a whole episode
            each = sum(r.frames for r in results) / len(results) if results else config.env.most_frames
            left = span(max(0.0, tracks * each - frames) / rate) if rate else "?"
            told = f"{len(results)} of {tracks} tracks{mean}, {rate:.0f} frames/s, {left} left"
            print(f"\r{told} \x1b[K", end="", file=sys.stderr)

    with log_named(store), make_envs(config.env, min(config.env.num_envs, tracks), output=output_of(store)) as pool:
        require_same_actions(history.collected(), pool.actions)
        agent = Served.of(history, iteration).agent(config, pool.actions, where)
        for wave in waves([EpisodeTask(track, 0) for track in fresh_seeds(tracks, seed)], pool.num_envs):
            results += score_episodes(config, pool, agent, [task.seed for task in wave], tick, history.pipeline.dreams)
            if not sys.stderr.isatty() and len(results) < tracks:
                say(f"{len(results)} of {tracks} tracks, mean score {_mean(results):.1f}")
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr)
    scores = [result.score for result in results]
    report: dict[str, Any] = {
        "run": store.name,
        "iteration": iteration,
        "seed": seed,
        **summarise(results),
        "score_ci95": ranking.interval(scores),
        "seconds": time.monotonic() - begun,
        "tracks": details(results),
    }
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        _print_report(report)


def _mean(results: Sequence[Any]) -> float:
    return float(sum(result.score for result in results) / len(results))


def _print_report(report: dict[str, Any]) -> None:
    bounds = report["score_ci95"]
    certain = f", 95% CI of the mean {bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else ""
    print(f"score   {report['score']:.1f} +- {report['score_std']:.1f} over {len(report['tracks'])} tracks{certain}")
    print(f"worst   {report['score_min']:.1f}")
    if "predicted_return" in report:
        print(
            f"dream   promised {report['predicted_return']:.1f} where reality paid {report['real_return']:.1f} an episode"
        )
    print(f"frames  {report['frames']:,.0f} in {report['seconds']:.1f} s")
    scores = [f"{track['score']:8.1f}" for track in report["tracks"]]
    for i in range(0, len(scores), 10):
        print(("tracks  " if i == 0 else "        ") + "".join(scores[i : i + 10]))
