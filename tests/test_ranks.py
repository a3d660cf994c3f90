"""Several ranks make of a batch what one process makes of it: shares, sums, and decisions that all make alike."""

import ast
import copy
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ranks import figures
from tests.commands import wmloop
from tests.test_ends import CONFIG, LATENT, episodes, experience
from tests.test_loop import configure
from tests.threaded_ranks import together
from wmloop import device, follower, machine, torchrun
from wmloop.cli import together as command_line
from wmloop.commands import command
from wmloop.config import ControllerConfig
from wmloop.config.text import to_toml
from wmloop.dreams import Noise
from wmloop.errors import DivergedError, Interrupted, RankLostError, StorageError, UsageError
from wmloop.learn import ppo
from wmloop.learn.batch import Batch
from wmloop.learn.optim import adam, clipped_step
from wmloop.models.controller import GaussianActor, PlainCritic
from wmloop.models.memory import Memory
from wmloop.models.vision import RewardPredictor, Vision, reward_prediction_loss, vae_loss
from wmloop.models.vision_memory import VisionMemory
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.ranks import ALONE, joined
from wmloop.store import Store
from wmloop.training.context import StageContext
from wmloop.training.dream_ppo import DreamPPO
from wmloop.training.experience import draw, filter_states
from wmloop.training.fit import fit

SIZES = pytest.mark.parametrize("size", [2, 3, 4])
ENVIRONMENT = {
    "TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "head-node",
}  # fmt: skip


def gradients(*modules):
    return torch.cat([p.grad.flatten() for module in modules for p in module.parameters() if p.grad is not None])


def distance(one, other):
    """Return how far apart two gradients are, relative to their size."""
    return float((one - other).norm() / other.norm())


@given(st.integers(1, 9), st.data())
def test_the_shares_of_a_batch_are_its_rows_once_each_and_of_almost_one_size(size, data):
    count = data.draw(st.integers(size, 100))

    class Rank(type(ALONE)):
        def __init__(self, rank):
            self.rank, self.size = rank, size

    shares = [list(range(count))[Rank(rank).rows(count)] for rank in range(size)]
    assert [row for share in shares for row in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    with pytest.raises(UsageError, match="cannot be shared"):
        Rank(0).rows(size - 1) if size > 1 else Rank(0).rows(0)


@SIZES
def test_the_gradients_and_figures_of_vs_parts_add_up_to_those_of_the_whole_batch(size):
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    vision, predictor = Vision("light", 4), RewardPredictor(4, 3)
    images, noise = torch.rand(10, 3, 64, 64, generator=generator), torch.randn(10, 4, generator=generator)
    weights = 1 + torch.rand(10, 1, 64, 64, generator=generator)
    rewards, known = torch.randn(10, 3, generator=generator), torch.rand(10, 3, generator=generator).gt(0.6).float()
    known[:3] = 0  # a part of a batch may know of no reward at all

    def step(ranks):
        nets, own = copy.deepcopy([vision, predictor]), ranks.rows(10)
        loss, z, parts = vae_loss(nets[0], images[own], noise[own], 2.0, 0.5, weights[own], (own.stop - own.start) / 10)
        told = reward_prediction_loss(nets[1](z), rewards[own], known[own], known.sum())
        parts["told"] = told.detach()
        optimizer = adam([p for net in nets for p in net.parameters()], 1e-3)
        clipped_step(loss + 3 * told, optimizer, ranks=ranks, figures=parts.values())
        return gradients(*nets), parts

    whole, figures = step(ALONE)
    for found, told in together(size, step):
        assert distance(found, whole) < 1e-5
        assert {name: float(part) for name, part in told.items()} == pytest.approx(
            {name: float(part) for name, part in figures.items()}, rel=1e-5
        )


@SIZES
@pytest.mark.parametrize("shown", [True, False], ids=["ends are shown", "ends are not shown"])
def test_the_gradients_and_figures_of_ms_parts_add_up_to_those_of_the_whole_batch(size, shown):
    seen = experience(list(episodes(60, 0)), 0, shown)
    torch.manual_seed(0)
    memory = Memory(LATENT, 1, 16, 2)
    states = filter_states(memory, seen)

    def step(ranks):
        net = copy.deepcopy(memory)
        batch = draw(seen, states, CONFIG.memory, np.random.default_rng(3), torch.Generator().manual_seed(3), ranks)
        loss, parts = net.loss(*batch, 2.0, 10.0, 0.1)
        optimizer = adam([p for p in net.parameters() if p.requires_grad], 1e-3)
        clipped_step(loss, optimizer, 0.5, ranks=ranks, figures=parts.values())
        return len(batch[0]), gradients(net), parts

    rows, whole, figures = step(ALONE)
    found = together(size, step)
    assert sum(rows_of_one for rows_of_one, _, _ in found) == rows
    for _, gradient, told in found:
        assert distance(gradient, whole) < 1e-5
        assert {name: float(part) for name, part in told.items()} == pytest.approx(
            {name: float(part) for name, part in figures.items()}, rel=1e-4, abs=1e-7
        )


def dreamt(count, generator):
    """Return a batch whose episodes end with some probability at each step: all weights differ."""
    steps, features = 6, 5
    continues = 1 - 0.3 * torch.rand(steps, count, generator=generator)
    reached = torch.cat([torch.ones(1, count), continues.cumprod(0)[:-1]])
    reached[3:, : count // 4] = 0  # nobody comes there
    return Batch(
        torch.randn(steps + 1, count, features, generator=generator),
        torch.randn(steps, count, 2, generator=generator),
        torch.full((steps, count), -3.0),
        torch.randn(steps, count, generator=generator),
        continues,
        reached,
    )


@SIZES
@pytest.mark.parametrize("target_kl", [0.01, 10.0], ids=["the policy stops", "the policy does not stop"])
def test_ppo_of_several_ranks_takes_the_steps_of_one_and_stops_where_it_does(size, target_kl):
    batch = dreamt(16, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    nets = GaussianActor(5, 2, "hidden"), PlainCritic(5)
    told = ControllerConfig(target_kl=target_kl, minibatch_size=7, update_epochs=2, max_grad_norm=0.1)

    def learn(ranks):
        actor, critic = copy.deepcopy(nets)
        optimizer = adam([*actor.parameters(), *critic.parameters()], 1e-2)
        metrics = ppo.update(actor, critic, nets[0], optimizer, batch, told, torch.Generator().manual_seed(1), ranks)
        return metrics, torch.cat([p.detach().flatten() for net in (actor, critic) for p in net.parameters()])

    metrics, weights = learn(ALONE)
    assert (metrics["policy_epochs"] < 2) == (target_kl == 0.01)
    results = together(size, learn)
    for found, own in results:
        assert found == pytest.approx(metrics, rel=1e-3, abs=1e-6)
        assert torch.equal(own, results[0][1]), "every rank has the same weights"
        assert distance(own, weights) < 1e-3  # Adam makes much of rounding where a gradient is near zero


@SIZES
def test_the_dreams_of_several_ranks_are_those_that_one_dreams(size):
    torch.manual_seed(0)
    memory, actor, critic = Memory(3, 2, 8, 2), GaussianActor(11, 2, "hidden"), PlainCritic(11)
    world = VisionMemory(Vision("light", 3), memory, 10.0)
    start = memory.begin(torch.randn(9, 3))
    noise = Noise.draw(4, 9, 3, 2, torch.Generator().manual_seed(0))
    told = ControllerConfig(minibatch_size=18, curiosity=0.1)

    def update(ranks):
        nets = copy.deepcopy([actor, critic])
        optimizer = adam([p for net in nets for p in net.parameters()], 1e-3)
        learner = DreamPPO(world.imagination(1.1), *nets, optimizer, told, told.curiosity, ranks)
        return learner.update(start, noise, torch.Generator().manual_seed(2))

    batch, metrics = update(ALONE)
    for dreams, found in together(size, update):
        for ours, theirs in zip(dreams, batch, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        assert found == pytest.approx(metrics, rel=1e-2, abs=1e-5)


def test_a_part_that_is_not_finite_stops_the_step_of_every_rank():
    def step(ranks):
        net = torch.nn.Linear(1, 1)
        before = net.weight.item()
        loss = net(torch.ones(1)).sum() * (math.nan if ranks.rank == 1 else 1.0)
        with pytest.raises(DivergedError):
            clipped_step(loss, adam([*net.parameters()], 0.1), ranks=ranks)
        return net.weight.item() == before

    assert together(3, step) == [True] * 3


def test_a_rollback_halves_the_learning_rate_also_after_a_stop_and_metrics_are_means_of_all_steps(tmp_path):
    config = configure("store.snapshot_seconds=0")
    store, begun = Store.create(tmp_path, "run", to_toml(config), {}), torch.nn.Linear(1, 1)

    def learn(name, stops_at):
        seen, rates, net, spoils = [], [], copy.deepcopy(begun), [3] if stops_at is None or stops_at > 3 else []
        draft = store.draft(0, name)
        ctx = StageContext(
            config, WORLD_MODEL, 0, name, "steps", torch.device("cpu"), list, list, draft, lambda event: None,
            lambda: stops_at is not None and len(seen) > stops_at, ALONE,
        )  # fmt: skip
        optimizer = adam([*net.parameters()], 0.1)

        def step(i):
            seen.append(i)
            rates.append(optimizer.param_groups[0]["lr"])
            if i in spoils:
                spoils.remove(i)
                raise DivergedError("spoilt")
            clipped_step(net(torch.ones(1)).sum(), optimizer)
            return {"loss": float(i)}

        try:
            metrics = fit(ctx, {"net": net}, optimizer, 6, lambda i: 0.1, step)
        except Interrupted:
            return seen, rates, None
        return seen, rates, (metrics["loss"], net.weight.item())

    with store.lock():
        seen, rates, whole = learn("memory", None)
        assert (seen, rates) == ([0, 1, 2, 3, 3, 4, 5], [0.1] * 4 + [0.05] * 3)
        ages = 0.98 ** np.arange(5, -1, -1)
        assert whole[0] == pytest.approx((ages * np.arange(6)).sum() / ages.sum())
        stopped, _, nothing = learn("vision", 4)
        assert (stopped, nothing) == ([0, 1, 2, 3, 3], None)
        seen, rates, resumed = learn("vision", None)
    # nothing of the rollback is lost: what goes on has half the rate, and comes to the same
    assert rates == [0.05] * len(rates)
    assert resumed == pytest.approx(whole)


def test_losses_of_single_steps_are_found_again_in_the_means_that_a_training_tells(tmp_path, monkeypatch):
    losses, heard = [1.01, 0.99, 1.06, 1.01, 0.97], []
    store = Store.create(tmp_path, "run", to_toml(config := configure()), {})
    monkeypatch.setattr(StageContext, "progress", lambda ctx, done, means: heard.append(dict(means)))
    with store.lock():
        ctx = StageContext(
            config, WORLD_MODEL, 0, "memory", "steps", torch.device("cpu"), list, list, store.draft(0, "memory"),
            lambda event: None, lambda: False, ALONE,
        )  # fmt: skip
        fit(ctx, {"net": torch.nn.Linear(1, 1)}, None, len(losses), None, lambda i: {"loss": losses[i]})
    assert figures([torch.zeros(1)], heard)["loss"] == pytest.approx(losses)


@pytest.mark.parametrize("stops_at", [None, 4])
def test_ranks_go_back_and_stop_at_the_same_step_and_only_the_first_writes(stops_at, tmp_path):
    config = configure("store.snapshot_seconds=0")
    store, net = Store.create(tmp_path, "run", to_toml(config), {}), torch.nn.Linear(1, 1)

    def learn(ranks):
        own, seen = copy.deepcopy(net), []
        draft = store.draft(0, "memory") if ranks.first else None  # whoever has none must not want one
        ctx = StageContext(
            config, WORLD_MODEL, 0, "memory", "steps", torch.device("cpu"), list, list, draft, lambda event: None,
            lambda: stops_at is not None and len(seen) > stops_at, ranks,
        )  # fmt: skip
        optimizer = adam([*own.parameters()], 0.1)

        def step(i):
            seen.append(i)
            spoilt = math.nan if seen.count(3) == 1 and i == 3 and ranks.rank == 1 else 1.0
            clipped_step(own(torch.ones(1)).sum() * spoilt, optimizer, ranks=ranks)
            return {"loss": 1.0}

        try:
            fit(ctx, {"net": own}, optimizer, 6, lambda i: 0.1, step)
            ended = "here"
        except Interrupted as stopped:
            ended = str(stopped)
        return seen, own.weight.item(), ended

    with store.lock():
        first, *others = together(3, learn)
    steps = [0, 1, 2, 3, 3, 4, 5]  # back to the snapshot before the spoilt one
    assert first[0] == (steps if stops_at is None else steps[: stops_at + 1])
    assert [other[:2] for other in others] == [first[:2]] * 2
    assert first[2] == ("here" if stops_at is None else "memory of iteration 0 stopped at 4")
    assert all("the first rank" in other[2] for other in others)


def test_what_the_first_rank_says_holds_for_all():
    assert together(3, lambda ranks: ranks.agree(lambda: ranks.rank + 7)) == [7, 7, 7]


@pytest.fixture
def begun(monkeypatch):
    """Return a function that makes this process one that torchrun began."""

    def begin(**changed):
        for name, value in (ENVIRONMENT | changed).items():
            monkeypatch.setenv(name, value)

    for name in (*ENVIRONMENT, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return begin


def test_a_process_is_one_of_several_ranks_only_where_torchrun_says_so(begun, monkeypatch):
    assert torchrun.place() is None
    assert joined() is ALONE
    begun()
    assert torchrun.place() == (1, 4, 1, 2)
    begun(WORLD_SIZE="1", RANK="0")
    assert torchrun.place() is None
    begun()
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert torchrun.place() is None, "others set WORLD_SIZE, too"


def test_the_ranks_of_a_machine_share_its_cores(begun, monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 7)
    begun(OMP_NUM_THREADS="1")  # which torchrun sets where nobody did
    assert (device.resolve_threads(0), device.resolve_threads(5)) == (3, 5)
    begun(OMP_NUM_THREADS="2")
    assert device.resolve_threads(0) == 2
    begun(OMP_NUM_THREADS="1", LOCAL_WORLD_SIZE="9")
    assert device.resolve_threads(0) == 1


def test_how_many_ranks_a_run_has_is_among_what_its_bits_depend_on(begun):
    alone = device.machine_facts()
    assert "ranks" not in alone
    begun()
    assert device.machine_facts()["ranks"] == 4
    (told,) = device.differences(alone, device.machine_facts())
    assert "ranks 4, was 1. The run continues, but from here on its numbers are not bit for bit" in told
    assert device.differences(device.machine_facts(), device.machine_facts()) == []


def test_messages_name_the_command_that_begins_as_many_ranks_again(begun, tmp_path):
    begun(WORLD_SIZE="2")
    assert command("resume", tmp_path / "x").startswith(
        "torchrun --standalone --nproc-per-node=2 -m wmloop resume x --runs"
    )
    assert command("eval", tmp_path / "x").startswith("wmloop eval x")
    begun()
    # on each node, without the number of its own: they meet by the address of the first
    nodes = ["--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=head-node"]
    assert command("resume", tmp_path / "x").startswith(
        f"torchrun {' '.join(nodes)} --nproc-per-node=2 -m wmloop resume x"
    )
    assert torchrun.launching(["/usr/bin/python", "-m", "wmloop"])[:6] == [
        "/usr/bin/python", "-m", "torch.distributed.run", *nodes,
    ]  # fmt: skip


@pytest.mark.parametrize("rank", [0, 1])
def test_other_commands_are_refused_by_all_ranks_and_one_says_so(rank, begun, monkeypatch, capsys):
    begun(RANK=str(rank))
    monkeypatch.setattr("sys.argv", ["wmloop", "eval", "demo"])
    with pytest.raises(SystemExit) as end:
        command_line.together(torchrun.place(), lambda: pytest.fail("it was run"))
    assert end.value.code == 2
    assert ("only start, resume, fork share their work: run `wmloop eval` without it" in capsys.readouterr().err) == (
        rank == 0
    )


@pytest.mark.parametrize(("stage", "iteration"), [("vision", 0), ("controller", 0), ("memory", 1)])
def test_a_rank_that_comes_late_to_a_stage_goes_on_to_the_next_and_one_that_does_not_see_it_says_so(
    stage, iteration, finished, monkeypatch
):
    store = Store.open(finished.runs / "tiny")
    monkeypatch.setattr(follower, "PATIENCE_SECONDS", 0.0)

    class Told:
        rank, size = 1, 2

        def work(self, leave):
            yield {"run": str(store.path), "config": store.config_text, "iteration": iteration, "stage": stage}

    if iteration:  # the first rank has not come to it in this folder of runs, and never does
        with pytest.raises(StorageError, match="rank 1 does not find"):
            follower.follow(Told(), lambda: False)
    else:
        follower.follow(Told(), lambda: False)


def test_only_one_module_talks_to_other_ranks():
    root = Path(torchrun.__file__).parent
    talks = {
        path.name
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom) and "distributed" in ast.unparse(node)
    }
    assert talks == {"ranks.py"}


def test_a_lost_rank_has_an_exit_code_of_its_own_and_what_was_saved_goes_on(finished, tmp_path, monkeypatch):
    def lose(*_):
        raise RankLostError("rank 1 has ended")

    shutil.copytree(finished.runs / "tiny", tmp_path / "tiny")
    monkeypatch.setattr("wmloop.loop.run", lose)
    lost = wmloop("resume", "tiny", "--iterations", 2, "--progress", "none", runs=tmp_path)
    assert lost.exit_code == 69
    assert "rank 1 has ended" in lost.stderr
    assert "wmloop resume" in lost.stderr
