"""Load a trained agent and drive an episode with it."""

import gymnasium

import wmloop

agent = wmloop.load("demo")
env = gymnasium.make("CarRacing-v3")
score = agent.run_episode(env, seed=1)
print(f"{score:.0f} points")
