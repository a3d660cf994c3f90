"""Do one stage of a run again with other settings, and nothing before it: for paired experiments.

    python tools/fork.py RUN NEW ITERATION STAGE [NAME=VALUE ...]

copies RUN's versions before ITERATION's STAGE into the new run NEW beside it, with the settings changed; then
`wmloop resume NEW --iterations N` goes on from there as the loop would.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wmloop.config import with_settings
from wmloop.config.text import parse_setting, to_toml
from wmloop.opening import stored_config
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.store import Store


def main(run: Path, name: str, iteration: int, stage: str, changes: list[str]) -> None:
    """Make the fork; its facts name where it comes from."""
    stages = list(WORLD_MODEL.names)
    place = iteration, stages.index(stage)
    source = Store.open(run)
    config = stored_config(source)
    for change in changes:
        config = with_settings(config, parse_setting(change))
    parent = {"run": source.name, "iteration": iteration, "before": stage, "created": source.created}
    origin = {"forked_from": parent, "changed": changes}
    kept = [version for version in source.versions() if (version.iteration, stages.index(version.stage)) < place]
    fork = Store.create(run.parent, name, to_toml(config), {**source.facts, **origin}, kept)
    print(f"{fork.path}: {len(kept)} stage outputs; go on with `wmloop resume {name} --iterations {iteration + 1}`")


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5:])
