"""PPO in one file, as CleanRL writes it, that learns in the demo's dream alone and is then scored in reality.

python ppo_in_the_dream.py [UPDATES [SEED]]
"""

import sys
import time

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.distributions import Normal

import wmloop

gymnasium.register_envs(wmloop)  # wmloop/Dream-v0 and wmloop/Real-v0
run, episodes = "demo", 20
updates = int(sys.argv[1]) if len(sys.argv) > 1 else 120
seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
num_envs, num_steps, temperature = 256, 25, 1.4
gamma, gae_lambda, learning_rate = 0.98, 0.95, 7e-4
update_epochs, num_minibatches, clip_coef, vf_coef, max_grad_norm, target_kl = 6, 8, 0.2, 0.5, 0.5, 0.03

np.random.seed(seed)
torch.manual_seed(seed)
envs = gymnasium.make_vec(
    "wmloop/Dream-v0", num_envs, run=run, horizon=num_steps, temperature=temperature, autoreset_mode="SameStep"
)
features, actions = envs.single_observation_space.shape[0], envs.single_action_space.shape[0]
low, high = envs.single_action_space.low, envs.single_action_space.high


def layer(inputs, outputs, std=2**0.5):
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, std)
    nn.init.zeros_(linear.bias)
    return linear


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        hidden = lambda: [layer(features, 256), nn.Tanh(), layer(256, 256), nn.Tanh()]  # noqa: E731
        self.critic = nn.Sequential(*hidden(), layer(256, 1, 1.0))
        self.actor_mean = nn.Sequential(*hidden(), layer(256, actions, 0.01))
        self.actor_logstd = nn.Parameter(torch.full((actions,), -0.7))

    def policy(self, x):
        return Normal(self.actor_mean(x), self.actor_logstd.exp())

    def value(self, x):
        return self.critic(x).squeeze(-1)


agent = Agent()
optimizer = torch.optim.Adam(agent.parameters(), lr=learning_rate, eps=1e-5)
obs = torch.zeros(num_steps, num_envs, features)
taken = torch.zeros(num_steps, num_envs, actions)
logprobs, rewards, paid, dones, values = torch.zeros(5, num_steps, num_envs)
scale, begun = 1.0, time.time()
next_obs = torch.from_numpy(envs.reset(seed=seed)[0])

for update in range(1, updates + 1):
    optimizer.param_groups[0]["lr"] = learning_rate * (1 - (update - 1) / updates)
    for step in range(num_steps):
        obs[step] = next_obs
        with torch.no_grad():
            policy = agent.policy(next_obs)
            taken[step] = policy.sample()
            logprobs[step] = policy.log_prob(taken[step]).sum(-1)
            values[step] = agent.value(next_obs)
        shown, reward, terminated, truncated, infos = envs.step(taken[step].numpy().clip(low, high))
        paid[step] = torch.from_numpy(reward)
        if truncated.any():  # the dream was cut, and would have gone on: its last value stands for the rest
            last = torch.from_numpy(np.stack(infos["final_obs"][truncated]))
            with torch.no_grad():
                reward[truncated] += gamma * agent.value(last).numpy() * scale
        rewards[step], dones[step] = torch.from_numpy(reward), torch.from_numpy(terminated | truncated)
        next_obs = torch.from_numpy(shown)
    if update == 1:
        scale = max(1.0, float(rewards.std()))  # the unit of rewards, so that values are not large
    with torch.no_grad():
        advantages, last_advantage = torch.zeros(num_steps, num_envs), 0.0
        for t in reversed(range(num_steps)):
            next_value = agent.value(next_obs) if t == num_steps - 1 else values[t + 1]
            delta = rewards[t] / scale + gamma * next_value * (1 - dones[t]) - values[t]
            advantages[t] = last_advantage = delta + gamma * gae_lambda * (1 - dones[t]) * last_advantage
    batch = [part.flatten(0, 1) for part in (obs, taken, logprobs, advantages, advantages + values)]
    for _ in range(update_epochs):
        for rows in torch.randperm(num_steps * num_envs).chunk(num_minibatches):
            x, action, logprob, advantage, returns = (part[rows] for part in batch)
            policy = agent.policy(x)
            logratio = policy.log_prob(action).sum(-1) - logprob
            ratio = logratio.exp()
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            pg_loss = -torch.min(advantage * ratio, advantage * ratio.clamp(1 - clip_coef, 1 + clip_coef)).mean()
            loss = pg_loss + vf_coef * 0.5 * (agent.value(x) - returns).square().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), max_grad_norm)
            optimizer.step()
        if ((ratio - 1) - logratio).mean() > target_kl:
            break
    if update % 20 == 0 or update == updates:
        print(
            f"update {update}: {paid.mean():.2f} points an agent step in the dream, {time.time() - begun:.0f} s",
            flush=True,
        )

real, scores = gymnasium.make("wmloop/Real-v0", run=run), []
for episode in range(episodes):
    seen, _ = real.reset(seed=2**30 + episode)  # seeds from 2**30 on are held out of training
    score, over = 0.0, False
    while not over:
        with torch.no_grad():
            action = agent.actor_mean(torch.from_numpy(seen)).numpy().clip(low, high)
        seen, reward, terminated, truncated, _ = real.step(action)
        score, over = score + reward, terminated or truncated
    scores.append(score)
print(f"{np.mean(scores):.0f} ± {np.std(scores, ddof=1):.0f} points in reality, over {episodes} episodes")
