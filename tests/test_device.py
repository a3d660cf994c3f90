"""Where and in what precision a run computes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from wmloop import device, machine
from wmloop.config import WorldModelConfig, build_config
from wmloop.dreams import Noise, rollout
from wmloop.errors import RenamedWarning, UsageError
from wmloop.models import mixture
from wmloop.models.kernel import Kernel
from wmloop.models.networks import new_actor, new_memory
from wmloop.models.world_model import State
from wmloop.opening import stored_config
from wmloop.spaces import BoxActions
from wmloop.store import Store

CPU = torch.device("cpu")
CONFIG = WorldModelConfig()


ZEN, SAPPHIRE = {"avx512f", "avx512_bf16"}, {"avx512f", "avx512_bf16", "amx_bf16"}


@pytest.mark.parametrize(
    ("maker", "flags", "capability", "highest", "chosen"),
    [
        ("GenuineIntel", SAPPHIRE, "AVX512", "", "bf16-mixed"),
        ("GenuineIntel", SAPPHIRE, "AVX512", "AVX512_CORE_AMX", "bf16-mixed"),
        ("GenuineIntel", SAPPHIRE, "AVX512", "avx512_core_bf16", "fp32"),
        ("GenuineIntel", SAPPHIRE, "AVX2", "", "fp32"),
        ("GenuineIntel", SAPPHIRE, "AVX512", "AVX2", "fp32"),
        ("GenuineIntel", {"avx512f", "avx512_bf16"}, "AVX512", "", "fp32"),  # Cooper Lake, or a guest without AMX
        ("AuthenticAMD", ZEN, "AVX512", "", "bf16-mixed"),
        ("AuthenticAMD", ZEN, "AVX512", "AVX512_CORE_VNNI", "fp32"),
        ("AuthenticAMD", {"avx2"}, "AVX2", "", "fp32"),
        ("", {"asimd", "bf16"}, "DEFAULT", "", "fp32"),
    ],
)
def test_auto_is_what_the_processor_has_and_what_the_environment_allows(
    monkeypatch, maker, flags, capability, highest, chosen
):
    monkeypatch.setattr(machine, "cpu_maker", lambda: maker)
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(device, "rounding_fault", lambda where: "")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", highest)
    monkeypatch.setattr(torch, "mm", None)  # nothing is timed
    assert device.resolve_precision("auto", "cpu") == chosen
    monkeypatch.setattr(device, "rounding_fault", lambda where: "no primitive")
    assert device.resolve_precision("auto", "cpu") == "fp32"


@pytest.mark.parametrize(("bf16", "amx", "found"), [(False, False, []), (True, True, ["avx512_bf16", "amx_bf16"])])
def test_where_there_is_no_cpuinfo_torch_is_asked(monkeypatch, bf16, amx, found):
    monkeypatch.setattr(machine, "cpu_flags", frozenset)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert device.instructions() == " ".join(["AVX512", *found])
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert "amx" not in device.instructions()


def test_a_precision_that_is_named_is_taken_and_a_gpu_takes_tf32(monkeypatch):
    assert device.resolve_precision("bf16", "cpu") == "bf16"
    assert device.resolve_precision("fp32", "cuda") == "fp32"
    assert device.resolve_precision("auto", "cuda") == device.resolve_precision("tf32", "cuda") == "tf32"
    assert device.resolve_precision("auto", "mps") == "fp32"
    monkeypatch.setattr(device, "rounding_fault", lambda where: "")
    assert device.resolve_precision("bf16-mixed", "cpu") == "bf16-mixed"


@pytest.mark.parametrize("precision", ["tf32", "bf16", "bf16-mixed", "fp32"])
def test_cudnn_may_round_to_tf32_where_products_may_and_nowhere_else(precision):
    device.set_precision(precision)
    assert torch.backends.cudnn.allow_tf32 == (torch.get_float32_matmul_precision() != "highest")


def test_a_precision_that_cannot_be_is_refused_with_the_reason_and_what_can(monkeypatch):
    monkeypatch.setattr(device, "rounding_fault", lambda where: "could not create a primitive")
    with pytest.raises(
        UsageError, match=r"^precision=bf16-mixed .* on cpu.* could not create a primitive .*AVX-512.*fp32"
    ):
        device.resolve_precision("bf16-mixed", "cpu")
    for where in ("cpu", "mps"):
        with pytest.raises(UsageError, match=rf"^precision=tf32 .*NVIDIA.* on {where}\. .*--set precision=fp32"):
            device.resolve_precision("tf32", where)


FACTS = {
    "cpu": "A", "instructions": "AVX512 avx512_bf16", "argv": ["wmloop"], "cores": 2, "python": "3.11.7",
    "versions": {"torch": "2.6.0", "numpy": "1.26.0", "gymnasium": "1.4.0", "box2d": "2.3.10", "pygame-ce": "2.5.8",
                 "pydantic": "2.9"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, []),
        ({"argv": [], "cores": 64, "python": "3.12.1", "git": "abc", "versions": {"pydantic": "2.10"}}, []),
        ({"cpu": "B"}, ["processor B, was A. The run continues, but from here on its numbers are not bit for bit"]),
        ({"instructions": "AVX2"}, ["instructions AVX2, was AVX512 avx512_bf16."]),
        ({"cpu": "B", "versions": {"torch": "2.13.0"}}, ["processor B, was A; torch 2.13.0, was 2.6.0. "]),
        ({"versions": {"pygame-ce": "missing", "pygame": "2.6.1"}},
         ["drawing pygame 2.6.1, was pygame-ce 2.5.8. The run continues, but the same seed"]),
        ({"cpu": "B", "versions": {"gymnasium": "1.3.0"}}, ["processor B", "gymnasium 1.3.0, was 1.4.0. "]),
    ],
)  # fmt: skip
def test_what_another_machine_means_for_a_run_is_told(changed, told):
    now = {**FACTS, **changed, "versions": {**FACTS["versions"], **changed.get("versions", {})}}
    found = device.differences(FACTS, now)
    assert len(found) == len(told)
    for sentence, part in zip(found, told, strict=True):
        assert part in sentence


@pytest.mark.parametrize(
    "facts", [{}, {"cpu": "A", "versions": {"torch": "2.6.0", "pygame-ce": "missing"}}, {"versions": None}]
)
def test_what_older_facts_do_not_say_is_no_difference(facts):
    assert device.differences(facts, FACTS) == []
    assert device.differences(FACTS, facts) == []


def test_a_run_records_what_its_bits_depend_on_and_is_at_home_where_it_began():
    facts = device.machine_facts()
    assert (facts["cpu"], facts["cores"]) == (machine.cpu(), machine.cores())
    assert facts["instructions"].startswith(torch.backends.cpu.get_cpu_capability())
    assert {"torch", "numpy"} <= facts["versions"].keys()
    assert device.differences(facts, device.machine_facts()) == []


def test_threads_are_those_named_else_of_openmp_else_one_a_core_of_the_quota(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert (device.resolve_threads(5), device.resolve_threads(0)) == (5, 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert (device.resolve_threads(5), device.resolve_threads(0)) == (5, 2)


def test_numpy_has_measured_its_numbers_before_denormal_ones_are_zero(monkeypatch):
    order = []
    monkeypatch.setattr(np, "finfo", lambda kind: order.append(kind))
    monkeypatch.setattr(torch, "set_flush_denormal", order.append)
    device.set_up("cpu", 1)
    assert order == [np.float16, np.float32, np.float64, True]


def test_a_run_from_before_there_was_a_choice_goes_on_in_fp32(tmp_path):
    shutil.copytree(Path(__file__).parent / "golden" / "format-2", tmp_path / "run")
    assert stored_config(Store.open(tmp_path / "run")).precision == "fp32"
    assert CONFIG.precision == "auto"


def test_a_run_that_was_to_confirm_its_goal_on_one_track_opens_and_takes_two(tmp_path):
    Store.create(tmp_path, "run", "[evaluate]\nconfirm_tracks = 1\n", {})
    assert stored_config(Store.open(tmp_path / "run")).evaluate.confirm_episodes == 2


def test_a_run_with_a_setting_that_is_no_more_opens_and_a_person_who_gives_it_is_told(tmp_path):
    Store.create(tmp_path, "run", "[memory]\nreward_smoothing = 1\nhidden = 64\n", {})
    assert stored_config(Store.open(tmp_path / "run")).memory.hidden_size == 64
    with pytest.warns(RenamedWarning, match=r"memory\.reward_smoothing is gone"):
        build_config("smoke", {"memory": {"reward_smoothing": 1}})


def test_a_dream_whose_products_may_round_to_bf16_is_the_same_but_for_rounding():
    device.set_up("cpu", 1)
    torch.manual_seed(0)
    memory, actor = (
        new_memory(CONFIG, 32, 3, CPU).eval(),
        new_actor(CONFIG, 288, BoxActions([-1] * 3, [1] * 3), CPU).eval(),
    )
    dreams, generator = 2048, torch.Generator().manual_seed(1)
    z, h, c = torch.randn(dreams, 32), torch.tanh(torch.randn(dreams, 256)), torch.randn(dreams, 256)
    start = State(torch.cat([z, h], 1), c)
    noise = Noise.draw(6, dreams, 32, 3, generator)

    def dreamt(precision):
        torch.set_float32_matmul_precision(precision)
        with torch.no_grad():
            batch = rollout(Kernel(memory, 1.15, 10.0), actor, start, noise)
            after = memory.follower()(start, noise.action[0].clamp(-1, 1), z)
            return batch, mixture.log_prob(memory.density(memory.split(after.features)[1]), z)

    (exact, likely), (rounded, likely_rounded) = dreamt("highest"), dreamt("medium")
    assert float((likely - likely_rounded).mean().abs()) < 0.005  # nats a dimension
    assert float((likely - likely_rounded).abs().max()) < 0.05
    for kind in ("reward", "features", "logprob"):
        a, b = getattr(exact, kind), getattr(rounded, kind)
        assert float((a.mean() - b.mean()).abs()) < 0.01 * float(a.std())
        assert float(b.std() / a.std()) == pytest.approx(1, abs=0.01)
