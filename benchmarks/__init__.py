"""How fast wmloop is, as ratios of two things timed in one process: `python -m benchmarks`."""
