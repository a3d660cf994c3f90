"""Dream: after 20 agent steps in the real environment, which are not shown, the agent goes on inside its world model."""

import itertools

import wmloop

moments = list(itertools.islice(wmloop.dream("demo", seed=1), 50))
predicted = sum(moment.reward for moment in moments)
picture = moments[-1].pictures["dream"]
print(f"{predicted:.0f} points predicted for {moments[-1].decision} decisions; the last picture is {picture.shape}")
