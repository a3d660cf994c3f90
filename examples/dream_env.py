"""The dream as a Gymnasium environment: 64 copies, with random actions."""

import gymnasium

import wmloop

gymnasium.register_envs(wmloop)  # wmloop/Dream-v0 and wmloop/Real-v0
envs = gymnasium.make_vec("wmloop/Dream-v0", num_envs=64, run="demo", horizon=25)
observations, infos = envs.reset(seed=1)
envs.action_space.seed(1)
total = 0.0
for _ in range(25):
    actions = envs.action_space.sample()
    observations, rewards, terminated, truncated, infos = envs.step(actions)
    total += rewards.sum()
print(f"{total / 64:.1f} points a dream of 25 agent steps; {observations.shape} features")
