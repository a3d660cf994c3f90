"""Make the small run that ships with wmloop.

    python tools/make_demo.py RUN ITERATION

RUN must still have its episodes: the states that the demo's dreams begin at are remembered from them.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from wmloop import bundle, pipelines
from wmloop.opening import stored_config
from wmloop.serving.starts import STARTS
from wmloop.store import Store
from wmloop.store.tensors import read

DEMO = Path(__file__).parent.parent / "wmloop" / "demo"
_FACTS = "git", "python", "cpu", "instructions", "cores", "versions"


def main(run: Path, iteration: int) -> None:
    """Replace the demo by the exported agent of `iteration`; of the facts of its run, those about no place are kept."""
    source = Store.open(run)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "demo.safetensors"
        bundle.write(source, pipelines.get(stored_config(source).pipeline), iteration, file)
        if not any(name.startswith(f"{STARTS}.") for name in read(file)[0]):
            raise SystemExit(f"{run} has no episodes any more: nobody could dream in such a demo")
        shutil.rmtree(DEMO, ignore_errors=True)
        demo = bundle.unpack(file, DEMO.parent, DEMO.name, {name: source.facts[name] for name in _FACTS})
    print(f"{DEMO}: {sum(version.num_bytes for version in demo.versions()):,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
