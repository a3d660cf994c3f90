"""`wmloop eval --in dream`: score an agent in whole episodes of its own dream."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from wmloop import ranking
from wmloop.cli.exits import say_next
from wmloop.cli.opening import log_named, output_of
from wmloop.cli.options import print_json
from wmloop.errors import UsageError

if TYPE_CHECKING:
    from wmloop.config import RunConfig
    from wmloop.history import History
    from wmloop.store import Store


def score_dreams(
    store: Store, config: RunConfig, history: History, number: int, device: Any, episodes: int, seed: int,
    temperature: float, as_json: bool, following: str,
) -> None:  # fmt: skip
    """Print what the agent of iteration `number` scores in dreams that begin as the fresh episodes of `seed` do.

    `following` is the command that scores it in reality.

    Raises:
        UsageError: the pipeline does not dream, or it has learnt no rewards.
    """
    if not history.pipeline.dreams:
        raise UsageError(f"an agent of pipeline {history.pipeline.name} has no dreams: leave --in out")
    if not config.learns_rewards:
        raise UsageError("with memory.reward_weight=0 M has learnt no rewards, so dreams have no score: leave --in out")
    from wmloop.calibration.dreamt import score_dreams as score
    from wmloop.envs import make_envs
    from wmloop.seeding import fresh_seeds
    from wmloop.serving.agent import Served
    from wmloop.view.words import tenths

    seeds = fresh_seeds(episodes, seed)
    copies = min(config.env.num_envs, len(seeds))
    with log_named(store), make_envs(config.env, copies, output=output_of(store)) as pool:
        agent = Served.of(history, number).agent_in(pool, history, config, device)
        scores = score(pool, agent, seeds, config.env.most_decisions, temperature, device)
    report: dict[str, Any] = {
        "run": store.name, "iteration": number, "seed": seed, "temperature": temperature,
        "dream_score": statistics.fmean(scores),
        **({"dream_score_std": statistics.stdev(scores)} if len(scores) > 1 else {}),
        "dream_score_ci95": ranking.interval(scores), "dream_scores": scores,
    }  # fmt: skip
    if as_json:
        print_json("eval", **report)
        return
    bounds = report["dream_score_ci95"]
    certain = f", 95% CI of the mean {tenths(bounds[0])} to {tenths(bounds[1])}" if isinstance(bounds, list) else ""
    spread = (
        f" +- {tenths(report['dream_score_std'])} over {len(scores)} dreams" if len(scores) > 1 else " in one dream"
    )
    print(f"dream   {tenths(report['dream_score'])}{spread} at temperature {temperature:g}{certain}")
    scored = [v.metrics for v in history.all(history.pipeline.scored_by) if v.iteration == number]
    for kind, which in (("score", "held-out"), ("confirmed_score", "confirming")):
        for metrics in scored:
            if kind in metrics:
                spread = f" +- {tenths(metrics[f'{kind}_std'])}" if f"{kind}_std" in metrics else ""
                print(f"real    {tenths(metrics[kind])}{spread} on {which} episodes")
    say_next({"score it in reality": following})
