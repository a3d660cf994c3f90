"""The tables of stages: a system of the field is one such table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wmloop.stages import controller, evaluate, memory, rollout, vision
from wmloop.training.context import StageContext


@dataclass(frozen=True)
class Stage:
    """One row of the table: what a stage does, and the versions it reads.

    `needs` names stages of this iteration, `carries` stages of the one before (warm start), and `carries_accepted` stages
    of the newest iteration that reality has not rejected: a change that made the score clearly worse is not built upon.
    """

    name: str
    run: Callable[[StageContext], dict[str, float]]
    needs: tuple[str, ...] = ()
    carries: tuple[str, ...] = ()
    carries_accepted: tuple[str, ...] = ()


#: The mission: Learning to Think's loop with C trained by PPO inside M.
WORLD_MODEL = (
    Stage("rollout", rollout.run, carries=("vision", "memory", "controller")),
    Stage("vision", vision.run, needs=("rollout",), carries=("vision",)),
    Stage("memory", memory.run, needs=("rollout", "vision"), carries=("memory",)),
    Stage(
        "controller",
        controller.run,
        needs=("vision", "memory"),
        carries=("evaluate",),
        carries_accepted=("controller",),
    ),
    Stage("evaluate", evaluate.run, needs=("vision", "memory", "controller")),
)
