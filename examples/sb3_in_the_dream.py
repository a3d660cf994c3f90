"""stable-baselines3's PPO learns in the demo's dream alone, and is then scored in reality.

pip install 'wmloop[sb3]'; python sb3_in_the_dream.py [STEPS [SEED]]
"""

import sys

import gymnasium
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

import wmloop

gymnasium.register_envs(wmloop)  # wmloop/Dream-v0 and wmloop/Real-v0
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 800_000
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1


class SB3VecEnv(VecEnv):
    """A Gymnasium vector environment that autoresets in the same step, as SB3 wants one; any of these will do."""

    def __init__(self, envs):
        self.envs = envs  # VecEnv asks it for its render_mode
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self):
        seeds, self._seeds = self._seeds, [None] * self.num_envs
        observations, _ = self.envs.reset(seed=seeds if any(seed is not None for seed in seeds) else None)
        return observations

    def step_async(self, actions):
        self.actions = actions

    def step_wait(self):
        observations, rewards, terminated, truncated, told = self.envs.step(self.actions)
        infos = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(terminated | truncated):
            infos[i] = {
                "terminal_observation": told["final_obs"][i],
                "TimeLimit.truncated": bool(truncated[i] and not terminated[i]),
            }
        return observations, rewards.astype(np.float32), terminated | truncated, infos

    def close(self):
        self.envs.close()

    def get_attr(self, name, indices=None):
        return [getattr(self.envs, name)] * len(list(self._get_indices(indices)))

    def set_attr(self, name, value, indices=None):
        raise NotImplementedError("the copies have no attributes of their own")

    def env_method(self, name, *arguments, indices=None, **keywords):
        raise NotImplementedError("the copies have no methods of their own")

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * len(list(self._get_indices(indices)))


dreams = gymnasium.make_vec(
    "wmloop/Dream-v0", num_envs=256, run="demo", horizon=25, temperature=1.4, autoreset_mode="SameStep"
)
model = PPO(
    "MlpPolicy",
    VecNormalize(VecMonitor(SB3VecEnv(dreams)), norm_obs=False, gamma=0.98),
    n_steps=25, batch_size=800, n_epochs=6, gamma=0.98, learning_rate=lambda left: 7e-4 * left, target_kl=0.03,
    policy_kwargs={"net_arch": [256, 256], "log_std_init": -0.7}, seed=SEED, verbose=1,
)  # fmt: skip
model.learn(STEPS)

real, scores = gymnasium.make("wmloop/Real-v0", run="demo"), []
for episode in range(20):
    seen, _ = real.reset(seed=2**30 + episode)  # seeds from 2**30 on are held out of training
    score, over = 0.0, False
    while not over:
        seen, reward, terminated, truncated, _ = real.step(model.predict(seen, deterministic=True)[0])
        score, over = score + reward, terminated or truncated
    scores.append(score)
print(f"{np.mean(scores):.0f} ± {np.std(scores, ddof=1):.0f} points in reality, over {len(scores)} episodes")
