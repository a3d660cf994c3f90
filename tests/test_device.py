"""Where and in what precision a run computes."""

import shutil
from pathlib import Path

import pytest
import torch

from wmloop import device
from wmloop.cli.opening import stored_config
from wmloop.config import RunConfig
from wmloop.dream import Dream, DreamState, Noise
from wmloop.models import mixture
from wmloop.stages.weights import new_actor, new_memory
from wmloop.store import Store

CPU = torch.device("cpu")
CONFIG = RunConfig()


pytestmark = pytest.mark.usefixtures("torch_as_it_was")


@pytest.mark.parametrize(
    ("rounding", "half", "chosen"),
    [
        (1, 1, "fp32"),
        (1.2, 1.2, "fp32"),
        (1.2, 1.5, "bf16-mixed"),
        (0.3, 2, "fp32"),
        (2, 0.1, "bf16"),
        (2, 2.4, "bf16"),
        (2, 2.7, "bf16-mixed"),
    ],
)
def test_what_is_chosen_is_clearly_faster_than_what_rounds_less(monkeypatch, rounding, half, chosen):
    clock = [0.0]

    def mm(a, b):
        tensors = {"highest": 1, "medium": rounding}[torch.get_float32_matmul_precision()]
        clock[0] += 1 / (half if a.dtype == torch.bfloat16 else tensors)

    monkeypatch.setattr(torch, "mm", mm)
    monkeypatch.setattr(device.time, "perf_counter", lambda: clock[0])
    torch.set_float32_matmul_precision("highest")
    assert device.resolve_precision("auto", "cpu") == chosen
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_precision_that_is_named_is_taken_and_a_gpu_takes_tf32():
    assert device.resolve_precision("bf16", "cpu") == "bf16"
    assert device.resolve_precision("fp32", "cuda") == "fp32"
    assert device.resolve_precision("auto", "cuda") == "tf32"


def test_a_run_from_before_there_was_a_choice_goes_on_in_fp32(tmp_path):
    shutil.copytree(Path(__file__).parent / "golden" / "format-2", tmp_path / "run")
    assert stored_config(Store.open(tmp_path / "run")).precision == "fp32"
    assert CONFIG.precision == "auto"


def test_a_dream_whose_products_may_round_to_bf16_is_the_same_but_for_rounding():
    device.set_up("cpu", 1)
    torch.manual_seed(0)
    memory, actor = new_memory(CONFIG, 3, CPU).eval(), new_actor(CONFIG, 3, CPU).eval()
    dreams, generator = 2048, torch.Generator().manual_seed(1)
    start = DreamState(torch.randn(dreams, 32), torch.tanh(torch.randn(dreams, 256)), torch.randn(dreams, 256))
    noise = Noise.draw(6, dreams, 32, 3, generator)

    def dreamt(precision):
        torch.set_float32_matmul_precision(precision)
        with torch.no_grad():
            batch = Dream(memory, 1.15, 10.0).rollout(actor, start, noise)
            hidden = memory.step(start.z, noise.action[0].clamp(-1, 1), (start.h, start.c))[0]
            return batch, mixture.log_prob(memory.predict(hidden).mixture, start.z)

    (exact, likely), (rounded, likely_rounded) = dreamt("highest"), dreamt("medium")
    assert float((likely - likely_rounded).mean().abs()) < 0.005  # nats a dimension
    assert float((likely - likely_rounded).abs().max()) < 0.05
    for kind in ("reward", "features", "logprob"):
        a, b = getattr(exact, kind), getattr(rounded, kind)
        assert float((a.mean() - b.mean()).abs()) < 0.01 * float(a.std())
        assert float(b.std() / a.std()) == pytest.approx(1, abs=0.01)
