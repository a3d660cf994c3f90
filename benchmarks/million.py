"""What an iteration takes in time and memory once a million real frames are stored.

    python benchmarks/million.py RUN [--frames 1000000] [--threads 0]

makes, in a temporary folder, a run whose iterations repeat those of RUN until so many frames were collected, and then one more
iteration of its own in it, with RUN's settings. Says its seconds by stage beside those of RUN's last iteration, and the
process' peak memory. RUN has to have kept its rollouts.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

from wmloop import loop
from wmloop.config import with_settings
from wmloop.config.text import to_toml
from wmloop.device import resolve_threads, set_up
from wmloop.history import History
from wmloop.opening import stored_config
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.store import Store, Version


def repeat(source: Store, target: Store, frames: float) -> int:
    """Commit the finished iterations of `source` to `target`, again and again; return how many it took."""
    history = History(source, WORLD_MODEL)
    finished, _ = history.next_position()
    collected, iteration = 0.0, 0
    while collected < frames:
        made: dict[str, Version] = {}
        for stage in WORLD_MODEL.stages:
            version = history.version(iteration % finished, stage.name)
            assert version is not None
            if version.pruned:
                raise SystemExit(f"{source.name} has pruned {version.name}: take a run that kept all")
            draft = target.draft(iteration, stage.name)
            for name in version.files:
                if not name.startswith("latents-"):  # seen again anyway
                    draft.save_bytes(name, version.bytes(name))
            made[stage.name] = draft.commit(
                [made[need] for need in stage.needs], dict(version.metrics), version.seconds
            )
        collected += made["rollout"].metrics["frames"]
        iteration += 1
    return iteration


def main() -> None:
    """Make the run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--frames", type=float, default=1e6)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    source = Store.open(options.run)
    config = stored_config(source)
    with tempfile.TemporaryDirectory() as folder:
        target = Store.create(Path(folder), "million", to_toml(config), {})
        count = repeat(source, target, options.frames)
        budget = {"budget": {"iterations": count + 1, "goal": 1e9}}
        device = set_up("cpu", resolve_threads(options.threads), config.precision)
        loop.run(target, with_settings(config, budget), WORLD_MODEL, device, lambda event: None, lambda: False)
        last = {stage.name: target.version(count, stage.name) for stage in WORLD_MODEL.stages}
        frames = sum(v.metrics["frames"] for v in target.versions() if v.stage == "rollout")
    history = History(source, WORLD_MODEL)
    final = history.next_position()[0] - 1
    print(
        f"iteration {count}, {frames:,.0f} frames collected, learning from the newest"
        f" {config.rollout.replay_iterations} iterations"
    )
    for stage, version in last.items():
        before = history.version(final, stage)
        assert version is not None
        assert before is not None
        print(f"{stage:<11} {version.seconds:6.1f} s   (iteration {final} of {source.name}: {before.seconds:.1f} s)")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB, workers apart")


if __name__ == "__main__":
    main()
