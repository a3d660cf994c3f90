"""What an evaluation saves of its episodes: the results of a wave in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wmloop.calibration.scores import EpisodeResult
from wmloop.store import Version

#: The episodes that every agent is scored on, and further ones that confirm a goal, as their files are called.
TRACKS, FURTHER = "tracks", "confirm"
_FORMER = {"promised": "predicted", "paid": "real", "lived": "steps"}


def results_file(kind: str, wave: int) -> str:
    """Return the name of the file that holds the results of a wave of `kind`, TRACKS or FURTHER."""
    return f"{kind}-{wave:04d}.json"


def as_records(results: Sequence[EpisodeResult]) -> list[dict[str, Any]]:
    """Return results as JSON has them."""
    return [result._asdict() for result in results]


def from_records(records: Sequence[Mapping[str, Any]]) -> list[EpisodeResult]:
    """Return results as they were saved, by name: what an older program saved may say more, or less."""
    named = [{_FORMER.get(name, name): value for name, value in record.items()} for record in records]
    fields = EpisodeResult._fields
    return [EpisodeResult(**{name: record[name] for name in fields if name in record}) for record in named]


def saved_results(evaluation: Version) -> Iterator[tuple[bool, EpisodeResult]]:
    """Yield the results that an evaluation holds, in the order of their files, and whether each is of a further episode."""
    for file in sorted(evaluation.files):
        kind = file.partition("-")[0]
        if kind in (TRACKS, FURTHER):
            for result in from_records(evaluation.json(file)):
                yield kind == FURTHER, result
