"""Make the small run that ships with wmloop from one iteration of a run: python tools/make_demo.py RUN ITERATION."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from wmloop import bundle, pipelines
from wmloop.opening import stored_config
from wmloop.store import Store

DEMO = Path(__file__).parent.parent / "wmloop" / "demo"


def main(run: Path, iteration: int) -> None:
    """Replace the demo by the exported agent of `iteration`; of the facts of its run, those about no place are kept."""
    source = Store.open(run)
    facts = {
        name: source.facts[name]
        for name in ("git", "python", "cpu", "instructions", "cores", "versions")
        if name in source.facts
    }
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "demo.safetensors"
        bundle.write(source, pipelines.get(stored_config(source).pipeline), iteration, file)
        shutil.rmtree(DEMO, ignore_errors=True)
        demo = bundle.unpack(file, DEMO.parent, DEMO.name, facts)
    print(f"{DEMO}: {sum(version.num_bytes for version in demo.versions()):,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
