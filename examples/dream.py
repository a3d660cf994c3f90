"""Dream: the agent acts inside its world model, and no environment is involved."""

import itertools

import wmloop

moments = list(itertools.islice(wmloop.dream("demo", seed=1), 50))
predicted = sum(moment.reward for moment in moments)
picture = moments[-1].pictures["dream"]
print(f"{predicted:.0f} points predicted for {moments[-1].decision} decisions; the last picture is {picture.shape}")
