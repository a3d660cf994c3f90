"""What each metric of a stage means: its unit, whether higher or lower is better, and what is normal.

docs/reference/metrics.md is made of these tables; beside them it shows what whole runs had, which is in docs/results.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Metric:
    """One metric. `name` may have `*` for a part that varies; `better` is `higher`, `lower`, `near 0` or nothing."""

    name: str
    unit: str
    better: str
    meaning: str
    normal: str = ""

    @property
    def told(self) -> str:
        """Return in a sentence's part what it means, which way is better, and what is normal."""
        better = f"{self.better} is better" if self.better else ""
        return "; ".join(part for part in (self.meaning, better, self.normal and f"usual: {self.normal}") if part)

    def covers(self, name: str) -> bool:
        """Return whether this is the metric of that name."""
        return fnmatchcase(name, self.name)


_REWARD, _NATS, _SHARE, _COUNT = "reward", "nats", "fraction, 0 to 1", "count"

COUNTS = (
    Metric("episodes", _COUNT, "", "real episodes collected"),
    Metric("decisions", _COUNT, "", "agent steps in them; one is `env.action_repeat` frames"),
    Metric("frames", "frames", "", "environment steps (frames) in them"),
)
RETURNS = (
    Metric("predicted_return", _REWARD, "",
           "return per episode as M predicts it: each real episode is cut into windows of 25 agent steps; at the real"
           " state where one begins four dreams begin, with C's deterministic actions, as long as the window, or 25 agent steps"
           " where the episode terminated in it; their rewards, summed and averaged over the four, are divided by the real"
           " agent steps, and scaled to the episodes' mean length",
           "near `real_return`"),
    Metric("real_return", _REWARD, "higher",
           "real return of the same agent steps, scaled in the same way; it differs from `score`"
           " because an episode's first `dream.burn_in` agent steps are left out, and so is all from that window of 25 agent"
           " steps on in which a rollout would have been stopped, because `rollout.max_unrewarded` in a row had no positive"
           " reward by then; M sees such steps in training only in the episodes of iteration 0. So it can differ widely from a"
           " low score"),
    Metric("best_real_return", _REWARD, "higher", "highest real return of a single episode, over the same agent steps,"
           " scaled to its own length",
           "above `predicted_return`"),
    Metric("real_reward_per_decision", "reward per agent step", "higher", "`real_return` per agent step"),
    Metric("return_gap_points", _REWARD, "near 0", "`predicted_return` minus `real_return`: above 0 M is too optimistic",
           "within 10% of `real_return` once the score is high"),
    Metric("return_gap_points_se", _REWARD, "lower", "standard error of `return_gap_points`, over episodes"),
    Metric("return_gap", "fraction of `real_return`", "near 0",
           "`return_gap_points` divided by the absolute value of `real_return`; left out where `real_return` does not differ"
           " clearly from 0",
           "within ±0.1 once the score is high; large while `real_return` is near 0"),
    Metric("return_gap_se", "fraction of `real_return`", "lower", "standard error of `return_gap`"),
)  # fmt: skip
#: Of rollouts: of those of their episodes in which the deterministic policy acted.
QUIET_RETURNS = tuple(
    replace(m, meaning=f"{m.meaning}; only over the episodes without exploration (`rollout.deterministic_fraction`)")
    for m in RETURNS
)
ENDS = (
    Metric("terminations", _COUNT, "", "episodes that terminated; time limits do not count"),
    Metric("predicted_terminations", _COUNT, "", "sum over all agent steps of the termination probability that M"
           " predicted one step ahead", "near `terminations`; far lower where few episodes of the replay terminate"),
    Metric("terminated_*_decisions", _COUNT, "", "calibration of the predicted termination probability: the number"
           " of agent steps for which it lay in a bin. `terminated_0.01_0.1_decisions` is of the bin from 0.01 to"
           " 0.1"),
    Metric("terminated_*_expected", _SHARE, "", "mean predicted probability in the bin"),
    Metric("terminated_*_ended", _SHARE, "", "fraction of the bin's agent steps that terminated the episode",
           "near `terminated_*_expected` of the same bin"),
)  # fmt: skip
_COLLECTED = (
    Metric("rewarded_fraction", _SHARE, "higher", "fraction of agent steps with a positive reward"),
    Metric("reward_rms", _REWARD, "", "root mean square of the rewards that are not 0, without those of steps that terminate"
           " unless there are no others. Where `memory.reward_scale` is `auto`, that of the first rollout that has any is the"
           " unit of rewards inside the networks, in all iterations"),
    Metric("truncations_decisions", _COUNT, "", "episodes that were stopped after the agent steps asked for"
           " (`rollout.prefill`)"),
    Metric("truncations_environment", _COUNT, "", "episodes that the environment truncated, as at its time limit"),
    Metric("truncations_frames", _COUNT, "", "episodes that `env.episode_frames` stopped before the environment did"),
)  # fmt: skip
RANDOM_ROLLOUT = (
    *COUNTS,
    Metric("score", _REWARD, "higher", "mean return (undiscounted sum of rewards) of the collected episodes, which are random"),
    *_COLLECTED,
)  # fmt: skip
ROLLOUT = (
    *COUNTS,
    Metric("score", _REWARD, "higher", "mean return (undiscounted sum of rewards) of the collected episodes: in"
           " iteration 0 of the random policy, later of C with exploration and perturbations, so below the"
           " evaluation's score"),
    *_COLLECTED,
    Metric("truncations_unrewarded", _COUNT, "lower", "episodes that were stopped after `rollout.max_unrewarded`"
           " agent steps without a positive reward"),
    *QUIET_RETURNS,
    Metric("open_loop_correlation", "-1 to 1", "higher", "open-loop prediction of the sum of rewards after moments of real"
           " episodes, for up to 25 agent steps, with the recorded actions and without observations: M is run as a particle"
           " filter, 1024 imagined episodes per moment, resampled at each agent step by the probability that C's policy,"
           " widened (standard deviation doubled or logits halved, 2% uniform), gives to the recorded action there, times"
           " the probability that the imagined episode has not ended. This is the correlation, over moments, of the predicted"
           " and the real sum",
           "0.8 or more from iteration 2 on"),
    Metric("open_loop_bias", "fraction of the real sum", "near 0", "predicted minus real sum of rewards in these predictions,"
           " all moments together, divided by the absolute value of the real sum; above 0 M is too optimistic; left out"
           " where the real sum does not differ clearly from 0", "within ±0.15"),
    *ENDS,
)  # fmt: skip
VISION = (
    Metric("recon_loss", "squared error per image", "lower", "reconstruction error in training: summed over an"
           " image's values in [0, 1]", "falls, then levels off"),
    Metric("newest_recon_loss", "squared error per image", "lower", "the same on up to 256 images of the newest rollout,"
           " decoded from the posterior mean instead of a sample", "near `recon_loss`; above it, the images are new to V"),
    Metric("kl_loss", _NATS, "", "KL divergence of z's posterior from the prior, per image; below `vision.free_nats` times"
           " `vision.latent_size` it has no gradient"),
    Metric("reward_aux_loss", "squared error", "lower", "error of the next 8 rewards as predicted from z alone,"
           " in units of `memory.reward_scale` (those of terminal steps in units of their own root mean square,"
           " where that is larger)", "grows with the rewards"),
    Metric("finetuned", "0 or 1", "", "1 if V was trained in this iteration, 0 if it was frozen"),
    Metric("units", "images", "", "training samples: batch size times gradient steps"),
)  # fmt: skip
MEMORY = (
    Metric("nll", "nats per agent step", "lower", "negative log-likelihood of the next z under M's mixture; a"
           " density, so it may be negative", "falls from iteration to iteration"),
    Metric("reward_loss", "squared error", "lower", "error of the predicted reward, in units of `memory.reward_scale`",
           "grows with the rewards"),
    Metric("terminal_reward_loss", "squared error", "lower", "error of the reward predicted for terminal steps, in"
           " units of the root mean square of their rewards (at least 1 `memory.reward_scale`); summed over the terminal steps,"
           " divided by the number of all steps, so it is small where terminations are rare"),
    Metric("terminated_loss", "nats", "lower", "cross-entropy of the predicted termination probability, terminal"
           " steps weighted by `memory.terminated_weight`", "small where terminations are rare"),
    Metric("action_loss", "squared error", "lower", "error of the next action that M predicts, against the action"
           " that was really taken next in the episode: in iteration 0 by the random policy, later by C with exploration"),
    Metric("units", "sequence steps", "", "sequences in training times their length, padding beyond episodes' ends included"),
)  # fmt: skip
PPO = (
    Metric("pg_loss", "advantage", "", "PPO's clipped policy loss", "near 0; its size says nothing by itself"),
    Metric("v_loss", "squared value", "lower", "half the critic's mean squared error", "grows with the returns"),
    Metric("explained_variance", "at most 1", "higher", "fraction of the returns' variance that the critic explains",
           "above 0.5; below 0 the critic is worse than a constant"),
    Metric("entropy", _NATS, "", "entropy of the policy. Box, and whatever has `env.action_bins`: of a"
           " Gaussian, a density, so it may be negative. Discrete: of a categorical distribution, never negative",
           "falls as the policy becomes deterministic"),
    Metric("approx_kl", _NATS, "lower", "approximate KL divergence between the policy that acted and the policy in"
           " training (k3 estimate), mean over minibatches",
           "below `target_kl`, where the policy's update stops"),
    Metric("clipfrac", _SHARE, "lower", "fraction of samples whose probability ratio lies outside 1 ± `clip_coef`",
           "0.02 to 0.2"),
    Metric("ref_kl", _NATS, "lower", "KL divergence from the reference policy: the one that the iteration's training"
           " began with; in `vanilla-ppo` and `ppo-features` the one that collected the batch", "below 1"),
    Metric("policy_epochs", "epochs", "", "passes over each batch before `target_kl` stopped the policy",
           "near `update_epochs`; far below it, steps are too large"),
)  # fmt: skip
CONTROLLER = (
    Metric("dream_return", _REWARD, "higher", "mean undiscounted sum of rewards over a dream of `dream.horizon`"
           " agent steps, without the critic's bootstrap value; it also rises where C exploits errors of M, so the"
           " agent is judged by `score`"),
    Metric("dream_terminated_fraction", _SHARE, "", "expected fraction of dreams that terminate before their horizon"),
    *PPO,
    Metric("surprise", "nats per latent dimension", "", "M's mean loss on what it dreams, where `controller.curiosity` pays for"
           " it: how uncertain M is where C goes", "falls as M learns, and rises where C seeks what M does not know"),
    Metric("temperature", "factor", "", "`dream.temperature` that was used"),
    Metric("gamma", "factor per agent step", "", "discount that was used: `controller.gamma`, or"
           " `controller.plateau_gamma`"),
    Metric("units", "dream steps", "", "imagined agent steps collected for training"),
)  # fmt: skip
_SEARCH = (
    Metric("best_fitness", _REWARD, "higher", "fitness of the best candidate of the last generation: the mean return of its"
           " episodes, or of the worst of them (`evolution.worst_fraction`). It is the largest of many noisy figures, so it is"
           " higher than what the same weights score again"),
    Metric("sigma", "weight", "", "CMA-ES's step size after the last generation: the candidates' standard deviation, before"
           " the covariance shapes it"),
)  # fmt: skip
DREAM_EVOLUTION = (
    Metric("dream_return", _REWARD, "higher", "mean return of all dreams of the last generation's candidates: the reward"
           " expected over `evolution.horizon` agent steps, nothing being paid after an end; it also rises where C exploits"
           " errors of M, so the agent is judged by `score`"),
    Metric("dream_terminated_fraction", _SHARE, "", "expected fraction of these dreams that terminate before their horizon"),
    *_SEARCH,
    Metric("temperature", "factor", "", "`dream.temperature` that was used"),
    Metric("units", "dream steps", "", "imagined agent steps at most: dreams end early where all have ended"),
)  # fmt: skip
REAL_EVOLUTION = (
    Metric("score", _REWARD, "higher", "mean return of the episodes of the last generation's candidates; that of their mean,"
           " the agent, is usually higher"),
    *_SEARCH,
    *COUNTS,
    Metric("units", "frames", "", "environment steps (frames) in them"),
)  # fmt: skip
SCORES = (
    Metric("score", _REWARD, "higher", "mean return (undiscounted sum of rewards) of the held-out episodes,"
           " deterministic policy"),
    Metric("score_std", _REWARD, "lower", "standard deviation over these episodes (n - 1); not of a single one"),
    Metric("score_se", _REWARD, "lower", "standard error of their mean; not of a single one"),
    Metric("score_min", _REWARD, "higher", "the worst of these episodes"),
    Metric("frames", "frames", "", "environment steps (frames) of these episodes; they are not trained on"),
    Metric("confirmed_score_low", _REWARD, "higher", "one-sided 95% lower confidence bound of the mean return by"
           " Student's t; the goal counts as reached when this reaches it. Where there are few distinct scores (at most half as"
           " many as episodes), as in win or loss, one more episode is added before it is computed, which has the lowest score"
           " seen: in these episodes, in earlier evaluations, or as a rollout's mean. Equal wins are thus no certainty"),
)  # fmt: skip
#: What stages.evaluate tells of the confirming episodes, too.
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
    Metric("score", _REWARD, "higher", "mean return of the collected episodes, with exploration"),
    *PPO,
    Metric("units", "frames", "", "environment steps (frames) collected for training"),
)
_AS_ROLLOUTS = (
    "rewarded_fraction", "reward_rms", "truncations_environment", "truncations_frames", "truncations_unrewarded",
)  # fmt: skip
#: Of PPO on what V and M make of real episodes, which are stored as a rollout's.
FEATURES_LEARNER = (
    *LEARNER,
    *(metric for metric in ROLLOUT if metric.name in _AS_ROLLOUTS),
    *(metric for metric in CONTROLLER if metric.name == "gamma"),
)
EVALUATE_WITHOUT_MODEL = (*SCORES, *_confirmed(SCORES))
