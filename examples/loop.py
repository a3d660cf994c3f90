"""Drive in a loop of your own: the agent takes what the environment shows, and returns one frame's action."""

import gymnasium

import wmloop

agent = wmloop.load("demo")
env = gymnasium.make("CarRacing-v3", max_episode_steps=200)
observation, _ = env.reset(seed=1)
agent.reset()  # as each episode begins
score, over = 0.0, False
while not over:
    observation, reward, terminated, truncated, _ = env.step(agent.act(observation))
    score, over = score + float(reward), terminated or truncated
print(f"{score:.0f} points in 200 frames")
