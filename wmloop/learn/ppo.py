"""Proximal policy optimisation (Schulman et al. 2017) as pure functions on tensors, in CleanRL's vocabulary."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from wmloop.config import ControllerConfig
from wmloop.dream import DreamBatch
from wmloop.errors import DivergedError


def gae(
    reward: Tensor, goes_on: Tensor, value: Tensor, last_value: Tensor, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Return generalised advantage estimates and returns, both (T, N) (Schulman et al. 2016).

    `reward`, `value` are (T, N), `last_value` (N,) bootstraps the step after the last: a truncated episode is not a
    terminated one. `goes_on` (T, N) is the probability that step t does not terminate the episode, 0 or 1 in reality.
    """
    advantages = torch.empty_like(reward)
    advantage = torch.zeros_like(last_value)
    next_value = last_value
    for t in reversed(range(len(reward))):
        delta = reward[t] + gamma * goes_on[t] * next_value - value[t]
        advantage = delta + gamma * gae_lambda * goes_on[t] * advantage
        advantages[t] = advantage
        next_value = value[t]
    return advantages, advantages + value


def clipped_loss(logprob: Tensor, old_logprob: Tensor, advantages: Tensor, clip_coef: float) -> Tensor:
    """Return PPO's pg_loss per sample, the seed's equation (1) negated.

    With ratio = exp(logprob - old_logprob): -min(ratio * A, clip(ratio, 1 - eps, 1 + eps) * A). No gradient flows where
    the ratio has left the trust region on the advantage's side. All (B,).
    """
    ratio = torch.exp(logprob - old_logprob)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip_coef, 1 + clip_coef) * advantages)


def normalise(advantages: Tensor) -> Tensor:
    """Return advantages (B,) with mean 0 and standard deviation 1; a constant batch becomes zeros."""
    centred = advantages - advantages.mean()
    return centred / (centred.square().mean().sqrt() + 1e-8)


def minibatches(size: int, minibatch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield shuffled index tensors that cover `size` samples once, in parts of about minibatch_size."""
    order = torch.randperm(size, generator=generator, device=generator.device)
    yield from order.tensor_split(max(1, round(size / minibatch_size)))


def update(
    actor: nn.Module, critic: nn.Module, optimizer: torch.optim.Optimizer, batch: DreamBatch,
    config: ControllerConfig, generator: torch.Generator,
) -> dict[str, float]:  # fmt: skip
    """Improve actor and critic on one batch of dreams; return PPO's metrics.

    Epochs stop early when approx_kl passes `target_kl`. Steps after a dream's end are left out.

    Raises:
        DivergedError: a loss or gradient is not finite; the weights are as the last good step left them.
    """
    with torch.no_grad():
        value = critic(batch.features)
    advantages, returns = gae(batch.reward, batch.goes_on, value[:-1], value[-1], config.gamma, config.gae_lambda)
    kept = batch.alive.flatten().nonzero().squeeze(1)
    features = batch.features[:-1].flatten(0, 1)[kept]
    action, old_logprob = batch.action.flatten(0, 1)[kept], batch.logprob.flatten()[kept]
    advantages, returns = normalise(advantages.flatten()[kept]), returns.flatten()[kept]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    sums: dict[str, Tensor] = {}
    steps = epochs = 0
    for _ in range(config.update_epochs):
        kl = 0.0
        parts = list(minibatches(len(kept), config.minibatch_size, generator))
        for index in parts:
            policy = actor(features[index])
            logprob = policy.logprob(action[index])
            pg_loss = clipped_loss(logprob, old_logprob[index], advantages[index], config.clip_coef).mean()
            v_loss = 0.5 * (critic(features[index]) - returns[index]).square().mean()
            entropy = policy.entropy().mean()
            loss = pg_loss + config.vf_coef * v_loss - config.ent_coef * entropy
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
            if not torch.isfinite(loss + norm):
                raise DivergedError(
                    "PPO's loss or gradient is not finite; resume with a smaller controller.learning_rate"
                )
            optimizer.step()
            with torch.no_grad():
                log_ratio = logprob - old_logprob[index]
                approx_kl = (log_ratio.exp() - 1 - log_ratio).mean()
                clip_frac = (log_ratio.exp() - 1).abs().gt(config.clip_coef).float().mean()
                for name, part in (
                    ("pg_loss", pg_loss), ("v_loss", v_loss), ("entropy", entropy),
                    ("approx_kl", approx_kl), ("clip_frac", clip_frac),
                ):  # fmt: skip
                    sums[name] = sums.get(name, torch.zeros(())) + part.detach().cpu()
            kl += float(approx_kl) / len(parts)
            steps += 1
        epochs += 1
        if kl > config.target_kl:
            break
    metrics = {name: float(total) / steps for name, total in sums.items()}
    variance = returns.var(correction=0)
    explained = 1 - (returns - value[:-1].flatten()[kept]).var(correction=0) / (variance + 1e-8)
    return metrics | {"epochs": float(epochs), "explained_variance": float(explained)}
