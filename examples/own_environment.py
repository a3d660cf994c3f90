"""Train in an environment of your own: here `dot.py`, which lies beside this program."""

import sys
from pathlib import Path

import wmloop

sys.path.insert(0, str(Path(__file__).parent))  # where the module of `dot:Dot-v0` is found
run = wmloop.train(
    {"preset": "smoke", "env": {"id": "dot:Dot-v0"}, "budget": {"iterations": 1, "goal": 80.0}},
    name="own-dot",
    runs="runs",
)
print(f"{run.metrics[-1]['evaluate']['score']:.0f} points")
