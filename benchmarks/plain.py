"""What wmloop is held against: plain, honest implementations of what people use today."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal
from torch.nn import functional as F


class PlainMemory(nn.Module):
    """An MDN-RNN of torch's own parts: nn.LSTM or nn.LSTMCell, three linear heads, `MixtureSameFamily`."""

    def __init__(self, latent: int = 32, actions: int = 3, hidden: int = 256, mixtures: int = 5) -> None:
        super().__init__()
        self.latent, self.mixtures = latent, mixtures
        self.lstm = nn.LSTM(latent + actions, hidden, batch_first=True)
        self.cell = nn.LSTMCell(latent + actions, hidden)
        self.mdn = nn.Linear(hidden, 3 * mixtures * latent)
        self.reward = nn.Linear(hidden, 1)
        self.done = nn.Linear(hidden, 1)

    def density(self, hidden: Tensor) -> MixtureSameFamily:
        """Return the density of the next latent."""
        shape = (*hidden.shape[:-1], self.latent, self.mixtures)
        logits, mean, log_std = (part.reshape(shape) for part in self.mdn(hidden).chunk(3, -1))
        return MixtureSameFamily(Categorical(logits=logits), Normal(mean, log_std.exp()))

    def loss(self, z: Tensor, action: Tensor, target: Tensor, reward: Tensor, done: Tensor) -> Tensor:
        """Return the loss of sequences (B, T, ...)."""
        hidden, _ = self.lstm(torch.cat([z, action], -1))
        nll = -self.density(hidden).log_prob(target).sum(-1).mean()
        reward_loss = F.mse_loss(self.reward(hidden).squeeze(-1), reward)
        return nll + reward_loss + F.binary_cross_entropy_with_logits(self.done(hidden).squeeze(-1), done)

    @torch.no_grad()
    def dream(self, policy: Callable[[Tensor], Tensor], num_dreams: int, horizon: int) -> list[tuple[Tensor, Tensor]]:
        """Let `policy` act in dreams of `horizon` steps; return rewards and ends, as an environment around this model would."""
        outcomes = []
        h, c = torch.zeros(num_dreams, self.cell.hidden_size), torch.zeros(num_dreams, self.cell.hidden_size)
        z = torch.randn(num_dreams, self.latent)
        for _ in range(horizon):
            action = policy(torch.cat([z, h], -1))
            h, c = self.cell(torch.cat([z, action], -1), (h, c))
            z = self.density(h).sample()
            outcomes.append((self.reward(h), torch.sigmoid(self.done(h)) > 0.5))
        return outcomes


class PlainActor(nn.Module):
    """C's layers as people write them: an MLP and a `Normal`."""

    def __init__(self, inputs: int = 288, actions: int = 3) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(),
            nn.Linear(128, 64), nn.ReLU(),
        )  # fmt: skip
        self.mean, self.log_std = nn.Linear(64, actions), nn.Linear(64, actions)

    def policy(self, features: Tensor) -> Normal:
        """Return the distribution of actions."""
        x = self.trunk(features)
        return Normal(torch.tanh(self.mean(x)), self.log_std(x).clamp(-3, 0).exp())

    def forward(self, features: Tensor) -> Tensor:
        """Return a sampled action within the bounds."""
        return self.policy(features).sample().clamp(-1, 1)


def plain_ppo(
    actor: PlainActor, critic: nn.Module, optimizer: torch.optim.Optimizer, features: Tensor, action: Tensor,
    logprob: Tensor, advantage: Tensor, returns: Tensor, epochs: int, minibatch: int,
) -> None:  # fmt: skip
    """Update as CleanRL does: shuffled minibatches, the clipped loss, one gradient bound."""
    for _ in range(epochs):
        for index in torch.randperm(len(features)).split(minibatch):
            policy = actor.policy(features[index])
            ratio = (policy.log_prob(action[index]).sum(-1) - logprob[index]).exp()
            gain = advantage[index]
            pg_loss = torch.max(-gain * ratio, -gain * ratio.clamp(0.8, 1.2)).mean()
            v_loss = 0.5 * (critic(features[index]).squeeze(-1) - returns[index]).square().mean()
            loss = pg_loss + 0.5 * v_loss - 0.003 * policy.entropy().sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([*actor.parameters(), *critic.parameters()], 0.5)
            optimizer.step()
