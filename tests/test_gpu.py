"""The measurement of a GPU: what steps cost in closed form, parts that fail, and the page; on the CPU with tiny sizes."""

import argparse
import contextlib
import json
import math
import re
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.costs import (
    CARDS,
    Card,
    Traffic,
    dream_bytes,
    dream_flop,
    known_card,
    learn_flop,
    matrices,
    trained_bytes,
    trained_flop,
)
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import agreement, part, report, runs, speed
from benchmarks.gpu.given import Given
from wmloop.config import build_config
from wmloop.config.text import to_toml
from wmloop.events import StageStarted
from wmloop.models.controller import PlainCritic
from wmloop.models.memory import Memory
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.store import Store

CPU = torch.device("cpu")
PERFORMANCE = Path(__file__).parent.parent / "docs" / "performance.md"


@pytest.fixture
def tiny(tmp_path):
    return Given(CPU, True, time.monotonic() + 300, tmp_path)


def dreamer(hidden=24, latent=8, num_dreams=5, horizon=3):
    config = build_config("laptop", {"memory": {"hidden_size": hidden}, "vision": {"latent_size": latent}})
    made = speed.Dreamer(config, CPU, "fp32", num_dreams, horizon, graph=False)
    with torch.no_grad():  # no dream ends: PPO leaves out steps that are hardly ever reached
        made.memory.outcome_linears()[1].bias[2] = -100.0
    return made


# ---- what a step costs


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 40), st.integers(2, 12), st.integers(1, 9), st.integers(1, 4))
def test_the_flops_of_a_dream_step_are_those_that_torch_counts(hidden, latent, num_dreams, horizon):
    made = dreamer(hidden, latent, num_dreams, horizon)
    with FlopCounterMode(display=False) as counted:
        made.dream()
    bias = 2 * 4 * hidden  # that of the gates is a column of their product
    assert counted.get_total_flops() == made.steps * (dream_flop(made.memory, made.actor) + bias)


@pytest.mark.parametrize("horizon", [1, 4])
def test_the_flops_of_a_trained_step_are_those_that_torch_counts(horizon):
    made = dreamer(horizon=horizon)
    learning, epochs = made.learning(made.steps), made.config.controller.update_epochs
    with FlopCounterMode(display=False) as counted:
        learning()
    bias = 2 * 4 * made.memory.hidden
    each = trained_flop(made.memory, made.actor, made.critic, horizon, epochs)
    assert counted.get_total_flops() == pytest.approx(made.steps * (each + bias), rel=1e-9)


def test_a_row_costs_twice_each_weight_forward_and_all_but_the_first_layers_inputs_backward():
    critic = PlainCritic(10)
    first, second, third = 10 * 256, 256 * 128, 128 * 1
    assert matrices(critic) == [first, second, third]
    assert learn_flop(critic) == 2 * (first + second + third) * 2 + 2 * (second + third)


@given(st.integers(1, 10**6))
def test_a_dream_step_reads_the_weights_once_for_all_dreams(num_dreams):
    memory, critic = Memory(4, 2, 8, 3), PlainCritic(12)
    weights = sum(matrices(memory)) + sum(matrices(critic))
    alone = 4 * (2 * 4 + 2 + 2 * (4 + 8 + 8) + 2 + 4)
    assert dream_bytes(memory, critic, num_dreams) == pytest.approx(alone + 4 * weights / num_dreams)


def test_a_trained_step_without_an_epoch_is_a_dream_step_seen_by_the_value_and_the_reference_policy():
    made = dreamer()
    networks = made.memory, made.actor, made.critic
    seen = 4 * 2 * made.memory.features
    assert trained_bytes(*networks, 5, 0, 10) == dream_bytes(made.memory, made.actor, 5) + seen
    many, few = (trained_bytes(*networks, 5, 1, minibatch) for minibatch in (10**9, 1))
    parameters = sum(p.numel() for network in networks[1:] for p in network.parameters())
    assert few - many == pytest.approx(4 * 8 * parameters)


def test_operators_move_what_they_read_and_write_and_views_move_nothing():
    a, b, c = torch.ones(3, 5), torch.ones(5, 7), torch.ones(3, 7)
    for work, words in (
        (lambda: torch.mm(a, b), 15 + 35 + 21),
        (lambda: c.add_(1), 2 * 21),
        (lambda: c[0].copy_(c[1]), 2 * 7),
        (lambda: c.t().unflatten(0, (7, 1))[2:], 0),
        (lambda: torch.empty(100, 100), 0),
        (lambda: torch.ones_like(c), 21),
    ):
        with Traffic() as counted:
            work()
        assert counted.moved == 4 * words


def test_operators_one_by_one_move_more_than_a_step_has_to():
    made = dreamer()
    least = dream_bytes(made.memory, made.actor, 10**9)
    assert speed.step_traffic(made.config, 3) > least


@pytest.mark.parametrize("preset", ["gpu", "laptop"])
def test_the_page_says_what_a_dream_step_costs(preset):
    config, card = build_config(preset), CARDS["NVIDIA H200"]
    made = speed.Dreamer(config, CPU, "fp32", 2, 2, graph=False)
    flop, moved = dream_flop(made.memory, made.actor), speed.step_traffic(config, 2, num_dreams=2)
    products, memory = card.tf32 / flop, card.bandwidth / moved
    row = f"| `{preset}` | {flop / 1e6:.2f} | {moved / 1e3:.0f} | {products / 1e6:.0f} million | {memory / 1e6:.0f} million |"
    assert row in PERFORMANCE.read_text()


def test_the_roofline_is_the_lower_of_products_and_memory():
    card = Card(10.0, 40.0, 80.0, 6.0)
    assert card.most("fp32", flop=5.0, moved=1.0) == 2.0
    assert card.most("fp32", flop=1.0, moved=3.0) == 2.0
    assert card.most("bf16-mixed", 8.0, 0.1) == 2 * card.most("tf32", 8.0, 0.1) == 2 * card.most("bf16", 8.0, 0.1)


def test_a_card_that_is_not_in_the_table_is_measured(tiny):
    assert known_card("NVIDIA of tomorrow") is None
    assert all(card.fp32 <= card.tf32 < card.bf16 and card.bandwidth > 1e11 for card in CARDS.values())
    card = tiny.card()
    assert card.source == "measured here"
    assert min(card.fp32, card.tf32, card.bf16, card.bandwidth) > 0


# ---- how it is measured


def test_a_rate_is_units_a_second_after_a_warm_up(tiny, monkeypatch):
    clock, calls = iter(range(1000)), []
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))  # a second between two looks at it
    told = tiny.rate(lambda: calls.append(1) or 5.0)
    assert told == {"rate": 5.0, "least": 5.0, "most": 5.0}
    assert len(calls) == 2 + 3


def failing(*errors):
    left = list(errors)

    def measure(line):
        error = left.pop(0)
        if error is not None:
            raise error
        return {"rate": 1.0}

    return measure


def test_a_line_that_fails_is_told_and_the_next_is_measured(tiny):
    faults = [torch.OutOfMemoryError("no room\nat all")] * 4 + [ValueError("|odd|"), None]
    lines = list(tiny.lines([{"batch": size} for size in range(6)], failing(*faults)))
    assert [line["batch"] for line in lines] == list(range(6))
    assert lines[0]["error"] == "out of memory: no room"
    assert lines[4]["error"] == "ValueError: |odd|"
    assert lines[5] == {"batch": 5, "rate": 1.0}


def test_a_device_that_answers_nothing_any_more_ends_its_part(tiny):
    lines = tiny.lines([{"batch": size} for size in range(9)], failing(*[RuntimeError("illegal access")] * 9))
    told = []
    with pytest.raises(RuntimeError, match="3 lines in a row"):
        told.extend(next(lines) for _ in range(9))
    assert len(list(told)) <= 3


def test_what_there_is_no_time_for_is_said(tmp_path):
    late = Given(CPU, True, time.monotonic() - 1, tmp_path)
    (line,) = late.lines([{"batch": 1}], failing(None))
    assert line == {"batch": 1, "skipped": "the part's time was up"}


SAYS = "import sys, time, os, signal; out = open(sys.argv[1], 'a'); out.write('{\"rate\": 1}\\n{\"ra'); out.flush(); "


@pytest.mark.parametrize(
    ("does", "seconds", "state", "told"),
    [
        ("", 60, "done", ""),
        ("raise SystemExit('the card is gone')", 60, "failed", "it ended with 1: the card is gone"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 60, "failed", f"signal {int(signal.SIGKILL)} ended it"),
        ("time.sleep(600)", 1.5, "failed", "it was still running after 2 s, and was ended"),
    ],
)
def test_a_part_leaves_what_it_found_however_it_ends(tmp_path, does, seconds, state, told):
    file = tmp_path / "part.jsonl"
    found = command.run_part([sys.executable, "-c", SAYS + does, str(file)], {}, file, seconds)
    assert (found["state"], found.get("error", "")) == (state, told)
    assert found["lines"] == ([] if seconds < 2 and not file.stat().st_size else [{"rate": 1}])


def test_what_a_part_has_started_ends_with_it(tmp_path):
    file = tmp_path / "part.jsonl"
    command.run_part(["/bin/sh", "-c", f"sleep 600 & echo $! > {file}.pid; sleep 600"], {}, file, 2.0)
    pid = int((tmp_path / "part.jsonl.pid").read_text())
    until = time.monotonic() + 60
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_part_that_fails_does_not_keep_the_others_from_their_turn(tmp_path, monkeypatch):
    def run_part(line, variables, lines, seconds):
        assert seconds <= 60 * 8
        name = line[line.index("benchmarks.gpu.part") + 1]
        return {"state": "failed", "error": "x", "lines": []} if name == "dream" else {"state": "done", "lines": []}

    monkeypatch.setattr(command, "run_part", run_part)
    only = ["facts", "dream", "trained"]
    command.measure(argparse.Namespace(minutes=8.0, only=only, to=tmp_path, seeds=[0]), "cpu", True)
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert [(name, parts[name]["state"]) for name in only] == [
        ("facts", "done"),
        ("dream", "failed"),
        ("trained", "done"),
    ]


def test_parts_that_are_measured_anew_leave_those_of_the_same_sizes_that_were_measured_before(tmp_path, monkeypatch):
    found = {"state": "done", "lines": []}
    monkeypatch.setattr(command, "run_part", lambda *given: dict(found))

    def measure(only, tiny):
        command.measure(argparse.Namespace(minutes=8.0, only=only, to=tmp_path, seeds=[0]), "cpu", tiny)
        return list(json.loads((tmp_path / "gpu.json").read_text())["parts"])

    assert measure(["facts", "dream"], True) == ["facts", "dream"]
    assert measure(["training"], True) == ["facts", "dream", "training"]
    assert measure(["dream"], False) == ["dream"]
    (tmp_path / "gpu.json").write_text('{"parts": ')
    assert measure(["dream"], False) == ["dream"]


def test_no_part_is_begun_that_there_is_no_time_for(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "run_part", None)
    command.measure(argparse.Namespace(minutes=0.4, only=["dream"], to=tmp_path, seeds=[0]), "cpu", True)
    assert json.loads((tmp_path / "gpu.json").read_text())["parts"]["dream"]["state"] == "skipped"


def test_all_parts_but_training_fit_into_eight_minutes():
    assert sum(one.minutes for one in part.PARTS.values() if math.isfinite(one.minutes)) < 8 - 0.25


# ---- the parts, tiny, on the CPU


def test_every_line_of_the_dream_is_measured_or_says_why_not(tiny, monkeypatch):
    monkeypatch.setattr(speed, "_TINY_BATCHES", (4,))
    for measure in (speed.dream, speed.trained):
        lines = list(measure(tiny))
        assert {line["precision"] for line in lines if "skipped" in line} == {"tf32"}  # there is none on a CPU
        measured = [line for line in lines if "skipped" not in line]
        assert measured
        for line in measured:
            assert line["rate"] > 0
            assert line["share"] == pytest.approx(line["rate"] / line["roofline"])
            assert not line["captured"]


def test_the_cpu_agrees_with_itself_to_the_last_bit(tiny, monkeypatch):
    monkeypatch.setattr(agreement, "_TINY_STEPS", 2)
    lines = {(line["network"], line["precision"]): line for line in agreement.agreement(tiny)}
    for network in ("V", "M", "C"):
        exact = lines[network, "fp32"]
        assert (exact["first"], exact["last"]) == (0.0, 0.0)
        assert math.isfinite(exact["loss"])


def test_losses_are_compared_by_the_first_and_by_the_mean_of_the_last_ten():
    theirs = [2.0] * 5 + [4.0] * 10
    ours = [3.0] * 5 + [4.5, 3.9] * 5
    told = agreement.compared(ours, theirs)
    assert told["first"] == 0.5
    assert told["last"] == pytest.approx(0.2 / 4)


def test_a_run_is_left_once_inside_each_training():
    leaving, asked = runs._Leaving(), []
    for _ in range(2):
        for stage in ("rollout", "vision", "memory", "controller", "evaluate"):
            leaving(StageStarted(0, stage, 9, "steps"))
            asked += [stage for _ in range(9) if leaving.due()]
    assert asked == ["vision", "memory", "controller"]


def test_minutes_to_the_goal_are_those_of_the_versions_up_to_it(tmp_path):
    store = Store.create(tmp_path, "run", to_toml(build_config("gpu", {"budget": {"goal": 905.0}})), {})
    with store.lock():
        for iteration, metrics in enumerate(
            (
                {"score": 100.0},
                {"score": 903.0},
                {"score": 910.0, "confirmed_score": 909.0, "confirmed_score_low": 906.0},
            )
        ):
            for stage in WORLD_MODEL.names:
                draft = store.draft(iteration, stage)
                draft.save_json("made.json", {})
                draft.commit([], metrics if stage == WORLD_MODEL.scored_by else {}, 12.0)
    told = runs.progress(tmp_path, "run")
    assert (told["minutes to 900"], told["minutes to the goal"], told["minutes"]) == (2.0, 3.0, 3.0)
    assert told["scores"] == [100.0, 903.0, 910.0]


# ---- the page

MADE = {"cpu": "A", "gpu": "NVIDIA H200", "cores": 16, "versions": {"torch": "2.13"}}
RATE = {"preset": "gpu", "precision": "tf32", "batch": 4096, "graph": True, "rate": 6e7, "least": 5e7, "most": 7e7,
        "share": 0.4, "bandwidth share": 0.5, "captured": True, "allocated": 2**30, "reserved": 2**31}  # fmt: skip
FAILED = {"preset": "gpu", "precision": "tf32", "batch": 1, "graph": True, "error": "a | b\nc"}
PARTS = {
    "facts": [{"device": "NVIDIA H200", "torch": "2.13", "memory": 2**37}, {"card": "x", **CARDS["NVIDIA L4"]._asdict()},
              {"precision": "fp32", "product keeps bits": 24, "convolution keeps bits": 24},
              {"precision": "tf32", "error": "|"}],
    "dream": [RATE, FAILED, {**RATE, "rate": 2e6, "captured": False, "not captured": "it waits"}],
    "trained": [{**RATE, "rate": 7e6, "epochs": 3}, {**FAILED, "skipped": "no time"}],
    "agreement": [{"network": "V", "precision": "fp32", "steps": 100, "first": 1e-7, "last": 2e-3, "loss": 1.0,
                   "their loss": 1.0},
                  {"network": "M", "precision": "tf32", "error": "x"}],
    "identity": [{"kernels": "usual", "run": "whole", "things": 9},
                 {"kernels": "usual", "run": "again", "things": 9, "equal": False, "first difference": "0/v", "left": 0}],
    "deterministic": [{"kernels": "usual", "run": "again", "skipped": "late"}],
    "training": [{"seed": 0, "minutes to 900": 9.0, "minutes to the goal": 12.5, "minutes": 12.5, "scores": [1.0, 910.0]},
                 {"seed": 1, "minutes to 900": None, "minutes to the goal": None, "minutes": 3.0, "scores": []},
                 {"seed": 2, "error": "x"}],
}  # fmt: skip


def result(device="cuda", tiny=False, **parts):
    states = {name: {"state": "done", "seconds": 1.0, "lines": lines} for name, lines in (parts or PARTS).items()}
    return {"made": MADE, "device": device, "tiny": tiny, "minutes": 8, "parts": states}


def tables(page):
    """Return the tables of a page, each a list of rows of cells."""
    for block in page.split("\n\n"):
        if block.startswith("|"):
            yield [line.strip("|").split("|") for line in block.splitlines()]


def test_every_row_of_a_page_has_as_many_cells_as_its_header():
    found = list(tables(report.page(result())))
    assert len(found) == 10
    for rows in found:
        assert {len(row) for row in rows} == {len(rows[0])}


def test_a_page_tells_rates_faults_and_whether_targets_are_met():
    page = report.page(result())
    assert "60,000,000 (50,000,000 to 70,000,000)" in page
    assert "failed: a / b c" in page
    assert "asked for, not captured: it waits" in page
    assert "| usual | again | 9 | no | 0/v | 0 |" in page
    assert "| M | tf32 | failed: x |  |  |  |" in page
    assert re.search(r"dream steps/s \| 60,000,000 \| 50,000,000 \| met", page)
    assert re.search(r"trained steps/s \| 7,000,000 \| 8,000,000 \| missed", page)
    assert re.search(r"seed 0 \| 12.5 \| 15 \| met", page)
    assert re.search(r"seed 1 \| not measured \| 15 \|", page)


def test_a_page_without_a_gpu_says_that_its_rates_mean_nothing_and_meets_no_target():
    page = report.page(result("cpu", tiny=True))
    assert "Its rates mean nothing" in page
    assert page.startswith("# CPU: A")
    assert "| met |" not in page


@given(st.permutations(list(PARTS)), st.integers(0, len(PARTS)))
def test_a_page_of_some_parts_has_their_sections_only(names, count):
    page = report.page(result(**{name: PARTS[name] for name in names[:count]} or {"facts": []}))
    assert ("## Dream steps" in page) == ("dream" in names[:count])
    assert "## Targets" in page


@pytest.mark.slow
def test_the_whole_command_runs_on_a_cpu(tmp_path):
    given = argparse.Namespace(minutes=30.0, only=list(part.PARTS), to=tmp_path, seeds=[0])
    command.measure(given, "cpu", True)
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert {name: one["state"] for name, one in parts.items()} == dict.fromkeys(part.PARTS, "done")
    assert not [line for one in parts.values() for line in one["lines"] if "error" in line]
    again = {line["run"]: line.get("equal") for line in parts["identity"]["lines"]}
    assert again == {"whole": None, "again": True, "left and resumed": True}
    assert parts["identity"]["lines"][-1]["left"] == 3
    (run,) = parts["training"]["lines"]
    assert run["iterations"] == 1
