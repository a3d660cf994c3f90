"""Train a run, as `wmloop start from-python --preset smoke --seed 5 --iterations 1` does."""

import wmloop

run = wmloop.train({"preset": "smoke", "seed": 5, "budget": {"iterations": 1}}, name="from-python", runs="runs")
print(f"iteration {run.best} is best, with {run.metrics[-1]['evaluate']['score']:.0f} points; it lies in {run.path}")
