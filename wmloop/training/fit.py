"""The resumable training loop that V, M and C share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn
from torch.nn.utils import get_total_norm

from wmloop.commands import command
from wmloop.config import RunConfig
from wmloop.errors import DivergedError, DraftUnusableError, Interrupted, StoreCorruptError
from wmloop.legacy import metrics_now
from wmloop.models.state import load_module, load_optimizer, module_arrays, optimizer_arrays
from wmloop.store import KEPT_SNAPSHOTS
from wmloop.training.context import StageContext

#: Steps over which V's and M's learning rates rise: Adam's first steps are of full size whatever the gradient.
WARMUP_STEPS = 50
_MAX_ROLLBACKS = 3
SMOOTHING = 0.98
Step = Callable[[int], Mapping[str, float]]


def fit(
    ctx: StageContext[RunConfig], modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer | None,
    total: int, learning_rate: Callable[[int], float] | None, step: Step, units_per_step: int = 1, setting: str = "",
    smoothing: float = SMOOTHING, lasting: bool = False,
) -> dict[str, float]:  # fmt: skip
    """Run `step(0) ... step(total - 1)`, resuming from the draft's newest snapshot; return smoothed metrics and `units`.

    A step must depend only on its index and on `modules` and `optimizer`, so that a resumed training continues bit for
    bit. One that takes long may raise Interrupted as long as it has changed neither. A step that raises DivergedError sends
    the training back to its last snapshot (or its start) with half the learning rate, three times at most. `setting` is the one
    that the rate follows, by which to go on where it does. What learns without a gradient has neither optimizer nor learning
    rate, and nothing to halve. A metric is the mean over the steps so far, each of which counts `smoothing` times as much as
    the next: the last alone where that is 0. What is `lasting` is saved at its end, too: what follows in the stage takes long.

    Raises:
        DivergedError: it diverged again after the last rollback, or without an optimizer.
        DraftUnusableError: an earlier attempt at the stage was made with networks of other shapes.
        StorageError: the disk has no room for the snapshots and the result.
        Interrupted: the run is to stop; a snapshot is on disk. Or this is not the first of several ranks, and all is learnt.
    """
    means: dict[str, float] = {}
    parameters = [p.detach() for module in modules.values() for p in module.parameters()]
    start, scale, rollbacks = 0, 1.0, 0

    def pack() -> tuple[dict[str, np.ndarray], dict[str, object]]:
        arrays = {f"{name}.{key}": a for name, m in modules.items() for key, a in module_arrays(m).items()}
        if optimizer is not None:
            arrays |= {f"optimizer.{key}": a for key, a in optimizer_arrays(optimizer).items()}
        return arrays, {"means": means, "scale": scale, "rollbacks": rollbacks}

    # Weights, and Adam's two moments, in the snapshots that are kept and the one being written; and the weights committed.
    size = sum(array.nbytes for array in pack()[0].values())
    if ctx.ranks.first:
        ctx.draft.require_space((1 if optimizer is None else 3) * (KEPT_SNAPSHOTS + 1) * size + size)
    beginning = {} if optimizer is None else {key: array.copy() for key, array in pack()[0].items()}

    def restore(arrays: Mapping[str, np.ndarray]) -> None:
        for name, module in modules.items():
            load_module(module, _below(arrays, name))
        if optimizer is not None:
            optimizer.state.clear()
            load_optimizer(optimizer, _below(arrays, "optimizer"))

    saved = ctx.ranks.agree(lambda: ctx.draft.latest_snapshot())
    if saved is not None:
        start, arrays, state = saved
        try:
            restore(arrays)
        except StoreCorruptError as error:  # another program's, whose networks were others
            raise DraftUnusableError(f"{ctx.draft.name} was begun with other networks: {error}") from error
        means, scale, rollbacks = metrics_now(state["means"]), float(state["scale"]), int(state["rollbacks"])
    ctx.begin(total * units_per_step, start * units_per_step)
    i = start
    while i < total:
        if optimizer is not None and learning_rate is not None:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(i) * scale
        try:
            values = step(i)
            if not torch.isfinite(get_total_norm(parameters)):
                raise DivergedError("a weight is not finite")
        except Interrupted:
            ctx.checkpoint(i, pack)
            raise
        except DivergedError as fault:
            if optimizer is None:
                raise
            if rollbacks == _MAX_ROLLBACKS:
                raise DivergedError(
                    f"{ctx.stage} of iteration {ctx.iteration} diverged at step {i} after {rollbacks} rollbacks: {fault};"
                    f" {_smaller(ctx, setting)}"
                ) from fault
            saved = ctx.ranks.agree(lambda: ctx.draft.latest_snapshot())
            restore(saved[1] if saved else beginning)
            means = metrics_now(saved[2]["means"]) if saved else {}
            rollbacks, scale = rollbacks + 1, scale / 2
            ctx.log(f"{ctx.stage} diverged at step {i} ({fault}); back to step {saved[0] if saved else 0},"
                    f" learning rate halved ({rollbacks} of {_MAX_ROLLBACKS})", "warning")  # fmt: skip
            i = saved[0] if saved else 0
            continue
        i += 1
        newest = weight_of_newest(i, smoothing)
        for name, value in values.items():
            means[name] = (1 - newest) * means[name] + newest * value if name in means else value
        ctx.progress(i * units_per_step, means)
        if i < total:
            ctx.checkpoint(i, pack)
    if not ctx.ranks.first:
        raise Interrupted("what is left of the stage, the first rank does")
    if lasting and start < total:
        ctx.draft.snapshot(total, *pack())
    return means | {"units": float(total * units_per_step)}


def weight_of_newest(steps: int, smoothing: float = SMOOTHING) -> float:
    """Return how much the newest of so many steps counts in a metric: at first all count alike."""
    return (1 - smoothing) / (1 - smoothing**steps)


def _below(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {key[len(name) + 1 :]: array for key, array in arrays.items() if key.startswith(name + ".")}


def _smaller(ctx: StageContext[RunConfig], setting: str) -> str:
    """Return how to go on with a tenth of the learning rate."""
    if not setting:
        return "a smaller learning rate of that stage may help, in a new run or a fork (`wmloop fork`)"
    group, name = setting.split(".")
    change = ("--set", f"{setting}={getattr(getattr(ctx.config, group), name) / 10:g}")
    if not ctx.iteration:
        return f"start a new run with a smaller learning rate (`{' '.join(change)}`)"
    line = command("fork", ctx.draft.run, "--from", str(ctx.iteration - 1), *change)
    return f"`{line}` goes on from the iteration before with a smaller learning rate"
