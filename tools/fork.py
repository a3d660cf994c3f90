"""Do one stage of a run again with other settings, and nothing before it: for paired experiments.

    python tools/fork.py RUN NEW ITERATION STAGE [NAME=VALUE ...]

copies RUN's versions before ITERATION's STAGE into the new run NEW beside it, with the settings changed; then
`wmloop resume NEW --iterations N` goes on from there as the loop would.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wmloop.commands import command
from wmloop.config import with_settings
from wmloop.config.text import parse_setting, to_toml
from wmloop.errors import UsageError, WmloopError
from wmloop.opening import pipeline_of, stored_config
from wmloop.store import Store


def main(run: Path, name: str, iteration: int, stage: str, changes: list[str]) -> None:
    """Make the fork; its facts name where it comes from."""
    source = Store.open(run)
    config = before = stored_config(source)
    pipeline = pipeline_of(config)
    if stage not in pipeline.names:
        raise UsageError(
            f"the pipeline {pipeline.name} has no stage {stage!r}: its stages are {', '.join(pipeline.names)}"
        )
    for change in changes:
        config = with_settings(config, parse_setting(change))
    shapes = pipeline.resolve("shapes")
    if config.pipeline != before.pipeline:
        raise UsageError("another pipeline has other stages: `wmloop fork --pipeline` takes over what both have")
    if shapes(config) != shapes(before):
        raise UsageError("these settings change the shapes of networks, whose weights the fork would go on from")
    stages, place = list(pipeline.names), (iteration, pipeline.names.index(stage))
    parent = {"run": source.name, "iteration": iteration, "before": stage, "created": source.created}
    origin = {"forked_from": parent, "changed": changes}
    kept = [version for version in source.versions() if (version.iteration, stages.index(version.stage)) < place]
    fork = Store.create(run.parent, name, to_toml(config), {**source.facts, **origin}, kept)
    line = command("resume", fork.path, "--iterations", str(iteration + 1))
    print(f"{fork.path}: {len(kept)} stage outputs; go on with `{line}`")


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5:])
    except WmloopError as error:
        sys.exit(f"error: {error}")
