"""Numbers that are not finite, injected in six places: never committed, taken back three times, then named."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.test_loop import configure, perform
from wmloop.agents.world_model import Agent
from wmloop.errors import DivergedError
from wmloop.events import Message
from wmloop.learn import ppo
from wmloop.models import memory
from wmloop.models.vision import Vision
from wmloop.stages import vision
from wmloop.store import Store

STAGES = ("rollout", "vision", "memory", "controller", "evaluate")


class Injection:
    """Spoil every call from number `first` on, `times` of them."""

    def __init__(self, first: int = 3, times: float = math.inf) -> None:
        self.first, self.times, self.calls, self.fired = first, times, 0, 0

    def due(self) -> bool:
        self.calls += 1
        if self.calls < self.first or self.fired >= self.times:
            return False
        self.fired += 1
        return True


def inject(where: str, injection: Injection, patch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Make `where` produce a number that is not finite; return the settings that this needs."""
    if where == "loss":
        exact = vision.vae_loss

        def loss(*arguments: Any) -> Any:
            total, *rest = exact(*arguments)
            return total * (torch.nan if injection.due() else 1.0), *rest

        patch.setattr(vision, "vae_loss", loss)
    elif where == "gradient":
        finite = memory.Memory.loss

        def gradient(*arguments: Any) -> Any:
            total, parts = finite(*arguments)
            if injection.due():
                total.register_hook(lambda g: g * torch.inf)
            return total, parts

        patch.setattr(memory.Memory, "loss", gradient)
    elif where == "weight":
        update = ppo.update

        def weight(actor: Any, *arguments: Any) -> Any:
            metrics = update(actor, *arguments)
            if injection.due():
                with torch.no_grad():
                    next(actor.parameters()).view(-1)[0] = torch.inf
            return metrics

        patch.setattr(ppo, "update", weight)
    elif where == "latent":
        encode = Vision.encode

        def latent(self: Vision, images: torch.Tensor) -> Any:
            mu, logvar = encode(self, images)
            return (mu, logvar) if self.training or not injection.due() else (mu * torch.nan, logvar)

        patch.setattr(Vision, "encode", latent)
    elif where == "action":
        act = Agent.act

        def action(*arguments: Any) -> Any:
            actions, carry = act(*arguments)
            return actions * (math.nan if injection.due() else 1.0), carry

        patch.setattr(Agent, "act", action)
    else:
        assert where == "reward"
        injection.fired = 1  # in another process
        return ("env.kwargs={nan_at=9}",)
    return ()


@pytest.mark.parametrize(
    ("where", "stage", "rollbacks"),
    [("loss", "vision", 3), ("gradient", "memory", 3), ("weight", "controller", 3), ("latent", "vision", 0),
     ("action", "evaluate", 0), ("reward", "rollout", 0)],
)  # fmt: skip
def test_what_is_not_finite_is_never_committed_and_ends_the_run_with_3(
    where: str, stage: str, rollbacks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    injection, events = Injection(first=1 if where == "latent" else 3), []
    layers = inject(where, injection, monkeypatch)
    with pytest.raises(DivergedError) as caught:
        perform(tmp_path / "run", configure("controller.initial_updates=4", *layers), events.append)
    assert injection.fired
    assert caught.value.exit_code == 3
    assert len([e for e in events if isinstance(e, Message) and "diverged" in e.text]) == rollbacks
    store = Store.open(tmp_path / "run")
    assert [version.stage for version in store.versions()] == list(STAGES[: STAGES.index(stage)])
    assert store.verify() == []
    for version in store.versions():
        for file in version.files:
            if file.endswith("model.safetensors") or file.startswith("latents"):
                assert all(torch.isfinite(torch.from_numpy(a.copy())).all() for a in version.tensors(file).values())


@pytest.mark.parametrize("where", ["loss", "gradient", "weight"])
def test_what_is_not_finite_once_costs_a_rollback_and_no_more(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    injection, events = Injection(times=1), []
    inject(where, injection, monkeypatch)
    config = configure("budget.iterations=1", "controller.initial_updates=4", "store.snapshot_seconds=0")
    _, reason = perform(tmp_path / "run", config, events.append)
    assert (reason, injection.fired) == ("iterations", 1)
    (alarm,) = [event.text for event in events if isinstance(event, Message) and "diverged" in event.text]
    assert "back to step 2, learning rate halved (1 of 3)" in alarm


def test_a_weight_spoilt_in_the_very_last_step_is_not_committed_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    injection = Injection(first=4)
    inject("weight", injection, monkeypatch)
    with pytest.raises(DivergedError, match="a weight is not finite"):
        perform(tmp_path / "run", configure("controller.initial_updates=4"))
    assert injection.fired == 4
    assert Store.open(tmp_path / "run").version(0, "controller") is None
