"""What is typed and what is printed: seeds, paths, folders and files to write, films, the commands that messages name."""

import errno
import os
import re
import shlex
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_cli import wmloop
from wmloop.cli import completion
from wmloop.cli.options import in_words
from wmloop.cli.report import joint_name
from wmloop.config import build_config
from wmloop.config.text import to_toml
from wmloop.display.places import open_showing
from wmloop.display.video import Video
from wmloop.errors import StorageError, UsageError
from wmloop.history import History
from wmloop.opening import DEMO
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.seeding import EPISODES_A_SEED, LAST_SEED, confirmation_seeds, evaluation_seeds, fresh_seeds
from wmloop.serving.choice import choose
from wmloop.store import Store


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("WMLOOP_RUNS", raising=False)


def given_demo(root, *names):
    """Put the agent that comes with wmloop into `root` under other names."""
    root.mkdir(exist_ok=True)
    for name in names:
        shutil.copytree(DEMO, root / name)
    return root


def refused(done, code, *words):
    """Check that a command ended in one line of an error."""
    assert done.exit_code == code, done.output
    said = done.stderr.strip().splitlines()[-1]
    assert said.lower().startswith("error: "), done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in said
    return said


# ---- seeds


@pytest.mark.parametrize(("seed", "first"), [(0, 1075741824), (1, 1075841824), (7, 1076441824), (9_999, 2075641824)])
def test_seeds_below_ten_thousand_mean_the_tracks_they_always_meant(seed, first):
    assert fresh_seeds(3, seed) == [first, first + 1, first + 2]


@given(st.integers(0, LAST_SEED), st.integers(0, LAST_SEED))
def test_no_two_seeds_share_a_track(one, other):
    first, second = (range(fresh_seeds(1, seed)[0], fresh_seeds(1, seed)[0] + EPISODES_A_SEED) for seed in (one, other))
    assert one == other or max(first[0], second[0]) > min(first[-1], second[-1])


def test_a_seed_beyond_ten_thousand_is_not_one_that_was_there_before():
    assert not set(fresh_seeds(EPISODES_A_SEED, 10_003)) & set(fresh_seeds(EPISODES_A_SEED, 3))


def test_the_largest_seed_is_the_last_whose_tracks_are_numbers_of_64_bits():
    assert fresh_seeds(EPISODES_A_SEED, LAST_SEED)[-1] < 2**63 <= fresh_seeds(1, LAST_SEED)[0] + 2 * EPISODES_A_SEED - 1


def test_more_tracks_than_a_run_may_ask_for_would_be_needed_to_meet_those_of_another_kind():
    most = 1_000_000
    for name, least in (("episodes", 1), ("confirm_episodes", 2)):
        with pytest.raises(UsageError, match=f"from {least} to 1,000,000"):
            build_config("smoke", {"evaluate": {name: most + 1}})
    assert evaluation_seeds(most)[-1] < confirmation_seeds(1)[0]
    assert confirmation_seeds(most)[-1] < fresh_seeds(1, 0)[0]


@pytest.mark.parametrize("command", ["eval", "play", "report"])
def test_a_seed_that_is_too_large_is_refused_everywhere(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = ["--to", "x.mp4"] if command == "play" else []
    done = wmloop(command, "demo", "--seed", LAST_SEED + 1, *where)
    assert done.exit_code == 2
    assert str(LAST_SEED) in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("command", "option"), [("eval", "--episodes"), ("play", "--episodes")])
def test_more_tracks_than_a_seed_has_are_refused_everywhere(command, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = ["--to", "x.mp4"] if command == "play" else []
    done = wmloop(command, "demo", option, EPISODES_A_SEED + 1, *where)
    assert done.exit_code == 2
    assert re.search(r"100,?000", done.stderr)
    assert list(tmp_path.iterdir()) == []


# ---- options


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Input should be a valid integer, unable to parse string as an integer", "it takes a whole number"),
        ("Input should be a valid number, unable to parse string as a number", "it takes a number"),
        ("Input should be greater than or equal to 1", "it takes numbers from 1 on"),
        ("Input should be less than or equal to 9", "it takes numbers up to 9"),
        ("Value error, 'x' is not one of 'auto', 'cpu'.", "'x' is not one of 'auto', 'cpu'."),
        ("there is no home folder for '~x'", "there is no home folder for '~x'"),
    ],
)
def test_what_a_validator_says_of_an_option_is_said_in_plain_words(said, words):
    assert in_words(said) == words


def test_a_tilde_that_the_shell_left_alone_is_the_home_folder(tmp_path, monkeypatch):
    given_demo(tmp_path / "runs", "mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "mine" in wmloop("runs", "--runs=~/runs").output
    monkeypatch.setenv("WMLOOP_RUNS", "~/runs")
    assert "mine" in wmloop("runs").output
    assert completion.run_names(SimpleNamespace(params={}), "m") == ["mine"]
    assert completion.run_names(SimpleNamespace(params={"runs": tmp_path / "none"}), "") == ["demo"]
    assert wmloop("export", "mine", "--to=~/agent.safetensors").exit_code == 0
    assert (tmp_path / "agent.safetensors").exists()
    assert wmloop("import", "~/agent.safetensors", "given").exit_code == 0
    assert (tmp_path / "runs" / "given").is_dir()


def test_a_home_that_is_not_there_is_refused():
    done = wmloop("runs", "--runs=~nobody-of-this-name/runs")
    assert done.exit_code == 2
    assert "no home folder for '~nobody-of-this-name'" in done.stderr


# ---- commands that are printed


def test_an_imported_agent_is_said_to_be_played_and_scored_by_commands_that_can_be_pasted(tmp_path):
    assert wmloop("export", "demo", "--to", tmp_path / "agent.safetensors").exit_code == 0
    runs = tmp_path / "my runs; here"
    done = wmloop("import", tmp_path / "agent.safetensors", "given", runs=runs)
    for verb in ("play", "eval"):
        words = shlex.split(re.search(rf"^  (wmloop {verb} .*)$", done.stderr, re.M)[1], comments=True)
        assert words[:3] == ["wmloop", verb, "given"]
        assert words[-2:] == ["--runs", str(runs)]


def test_an_agent_that_is_not_there_yet_is_said_to_come_by_a_command_that_can_be_pasted(tmp_path):
    store = Store.create(tmp_path / "a b", "new", to_toml(build_config("smoke")), {})
    with pytest.raises(UsageError) as refusal:
        choose(History(store, WORLD_MODEL), None)
    line = re.search("`(.*)`", str(refusal.value)).group(1)
    assert shlex.split(line) == ["wmloop", "resume", "new", "--runs", str(tmp_path / "a b")]


# ---- what is to be written


def read_only(*_, **__):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def never(*_, **__):
    raise AssertionError("work was begun")


@pytest.fixture
def no_work(monkeypatch):
    """Let nothing be driven or read."""
    import wmloop.bundle
    import wmloop.report

    monkeypatch.setattr(wmloop.report, "look", never)
    monkeypatch.setattr(wmloop.bundle, "write", never)


def test_an_agent_is_not_exported_where_no_file_can_be(tmp_path, monkeypatch, no_work):
    said = refused(wmloop("export", "demo", "--to", tmp_path / "no" / "x.safetensors"), 2, "there is no folder")
    assert "--to FILE.safetensors" in said
    (tmp_path / "file").touch()
    refused(wmloop("export", "demo", "--to", tmp_path / "file" / "x.safetensors"), 2, "there is no folder")
    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    refused(
        wmloop("export", "demo", "--to", tmp_path / "x.safetensors"), 74, str(tmp_path / "x.safetensors"), "Read-only"
    )


def test_a_file_to_import_that_is_a_folder_is_refused(tmp_path):
    refused(wmloop("import", tmp_path, "x", runs=tmp_path), 2, "is a folder")
    refused(wmloop("import", tmp_path / "no", "x", runs=tmp_path), 2, "there is no file")


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_driven(tmp_path, monkeypatch, no_work):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    refused(wmloop("report", "demo", "--to", "file"), 2, "file is not a folder", "--to DIR")
    refused(wmloop("report", "demo", "--to", "file/below"), 74, "Not a directory", "--to DIR")
    refused(wmloop("report", "demo", "--to", "n" * 300), 74, "name too long", "--to DIR")
    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    refused(wmloop("report", "demo"), 74, str(tmp_path / "demo-report.html"), "Read-only", "--to DIR")


def test_a_report_of_what_has_no_agent_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Store.create(tmp_path / "runs", "new", to_toml(build_config("smoke")), {})
    refused(wmloop("report", "new"), 2, "wmloop resume new")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    (tmp_path / "kept").mkdir()
    refused(wmloop("report", "new", "--to", "kept"), 2)
    assert (tmp_path / "kept").is_dir()


LONG = [f"{'a-rather-long-name-of-a-run-that-somebody-chose-with-care':x<58}{i:06d}" for i in range(12)]


def test_a_dozen_runs_of_long_names_are_compared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in LONG:
        Store.create(tmp_path / "runs", name, to_toml(build_config("smoke")), {})
    done = wmloop("report", *LONG)
    assert done.exit_code == 0, done.output
    page = (tmp_path / done.stdout.strip()).read_text()
    assert all(name in page for name in LONG)


@given(st.lists(st.text("abc", min_size=1, max_size=64), min_size=1, max_size=40))
def test_a_folder_for_several_runs_has_a_name_that_fits(names):
    assert len(joint_name(names) + "-report") <= 200
    assert joint_name(names).startswith(names[0])
    assert len("-".join(names)) > 150 or joint_name(names) == "-".join(names)


def test_a_report_names_its_commands_whole_also_where_a_path_is_no_utf_8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given_demo(tmp_path / "some where", "one", "two")
    assert wmloop("report", "one", "two", "--to", "plain", runs=tmp_path / "some where").exit_code == 0
    place = shlex.quote(str(tmp_path / "some where")).replace("'", "&#x27;")
    assert f"wmloop eval two --episodes 100 --runs {place}\n" in (tmp_path / "plain" / "report.html").read_text()
    odd = tmp_path / os.fsdecode(b"r\xff")
    try:
        (tmp_path / "some where").rename(odd)
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    done = wmloop("report", "one", "two", "--to", "odd", runs=odd)
    assert done.exit_code == 0, done.output
    assert "r?&#x27;\n" in (tmp_path / "odd" / "report.html").read_text()


# ---- films

GREY = np.full((40, 60, 3), 90, np.uint8)


def film(path, fps, picture=GREY, count=10):
    """Return a film's frames and the seconds from the first to the last."""
    av = pytest.importorskip("av")
    video = open_showing(Path(path), fps)
    for _ in range(count):
        video.show(picture, "caption")
    video.close()
    with Path(path).open("rb") as file, av.open(file) as container:
        frames = list(container.decode(video=0))
    return frames, float(frames[-1].time - frames[0].time)


@pytest.mark.parametrize(
    "name",
    ["frame%d.mp4", "%03d.gif", "file:x.mp4", "a: b's.mp4", "-x.mp4", "LOUD.MP4", "Loud.Gif", "pipe:1.mp4",
     os.fsdecode(b"r\xff.mp4")],
)  # fmt: skip
def test_a_film_may_have_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    try:
        Path(name).touch()
    except OSError:
        pytest.skip("this file system has no such names")
    assert len(film(name, 12.5)[0]) == 10
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["x.mp4", "x.gif"])
@pytest.mark.parametrize("fps", [1e-3, 29.97, 60, 100, 119.88, 240, 1000, 1e7])
def test_a_film_takes_as_long_as_what_it_shows_at_any_pace(tmp_path, name, fps):
    frames, seconds = film(tmp_path / name, fps, count=41)
    every = max(1, int(np.ceil(fps / (50 if name == "x.gif" else 100))))
    assert len(frames) == 1 + 40 // every
    assert seconds == pytest.approx((len(frames) - 1) * every / max(fps, 0.1), abs=0.03)


@pytest.mark.parametrize("name", ["x.mp4", "x.gif"])
@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 7), (41, 61), (1, 5000), (5000, 3), (17, 16)], ids=lambda shape: f"{shape[0]}x{shape[1]}"
)
def test_pictures_of_any_size_are_filmed(tmp_path, name, shape):
    frames, _ = film(tmp_path / name, 10, np.full((*shape, 3), 90, np.uint8), 3)
    assert len(frames) == 3
    assert frames[0].width % 2 == frames[0].height % 2 == 0
    assert 16 <= frames[0].width <= 4096
    assert 16 <= frames[0].height <= 4096


def without_encoders(monkeypatch, *names):
    """Let PyAV be one that was built without some encoders."""
    import av

    codec = av.codec.Codec

    def found(name, mode):
        return codec("nonesuch" if name in names else name, mode)

    monkeypatch.setattr(av.codec, "Codec", found)


def test_without_x264_another_encoder_writes_the_film(tmp_path, monkeypatch):
    av = pytest.importorskip("av")
    without_encoders(monkeypatch, "libx264", "libopenh264")
    for fps in (12.5, 29.97, 119.88):
        frames, _ = film(tmp_path / "x.mp4", fps)
        assert frames[-1].to_ndarray(format="rgb24").mean() == pytest.approx(90, abs=6)
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


def test_without_any_encoder_that_is_said_at_once_and_no_file_is_made(tmp_path, monkeypatch):
    pytest.importorskip("av")
    without_encoders(monkeypatch, "libx264", "libopenh264", "mpeg4")
    with pytest.raises(UsageError, match=r"no encoder for \.mp4 \(libx264, libopenh264, mpeg4\).*\.gif may do"):
        open_showing(tmp_path / "x.mp4", 10)
    assert list(tmp_path.iterdir()) == []


def test_a_film_stays_what_it_was_until_there_is_a_picture_of_another(tmp_path):
    film(tmp_path / "x.mp4", 10, count=50)
    before = (tmp_path / "x.mp4").read_bytes()
    video = Video(tmp_path / "x.mp4", 10)
    video.close()
    assert (tmp_path / "x.mp4").read_bytes() == before
    assert len(film(tmp_path / "x.mp4", 10, count=2)[0]) == 2
    assert (tmp_path / "x.mp4").stat().st_size < len(before)
    Video(tmp_path / "new.mp4", 10).close()
    assert not (tmp_path / "new.mp4").exists()


def test_a_film_that_cannot_be_there_is_refused_at_once(tmp_path, monkeypatch):
    pytest.importorskip("av")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UsageError, match=r"folder\.mp4'.*it is a folder"):
        Video(tmp_path / "folder.mp4", 10)
    with pytest.raises(UsageError, match="there is no folder"):
        Video(tmp_path / "no" / "x.mp4", 10)
    with pytest.raises(StorageError, match="name too long"):
        Video(tmp_path / f"{'n' * 300}.mp4", 10)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mp4")
        with pytest.raises(UsageError, match="it is no file"):
            Video(tmp_path / "pipe.mp4", 10)
    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(StorageError, match=r"x\.mp4: Read-only file system; choose another place"):
        Video(tmp_path / "x.mp4", 10)


def test_a_film_for_which_the_disk_has_no_room_is_named(tmp_path, monkeypatch):
    pytest.importorskip("av")
    fdopen = os.fdopen

    def full(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(fd, mode):
        fdopen(fd, mode).close()
        return SimpleNamespace(write=full, seek=lambda *_: 0, tell=lambda: 0, truncate=lambda _: 0, close=lambda: None)

    monkeypatch.setattr(os, "fdopen", opened)
    video = Video(tmp_path / "x.mp4", 10)
    video.show(GREY, "")  # the encoder holds it back
    with pytest.raises(StorageError, match=r"x\.mp4: No space left on device"):
        video.close()


def test_a_film_may_be_asked_for_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for option in ("--to=~/none/x.mp4", "--render=~/none/x.mp4"):
        refused(wmloop("play", "demo", option), 2, f"no folder '{tmp_path / 'none'}'")
    assert (
        "no home folder for '~nobody-of-this-name'" in wmloop("play", "demo", "--to=~nobody-of-this-name/x.mp4").stderr
    )
    refused(wmloop("play", "demo", "--render=~nobody-of-this-name/x.mp4"), 2, "no folder '~nobody-of-this-name'")


def test_what_was_taken_for_something_else_is_told_what_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent.safetensors").touch()
    refused = wmloop("log", "agent.safetensors", runs=tmp_path / "runs")
    assert (refused.exit_code, "wmloop import agent.safetensors" in refused.stderr) == (2, True)
    (tmp_path / "two.toml").write_text('seeds = [1]\nframes = 9\n[[row]]\nname = "a"\n')
    refused = wmloop("start", "x", "--config", "two.toml", runs=tmp_path / "runs")
    assert (refused.exit_code, "is the file of a study: `wmloop study two.toml`" in refused.stderr) == (2, True)
    refused = wmloop("study", "two.toml", "--slurm", "time=3", "--page-only", runs=tmp_path / "runs")
    assert (refused.exit_code, "only --on slurm" in refused.stderr) == (2, True)
