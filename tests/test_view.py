"""What people see: states from events, screens from states, lines from events."""

import functools
import io
import json
import math
import os
import pty
import re
import select
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from wmloop.display.frames import fit, half_blocks, size_within
from wmloop.events import (
    Message,
    Metrics,
    Picture,
    Progress,
    Resources,
    RunFinished,
    RunStarted,
    Snapshot,
    StageStarted,
    Track,
    VersionCommitted,
    to_record,
)
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.view import open_view
from wmloop.view.lines import LineView, Throttle, json_line, plain, timed
from wmloop.view.rows import Span, beside, cut, row_width, spread, wrapped
from wmloop.view.screen import render
from wmloop.view.state import BINS, ViewState, recall, reduce
from wmloop.view.summary import summary
from wmloop.view.words import figure, headline, number, size, span, sparkline, tenths

STAGES = ("rollout", "vision", "memory", "controller", "evaluate")
PICTURE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
ESCAPE = "\x1b"
FORESIGHT = {"open_loop_correlation": 0.84, "open_loop_bias": -0.12}


def past(iterations=4):
    """Return the commits of whole iterations whose scores were -32, 215, 612 and 540."""
    events = []
    for i in range(iterations):
        score = {
            "score": (-32.0, 215.0, 612.0, 540.0)[i],
            "score_std": 40.0,
            "predicted_return": 200.0 + 150 * i,
            "return_gap": 0.2 - 0.1 * i,
        }
        events += [
            VersionCommitted(i, "rollout", {"frames": 16000.0, "score": 40.0 * i, **FORESIGHT}, 7_000_000, 38.2),
            VersionCommitted(i, "vision", {"recon_loss": 61.0, "kl_loss": 62.0}, 1_700_000, 45.0),
            VersionCommitted(i, "memory", {"nll": 38.6}, 1_700_000, 62.0),
            VersionCommitted(i, "controller", {"dream_return": 120.0}, 400_000, 70.0),
            VersionCommitted(i, "evaluate", score, 4000, 33.0),
        ]
    return events


def training():
    """Return the events of a process that took up iteration 4 and trains M in it."""
    yield RunStarted("brave-run", 4, 12, 900.0, "cpu", True, 8.0)
    yield StageStarted(4, "rollout", 16000, "frames")
    yield Progress(4, "rollout", 16000, 16000, "frames", 980.0)
    yield VersionCommitted(4, "rollout", {"frames": 16000.0, "score": 512.3}, 7_000_000, 38.2)
    yield StageStarted(4, "vision", 12000, "images")
    yield Progress(4, "vision", 12000, 12000, "images", 410.0)
    yield VersionCommitted(4, "vision", {"recon_loss": 31.2}, 1_700_000, 31.0)
    yield StageStarted(4, "memory", 600_000, "sequence-steps")
    for i in range(1, 61):
        yield Progress(4, "memory", i * 6200, 600_000, "sequence-steps", 31_200.0)
        yield Metrics(4, "memory", {"nll": 38.6 - i / 6, "reward_loss": 0.08 / i, "terminated_loss": 0.02})
    yield Snapshot(4, "memory", 300_000)
    for kind in ("real", "reconstruction", "dream"):
        yield Picture(4, "memory", kind, PICTURE)


def after(events, state=None, now=100.0):
    state = ViewState(WORLD_MODEL) if state is None else state
    for event in events:
        state = reduce(state, event, now)
    return state


def at_work():
    return after(training(), recall(ViewState(WORLD_MODEL), past(), 0.0))


def tracks(numbers, actions, values=1.0):
    """Return an episode and a dream of so many numbers."""
    for kind, steps in (("real", 200), ("dream", 25)):
        yield Track(
            4, "controller", kind, np.full((steps + 1, numbers), values, np.float32), np.zeros((steps, *actions))
        )


STATES = {
    "nothing yet": ViewState(WORLD_MODEL),
    "just started": after([RunStarted("brave-run", 0, 12, 900.0, "cpu", False)]),
    "driving": after(list(training())[:2]),
    "training": at_work(),
    "warned": after(
        [Message("M predicts a return of 1200, more than that of the best real episode (900)", "warning")],
        at_work(),
    ),
    "not yet scored": after(list(training())[:8]),
    "finished": after([RunFinished("brave-run", "goal", 2, 612.0)], at_work()),
    "a very long name": after([RunStarted("n" * 64, 0, 12, 900.0, "cuda", False)]),
    "vectors": after(tracks(4, ()), after(list(training())[:8])),
    "vectors beside pictures": after(tracks(2, (3,)), at_work()),
    "more numbers than fit": after(tracks(400, (17,)), at_work()),
    "actions beside pictures": after(tracks(0, ()), at_work()),
    "dreams that are none": after(tracks(3, (1,), math.nan), at_work()),
    "numbers that are none": after(
        [Metrics(4, "memory", {"nll": math.nan}), VersionCommitted(4, "evaluate", {"score": 1.0}, 0, 1.0)], at_work()
    ),
}


def drawn(state, width, height, now=131.0, paint=None, notice=""):
    """Return the screen's lines as a terminal of that width is sent them, pictures replaced by what they cover."""
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None, force_terminal=False)
    console.print(render(state, width, height, now, paint, notice, "Ctrl-C saves and stops"), end="")
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 60, 80, 120, 200])
@pytest.mark.parametrize("height", [8, 24, 40])
@pytest.mark.parametrize("name", STATES)
def test_no_state_leaves_the_screen_at_any_size(name, width, height):
    for paint in (None, lambda image, rows, columns: half_blocks(image, rows, columns)):
        lines = drawn(STATES[name], width, height, paint=paint)
        assert len(lines) == height
        assert [cell_len(line) for line in lines] == [width] * height


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_screen_tells_all_that_matters(width):
    text = "\n".join(drawn(at_work(), width, 24))
    for wanted in (
        "brave-run", "cpu", "iteration 4 (5 of 12)", "goal 900", "8 h at most", "best 612 (iteration 2)",
        "rollout", "vision", "memory", "controller", "evaluate", "explore 512", "recon 31.2", "38 s", "62%",
        "31.2k sequence-steps/s", "7.3 s left", "nll", "28.6", "score", "540", "M 650", "snapshot",
        "committed 0004/vision",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert re.search(r"✓ ?rollout", text)
    assert re.search(r"● ?memory", text)
    assert re.search(r"○ ?controller", text)


def test_the_best_evaluation_is_marked_and_it_alone():
    rows = [line for line in drawn(at_work(), 80, 24) if "best" in line and "M 500" in line]
    assert len(rows) == 1
    assert "612" in rows[0]


def test_the_screen_marks_the_version_that_is_served():
    lucky = VersionCommitted(4, "evaluate", {"score": 640.0, "score_se": 40.0, "return_gap": 0.2}, 0, 1.0)
    assert after([lucky], at_work()).best.iteration == 2
    sure = VersionCommitted(
        4, "evaluate", {"score": 640.0, "confirmed_score": 620.0, "confirmed_score_se": 5.0}, 0, 1.0
    )
    assert after([sure], at_work()).best.iteration == 4


def test_the_gap_and_ms_foresight_are_on_the_screen():
    text = "\n".join(drawn(at_work(), 80, 30))
    assert "-10%" in text
    assert "open loop: corr. 0.84, bias -12%" in text


def test_memory_and_disk_are_on_the_screen_and_in_the_lines_now_and_then():
    event = Resources(1_230_000_000, 81_000_000_000)
    for width in (80, 120):  # beside the last commit, or below it where that is long
        assert "RAM 1.2 GB · disk free 81.0 GB" in "\n".join(drawn(after([event], at_work()), width, 24))
    throttle = Throttle(1.0)
    assert [throttle.passes(event, now) for now in (0.0, 10.0, 299.0, 301.0)] == [True, False, False, True]
    assert "RAM in use 1.2 GB" in plain(WORLD_MODEL, event)


def test_the_goals_eta_goes_by_the_last_three_scores_and_is_silent_where_they_fall():
    def at(*scores):
        done = [VersionCommitted(i, "evaluate", {"score": float(s)}, 0, 60.0) for i, s in enumerate(scores)]
        return after([RunStarted("a", len(scores), 9, 900.0, "cpu", False)], recall(ViewState(WORLD_MODEL), done, 0.0))

    assert at(100).goal_in(100.0) is None
    assert at(100, 300).goal_in(100.0) == pytest.approx(3 * 60)  # 200 an iteration, 600 to go
    assert at(0, 100, 300, 500).goal_in(160.0) == pytest.approx(2 * (4 * 60 + 60) / 4)
    assert at(100, 300, 50).goal_in(100.0) is None
    assert at(100, 950).goal_in(100.0) is None
    assert "goal 900 in 3:00 or more" in "\n".join(drawn(at(100, 300), 80, 24, now=100.0))


def test_what_was_said_a_while_ago_is_no_news_any_more():
    state = after([Message("V looks at all pictures")], at_work(), now=100.0)
    assert "V looks" in drawn(state, 80, 24, now=150.0)[-1]
    assert "V looks" not in drawn(state, 80, 24, now=170.0)[-1]


def test_how_to_stop_is_on_the_screen_whatever_else_is_said():
    for state in (at_work(), STATES["warned"]):
        assert any(line.endswith("Ctrl-C saves and stops") for line in drawn(state, 80, 24)[-2:])


def test_a_warning_that_fits_the_screen_is_whole():
    assert "more than that of the best real episode (900)" in drawn(STATES["warned"], 80, 24)[-1]


LONG = "M predicts a return of 38, more than that of the best real episode (4): usual while it has seen only the random policy"


def test_a_longer_message_takes_two_rows_and_cuts_nothing_beside_it():
    state = after([Resources(479_000_000, 81_000_000_000), Message(LONG, "warning")], at_work())
    rows = drawn(state, 80, 24)
    assert LONG in " ".join(row.strip() for row in rows).replace("  ", " ")
    assert "…" not in "".join(rows[-3:])
    assert sum(row.endswith("Ctrl-C saves and stops") for row in rows) == 1
    longest = drawn(after([Message(50 * "word ")], at_work()), 80, 24)
    assert longest[-1].rstrip().endswith("…")


@given(st.text(st.sampled_from("ab -é"), max_size=300), st.integers(2, 100), st.integers(1, 3))
def test_wrapped_text_keeps_to_its_rows_and_loses_no_word_without_saying_so(text, width, rows):
    lines = wrapped(text, width, rows)
    assert len(lines) <= rows
    assert all(len(line) <= width for line in lines)
    whole = "".join(lines).replace(" ", "")
    assert whole == text.replace(" ", "") or whole.endswith("…")


def test_before_the_first_score_the_screen_says_what_an_iteration_does_and_when_it_comes():
    text = "\n".join(drawn(STATES["driving"], 80, 24))
    for stage in WORLD_MODEL.stages:
        assert stage.about in text
    assert "the first score comes with evaluate" in text
    assert "the first score comes" not in "\n".join(drawn(at_work(), 80, 24))


def test_a_stage_that_begins_has_no_rate_of_an_earlier_iteration():
    state = after([StageStarted(5, "rollout", 16000, "frames")], at_work())
    assert "980/s" not in "\n".join(drawn(state, 80, 24))
    assert "980/s" in "\n".join(drawn(at_work(), 80, 24))


def test_frames_count_as_they_are_driven():
    driving = [StageStarted(4, "rollout", 16000, "frames"), Progress(4, "rollout", 5000, 16000, "frames", 980.0)]
    state = after(driving, recall(ViewState(WORLD_MODEL), past(), 0.0))
    assert state.frames == 4 * 16000 + 5000
    assert at_work().frames == 5 * 16000


def test_the_next_score_comes_after_what_is_left_of_this_stage_and_the_last_times_of_those_to_come():
    state = at_work()
    left = (600_000 - 60 * 6200) / 31_200
    assert state.score_in() == pytest.approx(left + 70.0 + 33.0)
    assert "next in 1:50" in "\n".join(drawn(state, 80, 24))
    assert STATES["driving"].score_in() is None


@given(
    value=st.floats(allow_nan=False, allow_infinity=False, min_value=-99_999, max_value=999_999).filter(
        lambda value: value == 0 or abs(value) > 1e-99
    )
)
def test_a_figure_fits_its_column(value):
    assert len(figure(value)) <= 8 - (value >= 0)


def test_a_summary_lists_the_newest_scores_and_the_best():
    lines = summary(STATES["finished"], 700.0)
    assert lines[0] == "run brave-run: the goal is reached and confirmed"
    assert [line.split()[:2] for line in lines[3:-1]] == [["0", "-32.0"], ["1", "215"], ["2", "612"], ["3", "540"]]
    assert lines[-1] == "  best: 612 in iteration 2"
    many = [VersionCommitted(i, "evaluate", {"score": float(i)}, 0, 1.0) for i in range(100)]
    assert len(summary(after(many, STATES["finished"]), 700.0)) < 20
    assert "no score yet" in summary(STATES["driving"], 131.0)[-1]
    assert all(len(line) <= 80 and line.isascii() for line in lines)


def test_a_correlation_without_a_bias_is_no_fault():
    state = after([VersionCommitted(4, "rollout", {"open_loop_correlation": 0.5}, 0, 1.0)], at_work())
    assert state.open_loop[0] == 0.5
    assert len(drawn(state, 80, 24)) == 24
    assert "corr. 0.50 " in f"{' '.join(drawn(state, 80, 24))} ".replace("│", " ")
    scored = after([VersionCommitted(4, "evaluate", {"score": 5.0}, 0, 1.0)], state)
    assert "nan" not in "\n".join(drawn(scored, 80, 24))


def test_what_goes_on_with_a_finished_run_says_neither_why_it_ended_nor_of_more_iterations_than_there_are():
    ended = after([RunFinished("tiny", "interrupted", None, None)], at_work())
    again = after([RunStarted("run", 3, 3, None, "cpu", resumed=True)], ended)
    assert ended.reason == "interrupted"
    assert again.reason is None
    assert "(3 of 3)" in "\n".join(drawn(again, 80, 24))


def test_a_warning_hides_later_messages_for_a_while_and_a_notice_hides_both():
    state = after([Message("fire", "warning"), Message("all is well")], at_work(), now=100.0)
    assert "fire" in drawn(state, 80, 24, now=120.0)[-1]
    assert "fire" not in drawn(state, 80, 24, now=3600.0)[-1]
    state = after([Message("all is well")], state, now=3590.0)
    assert "all is well" in drawn(state, 80, 24, now=3600.0)[-1]
    assert "saving" in drawn(state, 80, 24, now=120.0, notice="saving")[-1]


def test_pictures_show_only_where_they_fit_and_colours_are_there():
    def paint(image, rows, columns):
        assert image is PICTURE
        painted.append((rows, columns))
        return ["x"] * rows

    painted = []
    for width, height, count in ((79, 24, 0), (80, 23, 0), (80, 24, 3), (120, 40, 3)):
        painted.clear()
        drawn(at_work(), width, height, paint=paint)
        assert len(painted) == count, (width, height)
    assert painted[0][1] == 2 * painted[0][0] > 30  # square on a terminal, and larger where there is room
    assert "reconstruction" not in "".join(drawn(at_work(), 80, 24))


def test_a_painted_row_takes_the_cells_of_its_picture_and_no_more():
    file = io.StringIO()
    console = Console(width=80, height=24, file=file, force_terminal=True, color_system="truecolor")
    console.print(render(at_work(), 80, 24, 131.0, half_blocks), end="")
    for line in file.getvalue().splitlines():
        columns = 0
        for part in re.split(r"(\x1b\[[0-9;]*[a-zA-Z])", line):
            back = re.fullmatch(r"\x1b\[(\d+)D", part)
            columns += -int(back[1]) if back else 0 if part.startswith(ESCAPE) else cell_len(part)
        assert columns == 80


def test_earlier_processes_are_remembered():
    state = recall(ViewState(WORLD_MODEL), past(), 5.0)
    assert [score.real for score in state.scores] == [-32, 215, 612, 540]
    assert state.spent == pytest.approx(sum(event.seconds for event in past()))
    assert state.frames == 4 * 16000
    assert state.commit is None


def test_resuming_within_an_iteration_shows_its_finished_stages():
    begun = recall(ViewState(WORLD_MODEL), past(2)[:7], 0.0)
    state = after([RunStarted("r", 1, 12, 900.0, "cpu", True), StageStarted(1, "memory", 10, "x")], begun)
    assert set(state.finished) == {"rollout", "vision"}


def test_a_new_iteration_clears_the_strip_but_not_the_scores():
    state = after([StageStarted(5, "rollout", 10, "frames")], at_work())
    assert state.finished == {}
    assert len(state.scores) == 4


def test_reducing_leaves_the_old_state_alone_and_keeps_no_dict_of_the_stage():
    state = at_work()
    values = {"nll": 1.0}
    newer = reduce(state, Metrics(4, "memory", values), 1.0)
    values["nll"] = 2.0
    assert newer.running.metrics == {"nll": 1.0}
    assert state.running.metrics["nll"] == pytest.approx(28.6)
    assert newer.pictures["real"] is PICTURE


def test_curves_cover_the_whole_stage_in_bounded_memory():
    state = after([StageStarted(0, "vision", 10_000, "images")])
    for done in range(10_001):
        state = reduce(state, Progress(0, "vision", done, 10_000, "images", 1.0), 1.0)
        state = reduce(state, Metrics(0, "vision", {"recon_loss": float(done)}), 1.0)
    assert len(state.curves["recon_loss"]) == BINS
    assert state.curves["recon_loss"][BINS - 1] == 10_000


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (905.61, "905.6"),
        (-3.39, "-3.4"),
        (1.0, "1.0"),
        (0, "0.0"),
        (0.74, "0.740"),
        (-0.0612, "-0.061"),
        (4e-4, "4.0e-04"),
    ],
)
def test_a_score_has_tenths_and_a_small_one_more(value, said):
    assert tenths(value) == said


def test_a_rollouts_own_figures_leave_the_losses_of_training_in_view():
    state = after([StageStarted(5, "rollout", 10, "frames"), Metrics(5, "rollout", {"score": 1.0})], at_work())
    assert "nll" in state.curves


# ---- lines


def every_event():
    yield from training()
    yield Message("careful", "warning")
    yield from past(1)
    yield RunFinished("brave-run", "iterations", None, None)
    yield from tracks(2, ())
    yield Metrics(4, "memory", {"nll": math.nan, "reward_loss": math.inf})


def test_plain_lines_are_ascii_without_escapes_and_one_an_event():
    for event in every_event():
        line = timed(WORLD_MODEL, event)
        assert line.isascii()
        assert line.isprintable(), line


def test_json_lines_parse_and_say_when():
    for event in every_event():
        if not isinstance(event, Picture | Track):
            record = json.loads(json_line(event), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
            assert record["event"] == type(event).__name__
            assert record["time"].endswith("+00:00")


def test_what_went_well_and_what_comes_next_is_in_the_lines():
    assert "score 540.0" not in plain(WORLD_MODEL, past()[-1])
    assert plain(WORLD_MODEL, past()[-1]) == "0003/evaluate  committed: score 540, 4.0 kB, 33 s"
    assert "goal" in plain(WORLD_MODEL, RunFinished("r", "goal", 2, 612.0))
    assert "iteration 2, score 612.0" in plain(WORLD_MODEL, RunFinished("r", "goal", 2, 612.0))
    assert (
        plain(WORLD_MODEL, Progress(0, "memory", 50, 100, "steps", 5.0))
        == "0000/memory  50% (50 of 100 steps, 5/s, 10 s left)"
    )


def test_progress_is_told_every_so_often_and_at_its_end_once():
    throttle = Throttle(10.0)
    assert throttle.passes(StageStarted(0, "memory", 100, "steps"), 0.0)
    told = []
    for done in range(101):
        now = done * 0.5
        event, metrics = Progress(0, "memory", done, 100, "steps", 2.0), Metrics(0, "memory", {"nll": 1.0})
        told += [("progress", done)] * throttle.passes(event, now) + [("metrics", done)] * throttle.passes(metrics, now)
    for _ in range(5):
        assert not throttle.passes(event, 51.0)
        assert not throttle.passes(metrics, 51.0)
    assert told == [(kind, done) for done in (20, 40, 60, 80, 100) for kind in ("progress", "metrics")]


def test_each_stage_tells_its_own_end():
    throttle = Throttle(10.0)
    for stage in ("memory", "controller", "controller"):  # a stage may begin anew, as evaluate does to confirm
        assert throttle.passes(StageStarted(0, stage, 1, "steps"), 0.0)
        assert throttle.passes(Progress(0, stage, 1, 1, "steps", 2.0), 0.1)


def test_pictures_and_tracks_are_never_lines():
    for event in (Picture(0, "rollout", "real", PICTURE), *tracks(2, ())):
        assert not Throttle(0.0).passes(event, 1.0)
        assert to_record(event) is None


def test_a_reader_that_went_away_does_not_stop_the_run():
    class Gone(io.StringIO):
        def write(self, text):
            nonlocal tried
            tried += 1
            raise BrokenPipeError

    tried = 0
    view = LineView(Gone(), json_line, 10.0)
    for _ in range(3):
        view.report(Message("hello"))
    assert tried == 1


@pytest.mark.parametrize("style", ["auto", "rich", "plain"])
def test_off_a_terminal_every_style_but_json_and_none_is_plain_lines(style, capsys):
    view = open_view(style, ViewState(WORLD_MODEL))
    view.report(Message("hello"))
    view.close()
    out = capsys.readouterr().out
    assert out.endswith("hello\n")
    assert ESCAPE not in out


def test_the_end_of_a_run_is_summed_up_in_lines_as_on_a_terminal(capsys):
    view = open_view("plain", at_work())
    view.report(RunFinished("brave-run", "interrupted", 2, 612.0))
    view.close()
    state = after([RunFinished("brave-run", "interrupted", 2, 612.0)], at_work(), time.monotonic())
    lines, told = capsys.readouterr().out.splitlines(), summary(state, time.monotonic())
    assert "run brave-run ended: stopped on request" in lines[0]
    assert (lines[1], lines[3:]) == (told[0], told[2:])
    assert "of work" in lines[2]


def test_a_terminal_that_is_another_process_s_to_draw_on_gets_plain_lines(monkeypatch, capsys):
    monkeypatch.setattr("wmloop.view.can_show_live", lambda: True)
    monkeypatch.setattr("wmloop.streams.in_foreground", lambda terminal: False)
    view = open_view("auto", ViewState(WORLD_MODEL))
    view.report(Message("hello"))
    view.close()
    out = capsys.readouterr().out
    assert out.endswith("hello\n")
    assert ESCAPE not in out


def test_none_says_nothing(capsys):
    view = open_view("none", ViewState(WORLD_MODEL))
    view.report(Message("hello"))
    view.close()
    assert capsys.readouterr() == ("", "")


# ---- the terminal

ON_A_TERMINAL = """
import sys, time
from tests.test_view import at_work
from wmloop.events import Message, RunFinished
from wmloop.view import open_view
view = open_view("auto", at_work())
print("a library warns", file=sys.stderr)
time.sleep(0.6)
view.notice("a notice")
view.report(RunFinished("brave-run", "goal", 2, 612.0))
view.close()
print("the end")
"""


def on_a_terminal(**environment):
    """Return what a live view sends to a terminal of 80x24."""
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    settings = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")}
    settings |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONUTF8": "1", **environment}
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL], stdin=slave, stdout=slave, stderr=slave, env=settings
    )
    os.close(slave)
    text, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                text += os.read(master, 65536)
            except OSError:  # what Linux says at the end
                break
    os.close(master)
    assert process.wait(10) == 0, text.decode()
    return text.decode()


def test_the_live_view_takes_the_other_screen_and_gives_the_terminal_back():
    text = on_a_terminal()
    assert text.count("\x1b[?1049h") == text.count("\x1b[?1049l") == 1
    inside, _, left = text.partition("\x1b[?1049l")
    assert "▀" in inside
    assert "brave-run" in inside
    assert "a notice" in inside
    assert "\x1b[?25h" in text
    assert "a library warns" in left  # what was said to stderr meanwhile is not lost
    assert "run brave-run: the goal is reached" in left


def test_no_color_means_no_colours_and_no_pictures():
    text = on_a_terminal(NO_COLOR="1")
    assert "brave-run" in text
    assert "▀" not in text
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9;]*m", text)


def test_a_dumb_terminal_gets_plain_lines():
    text = on_a_terminal(TERM="dumb")
    assert ESCAPE not in text
    assert "run brave-run ended" in text


# ---- frames


def test_half_blocks_show_two_pixels_a_cell():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 0] = (255, 0, 0)
    image[1, 1] = (0, 0, 255)
    (line,) = half_blocks(image, 1, 2)
    assert line == "\x1b[38;2;255;0;0;48;2;0;0;0m▀\x1b[38;2;0;0;0;48;2;0;0;255m▀\x1b[0m"


@pytest.mark.parametrize("colours", ["truecolor", "256", "none"])
def test_pictures_fill_the_cells_they_are_given(colours):
    lines = half_blocks(PICTURE, 10, 20, colours)
    assert [cell_len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines] == [20] * 10
    assert (ESCAPE in "".join(lines)) is (colours != "none")


def test_256_colours_are_the_nearest_of_the_cube():
    (line,) = half_blocks(np.full((2, 1, 3), (255, 0, 0), np.uint8), 1, 1, "256")
    assert line == "\x1b[38;5;196;48;5;196m▀\x1b[0m"


def test_flat_areas_need_one_escape():
    assert half_blocks(np.full((64, 64, 3), 100, np.uint8), 1, 40)[0].count(ESCAPE) == 2


def test_fitting_averages_areas_and_repeats_pixels():
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    assert fit(image, 2, 2)[0, 0, 0] == (0 + 3 + 12 + 15) // 4
    assert (fit(image, 8, 8)[::2, 1::2] == image).all()
    assert (fit(image, 4, 4) == image).all()
    assert fit(PICTURE, 7, 11).mean() == pytest.approx(PICTURE.mean(), rel=0.02)


def test_a_picture_keeps_its_shape_within_a_terminal():
    assert size_within(np.zeros((400, 800, 3)), 23, 80) == (40, 80)
    assert size_within(np.zeros((64, 64, 3)), 23, 80) == (46, 46)


# ---- rows and words


@given(st.lists(st.text(max_size=12), max_size=5), st.integers(0, 40))
def test_a_cut_row_has_exactly_its_width(texts, width):
    printable = ["".join(c for c in text if c.isprintable()) for text in texts]
    assert row_width(cut([Span(text) for text in printable], width)) == width


def test_rows_are_laid_out_side_by_side():
    assert "".join(s.text for s in spread([Span("left")], [Span("right")], 12)) == "left   right"
    assert "".join(s.text for s in spread([Span("a long one")], [Span("right")], 9)) == "a l…right"
    rows = beside([[Span("a")], [Span("b")]], [[Span("c")]], 3)
    assert ["".join(s.text for s in row) for row in rows] == ["a    c", "b    "]


@given(st.lists(st.floats(width=32) | st.just(math.nan), max_size=50), st.integers(0, 20))
def test_a_sparkline_is_never_wider_than_asked(values, width):
    assert len(sparkline(values, width)) <= width


def test_sparklines_rise_with_their_values():
    assert sparkline(list(range(8)), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([0.0, 50.0], 8, 0.0, 100.0) == "▁▅"
    assert sparkline([3.0, 3.0], 8) == "▄▄"
    assert sparkline([], 8) == ""


def test_numbers_read_as_people_write_them():
    assert [number(n) for n in (0, 5.34, 950, 9500, 31_200, 123_456, 4_100_000)] == [
        "0", "5.3", "950", "9500", "31.2k", "123k", "4.1M",
    ]  # fmt: skip
    assert [figure(n) for n in (0.0, 512.4, -38.64, 0.08713, math.nan)] == ["0", "512", "-38.6", "0.0871", "nan"]
    assert [size(n) for n in (310, 4_200, 1_700_000, 3_100_000_000)] == ["310 B", "4.2 kB", "1.7 MB", "3.1 GB"]
    assert [span(s) for s in (4.2, 38, 59.6, 725, 11045, 183_845, math.inf)] == [
        "4.2 s", "38 s", "1:00", "12:05", "3:04:05", "2 d 03:04", "?",
    ]  # fmt: skip


def test_a_headline_is_the_most_telling_figure_there_is():
    told = functools.partial(headline, WORLD_MODEL)
    assert told("evaluate", {"frames": 1.0, "score": 512.3}) == "score 512"
    assert told("rollout", {"score": 512.3}) == "explore 512"  # the agent explores there
    assert told("evaluate", {"score": 912.0, "confirmed_score": 903.0}) == "confirmed 903"
    assert told("vision", {"newest_recon_loss": 31.0}) == "recon 31.0"  # V did not move in this iteration
    assert told("vision", {}) == ""
