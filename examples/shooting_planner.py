"""Random shooting: at each agent step of reality, many action sequences are dreamt, and what the best do first is done.

python shooting_planner.py [AGENT_STEPS [EPISODE]]
"""

import sys

import gymnasium
import numpy as np

import wmloop

gymnasium.register_envs(wmloop)  # wmloop/Dream-v0 and wmloop/Real-v0
steps = int(sys.argv[1]) if len(sys.argv) > 1 else 250
episode = int(sys.argv[2]) if len(sys.argv) > 2 else 0
num_plans, horizon, rng = 1024, 15, np.random.default_rng(0)
real = gymnasium.make("wmloop/Real-v0", run="demo")
dreams = gymnasium.make_vec("wmloop/Dream-v0", num_envs=num_plans, run="demo")
low, high = real.action_space.low, real.action_space.high
mean, std = np.tile([0, 0.2, 0], (horizon, 1)), np.array([0.6, 0.3, 0.3])  # steering, gas, brake

dreams.reset(seed=0)
real.reset(seed=2**30 + episode)  # seeds from 2**30 on are held out of training
score, over = 0.0, False
for _ in range(steps):
    noise = rng.standard_normal((horizon, num_plans, 3)).cumsum(0) / np.sqrt(np.arange(1, horizon + 1))[:, None, None]
    plans = (mean[:, None] + std * noise).clip(low, high)  # (horizon, num_plans, 3): steering turns slowly
    returns, alive = np.zeros(num_plans), np.ones(num_plans, bool)
    dreams.reset(options={"state": real.unwrapped.state})
    for actions in plans:
        _, rewards, terminated, _, _ = dreams.step(actions)
        returns += alive * rewards
        alive &= ~terminated
    best = returns.argsort()[-16:]
    mean[:-1] = plans[1:, best].mean(1)  # what comes next is planned near what was good
    _, reward, terminated, truncated, _ = real.step(plans[0, best].mean(0).astype(np.float32))
    score, over = score + float(reward), terminated or truncated
    if over:
        break
print(f"{score:.0f} points in reality")
