"""What each figure of a stage means: its unit, whether higher or lower is better, and what is normal.

docs/reference/metrics.md is made of these tables; beside them it shows what whole runs had, which is in docs/results.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Metric:
    """One figure. `name` may have `*` for a part that varies; `better` is `higher`, `lower`, `near 0` or nothing."""

    name: str
    unit: str
    better: str
    meaning: str
    normal: str = ""

    def covers(self, name: str) -> bool:
        """Return whether this is the figure of that name."""
        return fnmatchcase(name, self.name)


_POINTS, _NATS, _SHARE, _COUNT = "points", "nats", "share, 0 to 1", "count"

COUNTS = (
    Metric("episodes", _COUNT, "", "real episodes that were driven"),
    Metric("decisions", _COUNT, "", "decisions of the agent in them; one lasts `env.action_repeat` frames"),
    Metric("frames", "frames", "", "real frames that were driven"),
)
RETURNS = (
    Metric("predicted_return", _POINTS, "",
           "reward of an episode as M predicts it in dreams that begin at real moments, without exploration", "`real_return`"),
    Metric("real_return", _POINTS, "higher",
           "reward that the same moments really paid, an episode; unlike `score` it leaves out the first decisions and counts"
           " moments that M was asked about"),
    Metric("best_real_return", _POINTS, "higher", "`real_return` of the episode that paid most",
           "above `predicted_return`; else an alarm is raised"),
    Metric("real_reward_per_decision", "points a decision", "higher", "what these moments paid, a decision"),
    Metric("return_gap_points", _POINTS, "near 0", "`predicted_return` less `real_return`: above 0 M is too optimistic",
           "within two of its standard errors, once C drives well"),
    Metric("return_gap_points_se", _POINTS, "lower", "standard error of `return_gap_points`; episodes are independent"),
    Metric("return_gap", "part of `real_return`", "near 0",
           "`return_gap_points` as a part of the size of `real_return`; absent where that cannot be told from 0",
           "within ±0.1 once C drives well; large while scores are near 0"),
    Metric("return_gap_se", "part of `real_return`", "lower", "standard error of `return_gap`"),
)  # fmt: skip
ENDS = (
    Metric("terminations", _COUNT, "", "episodes that ended by themselves; time limits do not count"),
    Metric("predicted_terminations", _COUNT, "", "sum of the probabilities of an end that M gave to each decision before it"
           " saw what came", "`terminations`; too few where ends are rare in what M learnt from"),
    Metric("terminated_*_decisions", _COUNT, "", "decisions whose predicted probability of an end lay between the two numbers"),
    Metric("terminated_*_expected", _SHARE, "", "their mean predicted probability"),
    Metric("terminated_*_ended", _SHARE, "", "the share of them that did end the episode", "`..._expected` of the same bin"),
)  # fmt: skip
ROLLOUT = (
    *COUNTS,
    Metric("score", _POINTS, "higher", "mean reward of an episode; in iteration 0 of random driving, later of C with its"
           " exploration and perturbations, so below the evaluation's score"),
    Metric("rewarded_fraction", _SHARE, "higher", "share of decisions with a positive reward"),
    Metric("reward_rms", _POINTS, "", "root mean square of the rewards that are not 0; the unit of rewards inside the networks"
           " where `memory.reward_scale` is `auto`"),
    Metric("truncations_decisions", _COUNT, "", "episodes that were stopped after the decisions asked for (`rollout.prefill`)"),
    Metric("truncations_unrewarded", _COUNT, "lower", "episodes that were stopped after `rollout.max_unrewarded` decisions"
           " without a positive reward"),
    Metric("truncations_environment", _COUNT, "", "episodes that the environment truncated, as at its time limit"),
    Metric("truncations_frames", _COUNT, "", "episodes that reached `env.episode_frames`"),
    *RETURNS,
    Metric("open_loop_correlation", "-1 to 1", "higher", "correlation over moments of what M foresaw with what was paid, given"
           " the actions that were really taken but no picture, some 25 decisions ahead", "0.8 or more from iteration 2 on"),
    Metric("open_loop_bias", "part of what was paid", "near 0", "what M foresaw there beyond what was paid", "within ±0.15"),
    *ENDS,
)  # fmt: skip
VISION = (
    Metric("recon_loss", "squared error a picture", "lower", "reconstruction error in training: summed over a picture's values"
           " in [0, 1]", "falls, then levels off"),
    Metric("newest_recon_loss", "squared error a picture", "lower", "the same on up to 256 of the newest rollout's pictures,"
           " without noise", "near `recon_loss`; above it, the pictures are new to V"),
    Metric("kl_loss", _NATS, "", "information in z about a picture; below `vision.free_nats` a dimension it costs nothing"),
    Metric("reward_aux_loss", "squared error", "lower", "error of the next decisions' rewards as predicted from z alone, in"
           " units of `memory.reward_scale`", "grows with the rewards: a faster driver is harder to predict"),
    Metric("finetuned", "0 or 1", "", "1 where V went on learning in this iteration, 0 where it was frozen"),
    Metric("units", "pictures", "", "pictures that V learnt from"),
)  # fmt: skip
MEMORY = (
    Metric("nll", "nats a decision", "lower", "negative log-likelihood of the next z under M's mixture; a density, so it may be"
           " negative", "falls from iteration to iteration"),
    Metric("reward_loss", "squared error", "lower", "error of the predicted reward, in units of `memory.reward_scale`",
           "grows with the rewards"),
    Metric("terminal_reward_loss", "squared error", "lower", "error of the reward predicted for an episode's last decision"),
    Metric("terminated_loss", "nats", "lower", "cross-entropy of the predicted end, with the ends weighed"
           " `memory.terminated_weight` times", "small where ends are rare"),
    Metric("action_loss", "squared error", "lower", "error of C's own next action as M predicts it"),
    Metric("units", "sequence steps", "", "decisions that M learnt from"),
)  # fmt: skip
PPO = (
    Metric("pg_loss", "advantage", "", "PPO's clipped policy loss", "near 0; its size says nothing by itself"),
    Metric("v_loss", "squared value", "lower", "half the critic's mean squared error", "grows with the returns"),
    Metric("explained_variance", "at most 1", "higher", "share of the returns' variance that the critic explains",
           "above 0.5; below 0 the critic is worse than a constant"),
    Metric("entropy", _NATS, "", "entropy of the policy's Gaussian; a density, so it may be negative", "falls as C gets sure"),
    Metric("approx_kl", _NATS, "lower", "how far an update moved the policy (Schulman's k3 estimate)",
           "below `target_kl`, where an update stops"),
    Metric("clipfrac", _SHARE, "lower", "share of steps outside PPO's trust region", "0.02 to 0.2"),
    Metric("ref_kl", _NATS, "lower", "distance from the policy that the stage began with", "below 1"),
    Metric("policy_epochs", "epochs", "", "passes over each batch before `target_kl` stopped the policy",
           "near `update_epochs`; far below it, steps are too large"),
)  # fmt: skip
CONTROLLER = (
    Metric("dream_return", _POINTS, "higher", "mean reward of a dream of `dream.horizon` decisions; it also rises where C"
           " exploits errors of M, so `score` decides"),
    Metric("dream_terminated_fraction", _SHARE, "", "share of dreams that are expected to end before their horizon"),
    *PPO,
    Metric("temperature", "factor", "", "`dream.temperature` that was used"),
    Metric("gamma", "factor a decision", "", "discount that was used: `controller.gamma`, or `controller.plateau_gamma`"),
    Metric("units", "dream steps", "", "dreamt decisions that C learnt from"),
)  # fmt: skip
SCORES = (
    Metric("score", _POINTS, "higher", "mean reward of an episode over the held-out episodes, deterministic policy"),
    Metric("score_std", _POINTS, "lower", "standard deviation over these episodes (n - 1)"),
    Metric("score_se", _POINTS, "lower", "standard error of their mean"),
    Metric("score_min", _POINTS, "higher", "the worst of these episodes"),
    Metric("frames", "frames", "", "real frames of these episodes; nothing is learnt from them"),
    Metric("confirmed_score_low", _POINTS, "higher", "bound that the true mean is above with 95% certainty; the goal is met"
           " where this reaches it"),
)  # fmt: skip
_CONFIRMED = ("score", "score_std", "score_se", "score_min", "frames", "return_gap", "return_gap_se")


def _confirmed(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    return tuple(
        Metric(f"confirmed_{m.name}", m.unit, m.better, f"`{m.name}` over the confirming episodes", m.normal)
        for m in metrics
        if m.name in _CONFIRMED
    )


EVALUATE = (
    *SCORES, *_confirmed(SCORES), *RETURNS, *_confirmed(RETURNS), *ENDS,
    Metric("temperature", "factor", "", "`dream.temperature` that this C was trained at"),
)  # fmt: skip
LEARNER = (
    *COUNTS,
    Metric("score", _POINTS, "higher", "mean reward of an episode, with exploration"),
    *PPO,
    Metric("units", "frames", "", "real frames that the policy learnt from"),
)
EVALUATE_WITHOUT_MODEL = (*SCORES, *_confirmed(SCORES))
