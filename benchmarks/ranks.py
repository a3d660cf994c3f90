"""What several ranks make of a training: its first gradients, and the losses of its steps, beside those of one process.

    python -m benchmarks.ranks RUN [--ranks 1 2 4] [--steps 100] [--json FILE]

learns iteration 0 of a finished run again, from what this has stored, with each number of ranks (one without torchrun). The
run stays as it is. A row tells of a stage how far its first gradient, relative to its size, and its losses, relative to their
mean, are from those of the first number of ranks. The exit status is 1 where that is more than 1e-5, or 1%.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.optim.optimizer import register_optimizer_step_pre_hook

from wmloop.config import RunConfig, with_settings
from wmloop.device import resolve_device, resolve_threads, set_up
from wmloop.errors import Interrupted
from wmloop.loop import inputs
from wmloop.opening import history_of, pipeline_of, stored_config
from wmloop.pipelines import Stage
from wmloop.ranks import Group, joined
from wmloop.store import Draft, Store
from wmloop.training.context import StageContext
from wmloop.training.fit import weight_of_newest

#: Figures that are no losses, or near zero by their nature: of these no relative distance tells anything.
_PASSED_OVER = {"pg_loss", "approx_kl", "clipfrac", "ref_kl", "explained_variance", "policy_epochs", "dream_return"}
Found = Mapping[str, np.ndarray]


def main() -> int:
    """Compare, and print a table; or, as one of the ranks, learn."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranks", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.into:
        learn(options.run, options.steps, options.into)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = [launched(options.run, options.steps, size, Path(folder)) for size in options.ranks]
    rows = [
        {"ranks": size, **row}
        for size, other in zip(options.ranks[1:], found[1:], strict=True)
        for row in compared(found[0], other)
    ]
    table = Table("ranks", "stage", "steps", "first gradient", "losses", "of", box=None, header_style="bold")
    for row in rows:
        table.add_row(
            str(row["ranks"]),
            row["stage"],
            str(row["steps"]),
            f"{row['gradient']:.1e}",
            f"{row['losses']:.2%}",
            row["of"],
        )
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return int(any(row["gradient"] > 1e-5 or row["losses"] > 0.01 for row in rows))


def launched(run: Path, steps: int, size: int, folder: Path) -> Found:
    """Return what so many ranks have found."""
    into = folder / f"{size}.npz"
    many = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"] if size > 1 else []
    ours = ["-m", "benchmarks.ranks", str(run.absolute()), "--steps", str(steps), "--into", str(into)]
    subprocess.run([sys.executable, *many, *ours], check=True, cwd=Path(__file__).parent.parent, env=os.environ)
    with np.load(into) as file:
        return dict(file)


def compared(one: Found, other: Found) -> list[dict[str, Any]]:
    """Return for each stage how far two findings are apart: gradients, and the losses of which that is most."""
    rows = []
    for stage in [name.partition("/")[0] for name in one if name.endswith("/gradient")]:
        gradient, theirs = one[f"{stage}/gradient"], other[f"{stage}/gradient"]
        losses = {
            name.partition("/")[2]: float(np.abs(one[name] - other[name]).max() / np.abs(one[name]).mean())
            for name in one
            if name.startswith(f"{stage}/")
            and name.partition("/")[2] not in {"gradient", *_PASSED_OVER}
            and one[name].any()
        }
        worst = max(losses, key=lambda name: losses[name])
        apart = float(np.linalg.norm(gradient - theirs) / np.linalg.norm(gradient))
        steps = len(one[f"{stage}/{worst}"])
        rows.append({"stage": stage, "steps": steps, "gradient": apart, "losses": losses[worst], "of": worst})
    return rows


class _Listening(StageContext[RunConfig]):
    """A context that keeps the smoothed figures of every step."""

    def progress(self, done: int, metrics: Mapping[str, float] | None = None) -> None:
        if metrics:
            self.__dict__.setdefault("heard", []).append(dict(metrics))


class _Nowhere:
    """A draft that keeps nothing: the stage ends where it would save what it has learnt."""

    def __getattr__(self, name: str) -> Any:
        if name in ("require_space", "latest_snapshot", "snapshot"):
            return lambda *_: None
        raise Interrupted("all is learnt")


def learn(run: Path, steps: int, into: Path) -> None:
    """Learn each stage of iteration 0 again for about so many gradient steps, as one of the ranks; the first writes a file."""
    store = Store.open(run)
    stored = stored_config(store)
    size, ranks = resolve_threads(0), joined()
    config = _shortened(with_settings(stored, {"precision": "fp32", "device": resolve_device(stored.device)}), steps)
    device = set_up(config.device, size, config.precision)
    ranks.prepare(device)
    work = ranks.work(lambda: False) if isinstance(ranks, Group) and not ranks.first else iter(())
    if ranks.first:
        ranks.announce({})
    else:
        next(work)
    found: dict[str, np.ndarray] = {}
    for stage in pipeline_of(config).stages:
        if stage.data_parallel:
            found |= _learnt(store, config, stage, device, ranks)
    if ranks.first:
        np.savez(into, **found)  # type: ignore[arg-type]  # names are those of arrays
        ranks.dismiss()
    else:
        next(work, None)  # a rank that ends while another is inside the last sum would end that one, too


def _shortened(config: RunConfig, steps: int) -> RunConfig:
    settings: Any = config
    layer = {"vision": {"initial_images": steps * settings.vision.batch_size}, "memory": {"initial_steps": steps}}
    if hasattr(config, "controller"):
        learning, dreams = settings.controller, settings.dream.num_dreams * settings.dream.horizon
        an_update = learning.update_epochs * max(1, round(dreams / learning.minibatch_size))
        layer["controller"] = {"initial_updates": max(1, -(-steps // an_update))}
    return with_settings(config, layer)


def _learnt(store: Store, config: RunConfig, stage: Stage, device: torch.device, ranks: Any) -> dict[str, np.ndarray]:
    history = history_of(store, config)
    context = _Listening(
        config, history.pipeline, 0, stage.name, stage.unit, device, lambda: history.collected(1), lambda: [],
        cast(Draft, _Nowhere()), lambda event: None, lambda: False, ranks,
    )  # fmt: skip
    gradients: list[torch.Tensor] = []

    def before(optimizer: torch.optim.Optimizer, *_: object) -> None:
        if not gradients:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            gradients.append(torch.cat([p.grad.flatten().cpu() for p in parameters if p.grad is not None]))

    hook = register_optimizer_step_pre_hook(before)
    needs, carries = inputs(history, stage, 0)
    try:
        stage.run(context, **needs, **carries)
    except Interrupted:
        pass
    finally:
        hook.remove()
    return {f"{stage.name}/{name}": array for name, array in figures(gradients, getattr(context, "heard", [])).items()}


def figures(gradients: Sequence[torch.Tensor], heard: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """Return the first gradient, and of each figure every step's value: what was heard are training.fit's means."""
    if not gradients:  # V learns nothing of vectors
        return {}
    means = {name: np.array([one[name] for one in heard]) for name in heard[0]}
    newest = np.array([weight_of_newest(step) for step in range(1, len(heard) + 1)])
    steps = {name: np.diff(mean, prepend=mean[0]) / newest for name, mean in means.items()}
    before = {name: np.concatenate([mean[:1], mean[:-1]]) for name, mean in means.items()}
    return {"gradient": gradients[0].numpy(), **{name: before[name] + steps[name] for name in means}}


if __name__ == "__main__":
    sys.exit(main())
