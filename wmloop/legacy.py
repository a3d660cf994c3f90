"""Names of earlier days, and what they are called now: whatever reads a run or a person's settings goes through here.

docs/names.md is made of these tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

#: Settings by their dotted names. Groups are settings, too.
SETTINGS = {
    "env.mirror": "env.mirrored_actions",
    "env.driving": "env.random_policy",
    "env.driving.scale": "env.random_policy.std",
    "env.driving.memory": "env.random_policy.autocorrelation",
    "env.driving.boost": "env.random_policy.initial_offset",
    "env.driving.boost_decisions": "env.random_policy.initial_decisions",
    "env.timeout": "env.worker_timeout",
    "rollout.first": "rollout.prefill",
    "rollout.replay": "rollout.replay_iterations",
    "rollout.patience": "rollout.max_unrewarded",
    "rollout.quiet_fraction": "rollout.deterministic_fraction",
    "rollout.push_rate": "rollout.perturb_prob",
    "rollout.push_decisions": "rollout.perturb_decisions",
    "rollout.push_scale": "rollout.perturb_std",
    "vision.latent": "vision.latent_size",
    "vision.reward_weight": "vision.reward_aux_weight",
    "vision.kl_tolerance": "vision.free_nats",
    "vision.batch": "vision.batch_size",
    "vision.tune_learning_rate": "vision.finetune_learning_rate",
    "vision.first_images": "vision.initial_images",
    "vision.tune_images": "vision.finetune_images",
    "memory.hidden": "memory.hidden_size",
    "memory.mixtures": "memory.num_mixtures",
    "memory.sequence": "memory.sequence_length",
    "memory.batch": "memory.batch_size",
    "memory.first_steps": "memory.initial_steps",
    "memory.steps": "memory.train_steps",
    "memory.reward_floor": "memory.reward_min",
    "memory.done_weight": "memory.terminated_weight",
    "memory.age_decay": "memory.recency_decay",
    "dream.warmup": "dream.burn_in",
    "controller.first_updates": "controller.initial_updates",
    "controller.settled_gamma": "controller.plateau_gamma",
    "controller.anchor_coef": "controller.ref_kl_coef",
    "controller.log_std": "controller.log_std_bounds",
    "evaluate.tracks": "evaluate.episodes",
    "evaluate.confirm_tracks": "evaluate.confirm_episodes",
}
_CAPPED = "the policy learns from rewards as they are; in the last thirty measured runs the cap never applied"
_FROZEN = "the VAE is trained in every iteration; vision.finetune_images=0 freezes it after the first"
#: Settings that are gone, by every name they had, and what is done instead. A stored run that has one is read without it.
RETIRED = {
    "memory.reward_smoothing": "the world model learns from rewards as they are; smoothed ones did not improve its predictions",
    "controller.reward_saturation": _CAPPED,
    "controller.reward_ceiling": _CAPPED,
    "vision.finetune_iterations": _FROZEN,
    "vision.tune_iterations": _FROZEN,
}
#: Choices of settings that only stored runs have, and what replaced each.
SUPERSEDED = {"vision.network": {"equalised": "compact", "light": "compact"}}
#: Figures of versions, in manifests, logs and exported agents.
METRICS = {
    "promised": "predicted_return",
    "paid": "real_return",
    "paid_best": "best_real_return",
    "paid_a_decision": "real_reward_per_decision",
    "gap": "return_gap",
    "gap_error": "return_gap_se",
    "gap_points": "return_gap_points",
    "gap_points_error": "return_gap_points_se",
    "score_error": "score_se",
    "paying_fraction": "rewarded_fraction",
    "ends": "terminations",
    "ends_expected": "predicted_terminations",
    "dream_ends": "dream_terminated_fraction",
    "saturated": "reward_saturated",
    "anchor_kl": "ref_kl",
    "clip_frac": "clipfrac",
    "epochs": "policy_epochs",
    "foretaste_loss": "reward_aux_loss",
    "moved": "finetuned",
    "done_loss": "terminated_loss",
    "terminal_loss": "terminal_reward_loss",
    "cut_environment": "truncations_environment",
    "cut_frames": "truncations_frames",
    "cut_decisions": "truncations_decisions",
    "cut_patience": "truncations_unrewarded",
}
#: Figures that are no longer written, by their last names. Older versions have them.
RETIRED_METRICS = ("reward_saturated",)
#: Options of commands.
OPTIONS = {
    "eval": {"--tracks": "--episodes", "--version": "--iteration"},
    "play": {"--version": "--iteration"},
    "report": {"--version": "--iteration"},
    "export": {"--version": "--iteration"},
}
#: Whole ways to say something.
COMMANDS = {
    "resume NAME --from ITERATION --as NEW": "fork NAME NEW --from ITERATION",
    "play --render FILE": "play --to FILE",
    "play --best": "play",
    "config WORD": "settings WORD",
    "config --run NAME": "config NAME",
    "config --pipeline PIPELINE": "settings --pipeline PIPELINE",
}
_CONFIRMED = "confirmed_"
#: Figures of M's ends by their probability, `done_LOW_HIGH_...`.
_BINS = re.compile(r"done_(?=\d)")


def settings_now(table: Mapping[str, Any], tell: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Return nested settings under the names of today, without those that are gone; `tell` is told a line of each such."""
    return _settings_now(table, tell, "", "")


def _settings_now(table: Mapping[str, Any], tell: Callable[[str], None], was: str, path: str) -> dict[str, Any]:
    now: dict[str, Any] = {}
    for key, value in table.items():
        old = was + key
        if old in RETIRED:
            tell(f"{old} is gone and has no effect: {RETIRED[old]}")
            continue
        new = SETTINGS.get(old, path + key)
        if isinstance(value, Mapping):
            value = _settings_now(value, tell, f"{old}.", f"{new}.")
        elif new != old:
            tell(f"{old} is called {new} now")
        now[new.rpartition(".")[2] if old in SETTINGS else key] = value
    return now


def metrics_now(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures under the names of today."""
    return {_metric_now(name): value for name, value in metrics.items()}


def _metric_now(name: str) -> str:
    prefix = _CONFIRMED if name.startswith(_CONFIRMED) else ""
    plain = name.removeprefix(prefix)
    return prefix + METRICS.get(plain, _BINS.sub("terminated_", plain))
