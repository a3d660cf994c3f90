"""Presets, named sizes of a run, and profiles, what is known of an environment: what each changes against the defaults."""

from __future__ import annotations

from typing import Any

#: What was found to be right for an environment, by the last part of its id; the defaults suppose nothing about any.
PROFILES: dict[str, dict[str, Any]] = {
    "CarRacing-v3": {
        "budget": {"goal": 905.0},  # so that the next hundred tracks have 900 too
        "env": {
            "action_repeat": 4,
            "mirror": (0,),
            "episode_frames": 1000,
            # steer, gas, brake: gentle steering, a gas bias, almost no brake; white noise would creep
            "driving": {
                "mean": ((0.0, 0.0), (0.05, 0.4), (-0.3, -0.1)),
                "scale": ((0.05, 0.35), (0.05, 0.2), (0.05, 0.2)),
                "boost": (0.0, 0.5, 0.0),
                "boost_decisions": 12,
            },
        },
        "rollout": {"first": ((64, 50), (48, 80), (16, 150)), "frames": 32_000, "patience": 30, "push_rate": 0.03},
        "memory": {"reward_scale": 5.0, "reward_floor": -10.0, "reward_smoothing": 1},
        "dream": {"horizon": 12, "temperature": 1.15, "warmup": 4},
        "controller": {"settled_gamma": 0.95, "reward_ceiling": 5.0},
    },
}


def profile(environment: str) -> dict[str, Any]:
    """Return the profile of an environment's id, whatever module registers it; nothing where there is none."""
    return PROFILES.get(environment.rpartition(":")[2], {})


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
