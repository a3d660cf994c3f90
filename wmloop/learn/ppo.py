"""Proximal policy optimisation (Schulman et al. 2017) on tensors, in CleanRL's vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from wmloop.learn.batch import Batch
from wmloop.learn.optim import clipped_step
from wmloop.learn.policy import Policy
from wmloop.ranks import ALONE, Ranks

#: A step that is reached with less probability teaches nothing.
_HARDLY = 1e-3


class Settings(Protocol):
    """What PPO is told, in CleanRL's words.

    `ref_kl_coef` is the weight of the KL divergence from the reference policy, and `max_grad_norm` a bound for each network,
    or for both together where they share parameters.
    """

    gamma: float
    gae_lambda: float
    update_epochs: int
    minibatch_size: int
    clip_coef: float
    ent_coef: float
    vf_coef: float
    max_grad_norm: float
    target_kl: float
    ref_kl_coef: float


def gae(
    reward: Tensor, continues: Tensor, value: Tensor, last_value: Tensor, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Return generalised advantage estimates and returns, both (T, N) (Schulman et al. 2016).

    `reward`, `value` are (T, N), `last_value` (N,) bootstraps the step after the last: a truncated episode is not a
    terminated one. `continues` (T, N) is the probability that step t does not terminate the episode, 0 or 1 in reality, and
    `reward` is expected over whether it does.
    """
    advantages = torch.empty_like(reward)
    advantage = torch.zeros_like(last_value)
    next_value = last_value
    for t in reversed(range(len(reward))):
        delta = reward[t] + gamma * continues[t] * next_value - value[t]
        advantage = delta + gamma * gae_lambda * continues[t] * advantage
        advantages[t] = advantage
        next_value = value[t]
    return advantages, advantages + value


def clipped_loss(logprob: Tensor, old_logprob: Tensor, advantages: Tensor, clip_coef: float) -> Tensor:
    """Return PPO's pg_loss per sample, equation (1) of Kuth et al. 2021 negated.

    With ratio = exp(logprob - old_logprob): -min(ratio * A, clip(ratio, 1 - eps, 1 + eps) * A). No gradient flows where
    the ratio has left the trust region on the advantage's side. All (B,).
    """
    ratio = torch.exp(logprob - old_logprob)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip_coef, 1 + clip_coef) * advantages)


def mean(values: Tensor, weight: Tensor, total: Tensor | None = None) -> Tensor:
    """Return the mean of `values` (B,), each counted `weight` (B,) times.

    Of a part of a batch it is its part of that mean: `total` () is the sum of the whole batch's weights.
    """
    return (values * weight).sum() / (weight.sum() if total is None else total)


def normalise(advantages: Tensor, weight: Tensor) -> Tensor:
    """Return advantages (B,) with mean 0 and standard deviation 1 under `weight` (B,)."""
    centred = advantages - mean(advantages, weight)
    return centred / (mean(centred.square(), weight).sqrt() + 1e-8)


def minibatches(size: int, minibatch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield shuffled index tensors that cover `size` samples once, in parts of about minibatch_size."""
    order = torch.randperm(size, generator=generator, device=generator.device)
    yield from order.tensor_split(max(1, round(size / minibatch_size)))


def update(
    actor: nn.Module, critic: nn.Module, reference: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch,
    settings: Settings, generator: torch.Generator, ranks: Ranks = ALONE,
) -> dict[str, float]:  # fmt: skip
    """Improve actor and critic on one batch; return CleanRL's metrics, `ref_kl` and `policy_epochs`.

    The policy's loss is left out from where approx_kl passes `target_kl`; the value goes on learning. Where they share
    parameters that moves the policy, too, with no bound on how far: to end the update there, as CleanRL does, was worse at
    equal frames on three seeds (docs/experiments/2026-11-30-after-the-policy-stops.md). Each has its own bound on the
    gradient, unless they share parameters: then one has both, and a wrong value may drown the policy's. A step counts
    with the probability that its episode has come to it, in everything that is averaged, and is left out where that is
    hardly ever. `policy_epochs` are the passes over the batch in which the policy was changed. `ref_kl` is the mean
    divergence from the policy `reference` in nats; its weight in the loss is `ref_kl_coef`.

    Several `ranks` have the same batch. Each computes the loss on its part of every minibatch, and the sums of gradients and
    figures are those of the whole: whether the policy stops is the same for all.

    Raises:
        DivergedError: a loss or gradient is not finite; the weights are as the last good step left them.
    """
    with torch.no_grad():
        value, held = critic(batch.features), reference(batch.features[:-1])
    advantages, returns = gae(batch.reward, batch.continues, value[:-1], value[-1], settings.gamma, settings.gae_lambda)
    reached = batch.mask.flatten()
    kept = (reached > _HARDLY).nonzero().squeeze(1)
    weight = reached[kept]
    features = batch.features[:-1].flatten(0, 1)[kept]
    action, old_logprob = batch.action.flatten(0, 1)[kept], batch.logprob.flatten()[kept]
    held = held.flat().at(kept)
    advantages, returns = normalise(advantages.flatten()[kept], weight), returns.flatten()[kept]
    totals: dict[str, Tensor] = {}  # on the device: each figure that is read there makes the host wait
    bounded = _bounded(actor, critic)
    steps = moves = 0
    moving = True
    for _ in range(settings.update_epochs):
        for index in minibatches(len(kept), settings.minibatch_size, generator):
            total = weight[index].sum()
            index = index.tensor_split(ranks.size)[ranks.rank]
            seen = features[index]
            v_loss = 0.5 * mean((critic(seen) - returns[index]).square(), weight[index], total)
            loss, metrics = settings.vf_coef * v_loss, {"v_loss": v_loss.detach()}
            if moving:
                policy = actor(seen)
                policy_loss, more = _policy_loss(
                    policy, action[index], old_logprob[index], advantages[index],
                    held.at(index), weight[index], total, settings,
                )  # fmt: skip
                loss = loss + policy_loss
                metrics |= more
                moves += 1
            clipped_step(loss, optimizer, settings.max_grad_norm, *bounded, ranks=ranks, figures=metrics.values())
            moving = moving and float(metrics["approx_kl"]) <= settings.target_kl
            steps += 1
            for name, part in metrics.items():
                totals[name] = totals[name] + part if name in totals else part
    means = {name: float(total) / (steps if name == "v_loss" else moves) for name, total in totals.items()}
    error = returns - value[:-1].flatten()[kept]
    unexplained, variance = (mean((x - mean(x, weight)).square(), weight) for x in (error, returns))
    explained = 1 - unexplained / (variance + 1e-8)
    return means | {"policy_epochs": settings.update_epochs * moves / steps, "explained_variance": float(explained)}


def _policy_loss(
    policy: Policy, action: Tensor, old_logprob: Tensor, advantages: Tensor, held: Policy, weight: Tensor,
    total: Tensor, settings: Settings,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    logprob = policy.logprob(action)
    entropy, ref_kl = mean(policy.entropy(), weight, total), mean(policy.kl(held), weight, total)
    pg_loss = mean(clipped_loss(logprob, old_logprob, advantages, settings.clip_coef), weight, total)
    with torch.no_grad():
        log_ratio = logprob - old_logprob
        approx_kl = mean(log_ratio.exp() - 1 - log_ratio, weight, total)
        clipfrac = mean((log_ratio.exp() - 1).abs().gt(settings.clip_coef).float(), weight, total)
    parts = {"pg_loss": pg_loss, "entropy": entropy, "approx_kl": approx_kl, "clipfrac": clipfrac}
    loss = pg_loss - settings.ent_coef * entropy + settings.ref_kl_coef * ref_kl
    return loss, {name: part.detach() for name, part in {**parts, "ref_kl": ref_kl}.items()}


def _bounded(actor: nn.Module, critic: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters that have a common bound on their gradient: a network's, or all where the two share some.

    A shared one has a gradient from both losses. Were it counted in two norms it would be cut twice, and the step would
    point elsewhere than the gradient. CleanRL, too, has one norm where there is one trunk.
    """
    own, other = list(actor.parameters()), list(critic.parameters())
    return [own, other] if {*own}.isdisjoint(other) else [list(dict.fromkeys([*own, *other]))]
