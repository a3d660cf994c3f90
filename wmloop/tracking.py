"""A run's figures for other programs: `metrics.csv`, a line an iteration, and TensorBoard's files if asked for."""

from __future__ import annotations

import contextlib
import csv
import io
from collections import deque
from typing import Any

import numpy as np

from wmloop.errors import StorageError, UsageError
from wmloop.events import Event, Metrics, Picture, Progress, VersionCommitted
from wmloop.store import Store, atomic

METRICS = "metrics.csv"
_FRAMES = 64  # of a dream on TensorBoard, which are some four seconds


class MetricsTable:
    """Keep `metrics.csv` in a run's folder: a column for each `stage.figure` and each `stage.seconds`.

    It repeats what the versions say, and is written anew from them as a process begins, and whenever an iteration ends.
    """

    def __init__(self, store: Store, last: str) -> None:
        """Take in what the run has done; nothing is written yet. `last` is the stage that ends an iteration."""
        self._path, self._last = store.path / METRICS, last
        self._rows: dict[int, dict[str, float]] = {}
        for version in store.versions():
            self._add(version.iteration, version.stage, dict(version.metrics), version.seconds)

    def report(self, event: Event) -> None:
        """Take in an event; one line more where it ends an iteration."""
        if isinstance(event, VersionCommitted):
            self._add(event.iteration, event.stage, dict(event.metrics), event.seconds)
            if event.stage == self._last:
                self.write()

    def write(self) -> None:
        """Write the table; a disk that refuses stops no run for it."""
        columns = list(dict.fromkeys(name for row in self._rows.values() for name in row))
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["iteration", *columns])
        for iteration, row in sorted(self._rows.items()):
            table.writerow([iteration, *(row.get(name, "") for name in columns)])
        with contextlib.suppress(StorageError):
            atomic.write_file(self._path, text.getvalue().encode())

    def _add(self, iteration: int, stage: str, metrics: dict[str, float], seconds: float) -> None:
        row = self._rows.setdefault(iteration, {})
        row |= {f"{stage}.{name}": value for name, value in {**metrics, "seconds": seconds}.items()}


def require_tensorboard() -> None:
    """Raise UsageError unless tensorboard is installed."""
    try:
        import tensorboard.compat.proto.summary_pb2 as _  # noqa: F401
    except ImportError as error:
        raise UsageError("--track writes TensorBoard's files: pip install 'wmloop[track]'") from error


class TensorBoard:
    """Write a run's figures, reconstructions and dreams to `tensorboard/` in its folder.

    A committed figure is at its iteration; a loss of a stage at work is under `training/`, at thousandths of an iteration.
    Pictures come with the stage that made them, a dream as an animation.
    """

    def __init__(self, store: Store) -> None:
        """Open the files.

        Raises:
            UsageError: tensorboard is not installed.
        """
        require_tensorboard()
        from tensorboard.compat.proto.summary_pb2 import Summary
        from torch.utils.tensorboard import SummaryWriter

        self._summary: Any = Summary
        self._writer = SummaryWriter(str(store.path / "tensorboard"))
        self._pictures: dict[str, deque[np.ndarray]] = {}
        self._share = 0.0

    def report(self, event: Event) -> None:
        """Take in an event."""
        match event:
            case Progress():
                self._share = min(1.0, event.done / event.total) if event.total > 0 else 0.0
            case Metrics():
                self._scalars(
                    f"training/{event.stage}", event.values, 1000 * event.iteration + round(999 * self._share)
                )
            case Picture():
                self._pictures.setdefault(event.kind, deque(maxlen=_FRAMES)).append(event.image)
            case VersionCommitted():
                self._share = 0.0
                self._scalars(event.stage, {**event.metrics, "seconds": event.seconds}, event.iteration)
                self._show(event.iteration)

    def close(self) -> None:
        """Finish the files."""
        self._writer.close()

    def _scalars(self, group: str, values: Any, at: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, at)

    def _show(self, iteration: int) -> None:
        for kind, images in self._pictures.items():
            if kind == "dream":
                self._animate(kind, list(images), iteration)
            else:
                self._writer.add_image(kind, images[-1], iteration, dataformats="HWC")
        self._pictures.clear()

    def _animate(self, kind: str, images: list[np.ndarray], iteration: int) -> None:
        from PIL import Image

        first, *rest = (Image.fromarray(image) for image in images)
        file = io.BytesIO()
        first.save(file, "gif", save_all=True, append_images=rest, duration=80, loop=0)
        height, width = images[0].shape[:2]
        picture = self._summary.Image(height=height, width=width, colorspace=3, encoded_image_string=file.getvalue())
        summary = self._summary(value=[self._summary.Value(tag=kind, image=picture)])
        self._writer._get_file_writer().add_summary(summary, iteration)
