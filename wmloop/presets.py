"""The presets: named sizes of a run, as what each changes against the defaults in config.py."""

from __future__ import annotations

from typing import Any

#: What each preset changes against the defaults.
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "budget": {"iterations": 2},
        "env": {"num_envs": 4},
        "rollout": {"first": ((16, 40),), "frames": 4_000},
        "vision": {"first_images": 3_200, "tune_images": 640, "tune_iterations": 1},
        "memory": {"first_steps": 60, "steps": 40},
        "dream": {"num_dreams": 128, "horizon": 12},
        "controller": {"first_updates": 8, "updates": 8, "minibatch_size": 512},
        "evaluate": {"tracks": 4, "confirm_tracks": 8},
        "store": {"snapshot_seconds": 5.0},
    },
    "laptop": {},
    "gpu": {
        "env": {"num_envs": 64},
        "rollout": {"frames": 64_000},
        "vision": {"batch": 128, "first_images": 400_000, "tune_images": 100_000},
        "memory": {"hidden": 512, "batch": 128, "first_steps": 1_500, "steps": 1_500},
        "dream": {"num_dreams": 4096},
        "controller": {"updates": 100, "minibatch_size": 16_384},
        "evaluate": {"tracks": 64},
    },
    "paper": {
        "budget": {"iterations": 4},
        "env": {"action_repeat": 1, "num_envs": 16, "mirror": (), "crop": (0, 84, 0, 96)},
        "rollout": {"first": ((10_000, 1_000),), "frames": 1_000_000, "patience": None, "push_rate": 0.0},
        "vision": {
            "network": "ha2018",
            "recon_weight": 1.0,
            "reward_weight": 0.0,
            "kl_tolerance": 0.5,
            "batch": 100,
            "learning_rate": 1e-4,
            "tune_learning_rate": 1e-4,
            "beta2": 0.999,
            "first_images": 10_000_000,
            "tune_images": 1_000_000,
        },
        "memory": {
            "sequence": 999,
            "batch": 100,
            "learning_rate": 1e-3,
            "beta2": 0.999,
            "first_steps": 4_000,
            "steps": 1_000,
            "input_noise": 0.0,
            "reward_smoothing": 0,
            "age_decay": 1.0,
        },
        "dream": {"horizon": 50},
        "controller": {
            "updates": 100,
            "gamma": 0.99,
            "settled_gamma": None,
            "critic": "attention",
            "reward_ceiling": None,
        },
        "evaluate": {"tracks": 100},
    },
}
