"""Make the small run that ships with wmloop from one iteration of a run: python tools/make_demo.py RUN ITERATION."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from wmloop.stages.weights import Triple
from wmloop.store import Store

DEMO = Path(__file__).parent.parent / "wmloop" / "demo"
#: What play and eval read, by stage; latents, critic and episodes stay behind.
KEPT = {"vision": "model.safetensors", "memory": "model.safetensors", "controller": "actor.safetensors"}


def main(run: Path, iteration: int) -> None:
    """Replace the demo by the triple of `iteration` and its evaluation, as iteration 0 of a run called demo."""
    source = Store.open(run)
    versions = Triple.of(source, iteration)._asdict()
    facts = {name: source.facts[name] for name in ("python", "cpu", "cores", "versions") if name in source.facts}
    shutil.rmtree(DEMO, ignore_errors=True)
    demo = Store.create(DEMO.parent, DEMO.name, source.config_text, {"iteration": iteration, **facts})
    made = []
    for stage, file in KEPT.items():
        draft = demo.draft(0, stage)
        draft.save_bytes(file, versions[stage].bytes(file))
        parents = made if stage == "controller" else []
        made.append(draft.commit(parents, versions[stage].metrics, versions[stage].seconds))
    evaluation = source.version(iteration, "evaluate")
    assert evaluation is not None, "an agent that ships has a score"
    draft = demo.draft(0, "evaluate")
    for file in evaluation.files:
        draft.save_bytes(file, evaluation.bytes(file))
    draft.commit(made, evaluation.metrics, evaluation.seconds)
    print(f"{DEMO}: {sum(version.num_bytes for version in demo.versions()):,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
