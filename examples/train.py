"""Train a run, as `wmloop start first --preset smoke --iterations 1` does."""

import wmloop

run = wmloop.train({"preset": "smoke", "seed": 5, "budget": {"iterations": 1}}, name="first", runs="runs")
print(f"iteration {run.best} is best, with {run.metrics[-1]['evaluate']['score']:.0f} points; it lies in {run.path}")
