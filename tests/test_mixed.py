"""Mixed precision: which layers round, and what does not change."""

import contextlib
import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.test_loop import retrained, weights
from wmloop.config import WorldModelConfig
from wmloop.dreams import Noise, rollout
from wmloop.learn import ppo
from wmloop.learn.optim import adam
from wmloop.models.controller import GaussianActor, PlainCritic
from wmloop.models.kernel import Kernel
from wmloop.models.mixed import Layers, enable_autocast, rounding_fault
from wmloop.models.networks import new_memory

CPU = torch.device("cpu")
CONFIG = WorldModelConfig()


@given(st.integers(0, 2**31), st.integers(1, 40))
def test_layers_that_may_round_take_and_give_float32_and_are_the_same_but_for_rounding(seed, batch):
    torch.manual_seed(seed)
    exact = Layers(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 8))
    rounding = copy.deepcopy(exact)
    enable_autocast(rounding)
    x = torch.randn(batch, 24)
    y, z = exact(x), rounding(x)
    assert z.dtype == torch.float32
    assert not torch.equal(y, z)
    assert float((y - z).detach().abs().max()) < 0.02 * float(y.detach().abs().max()) + 0.02
    z.sum().backward()
    assert {p.grad.dtype for p in rounding.parameters()} == {p.dtype for p in rounding.parameters()} == {torch.float32}
    assert exact.state_dict().keys() == rounding.state_dict().keys()


def test_ppos_first_ratio_is_one_and_its_figures_are_the_same_but_for_rounding():
    torch.manual_seed(0)
    memory = new_memory(CONFIG, CONFIG.vision.latent_size, 3, CPU).eval()
    start = memory.begin(torch.randn(512, 32))
    noise = Noise.draw(12, 512, 32, 3, torch.Generator().manual_seed(1))
    actor, critic = GaussianActor(), PlainCritic()

    def learnt(rounds):
        nets = copy.deepcopy(actor), copy.deepcopy(critic)
        if rounds:
            enable_autocast(*nets)
        batch = rollout(Kernel(memory, 1.15, 10.0), nets[0], start, noise)
        again = nets[0](batch.features[:-1]).logprob(batch.action)  # other shapes, so other sums
        assert float((again - batch.logprob).detach().abs().max()) < (1e-2 if rounds else 1e-4)
        config = CONFIG.controller.model_copy(update={"target_kl": 1e9})
        optimizer, shuffle = adam([p for net in nets for p in net.parameters()], 3e-4), torch.Generator().manual_seed(2)
        return ppo.update(*nets, copy.deepcopy(nets[0]), optimizer, batch.learnable(), config, shuffle)

    exact, rounded = learnt(rounds=False), learnt(rounds=True)
    assert exact != rounded
    for figure in ("v_loss", "entropy", "approx_kl"):
        assert rounded[figure] == pytest.approx(exact[figure], rel=0.05)


@pytest.mark.parametrize(("precision", "rounds"), [("fp32", False), ("bf16", False), ("bf16-mixed", True)])
def test_c_learns_in_mixed_precision_where_the_run_says_so(whole, tmp_path, precision, rounds):
    if rounds and (fault := rounding_fault("cpu")):
        pytest.skip(f"this processor cannot: {fault}")
    exact = whole[0].version(1, "controller")
    learnt = retrained(whole, tmp_path, [whole[0].version(0, "evaluate").metrics], f"precision={precision}")
    assert learnt.files.keys() == exact.files.keys()
    assert (weights(learnt) != weights(exact)) is rounds


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        (RuntimeError("could not create a primitive. Run workload with ONEDNN_VERBOSE=all"), "could not create a primitive"),
        (UserWarning("In MPS autocast, but the target dtype is not supported"), "In MPS autocast, but"),
    ],
)  # fmt: skip
def test_what_a_machine_cannot_compute_in_bf16_is_found_by_trying_and_leaves_no_trace(monkeypatch, fails, told):
    def fail(*_):
        raise fails

    drawn = torch.random.get_rng_state()
    assert rounding_fault.__wrapped__("cpu") == rounding_fault("cpu")
    monkeypatch.setattr(torch, "autocast", fail)
    assert rounding_fault.__wrapped__("cpu").startswith(told)
    assert "Run workload" not in rounding_fault.__wrapped__("cpu")
    monkeypatch.setattr(torch, "autocast", lambda *_: contextlib.nullcontext())
    assert rounding_fault.__wrapped__("cpu") == ""
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: x * float("nan"))
    assert rounding_fault.__wrapped__("cpu") == "its numbers are not finite"
    assert torch.equal(torch.random.get_rng_state(), drawn)
