"""Figures for other programs: metrics.csv and TensorBoard's files say what the versions say."""

import csv
import io
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from wmloop.errors import StorageError, UsageError
from wmloop.events import Picture, VersionCommitted
from wmloop.store import Store, atomic
from wmloop.tracking import METRICS, MetricsTable, TensorBoard


def read(store):
    return list(csv.DictReader(io.StringIO((store.path / METRICS).read_text())))


def expected(store):
    """Return what the versions say, by iteration and column."""
    rows = {}
    for v in store.versions():
        row = rows.setdefault(v.iteration, {})
        row |= {f"{v.stage}.{name}": value for name, value in {**v.metrics, "seconds": v.seconds}.items()}
    return rows


def check(store):
    rows = read(store)
    wanted = expected(store)
    assert [int(row["iteration"]) for row in rows] == sorted(wanted)
    for row in rows:
        told = {name: float(value) for name, value in row.items() if value and name != "iteration"}
        assert told == pytest.approx(wanted[int(row["iteration"])], rel=1e-3, abs=0.06)  # seconds are stored rounded


@pytest.fixture(scope="module")
def tracked(twice, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracked") / "tiny"
    shutil.copytree(twice.runs / "tiny", folder)
    return Store.open(folder)


def test_the_table_says_what_the_versions_say_also_after_a_resume(finished, twice):
    for runs, rows in ((finished.runs, 1), (twice.runs, 2)):
        store = Store.open(runs / "tiny")
        assert len(read(store)) == rows
        check(store)
        assert store.verify() == []


def test_a_table_that_was_lost_is_written_again(tracked):
    (tracked.path / METRICS).unlink()
    MetricsTable(tracked, "evaluate").write()
    check(tracked)


def test_a_disk_that_refuses_the_table_stops_nothing(tracked, monkeypatch):
    def refuse(path, data):
        raise StorageError("no space left")

    monkeypatch.setattr(atomic, "write_file", refuse)
    MetricsTable(tracked, "evaluate").report(VersionCommitted(5, "evaluate", {"score": 1.0}, 10, 1.0))


def test_tensorboard_has_the_figures_and_the_pictures(tracked):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tracked.path / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()
    evaluation = tracked.version(0, "evaluate")
    (score,) = events.Scalars("evaluate/score")
    assert (score.step, score.value) == (0, pytest.approx(evaluation.metrics["score"], rel=1e-4))
    assert any(tag.startswith("training/memory/") for tag in tags["scalars"])
    assert {"real", "reconstruction", "dream"} <= set(tags["images"])


def test_a_dream_moves(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    store = Store.create(tmp_path, "tiny", "", {})
    board = TensorBoard(store)
    for shade in range(100):
        board.report(Picture(0, "controller", "dream", np.full((64, 64, 3), 2 * shade, np.uint8)))
    board.report(VersionCommitted(0, "controller", {}, 10, 1.0))
    board.close()
    events = EventAccumulator(str(store.path / "tensorboard"))
    events.Reload()
    (picture,) = events.Images("dream")
    moving = Image.open(io.BytesIO(picture.encoded_image_string))
    assert (moving.size, moving.n_frames) == ((64, 64), 64)
    moving.seek(63)
    assert np.asarray(moving.convert("RGB")).mean() == pytest.approx(198, abs=3)


def test_without_tensorboard_the_extra_is_named_and_there_is_no_loss(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.summary_pb2", None)
    with pytest.raises(UsageError, match=r"pip install 'wmloop\[track\]'"):
        TensorBoard(Store.create(tmp_path, "tiny", "", {}))
