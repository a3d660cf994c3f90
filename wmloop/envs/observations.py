"""Read what an environment shows, whatever space it declares: a picture, a vector, or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from wmloop.envs.pictures import PICTURE, Pictures, is_picture
from wmloop.envs.shrinking import SHOWN, BoxFilter
from wmloop.envs.vectors import LONGEST, VECTOR, Vectors, is_vector
from wmloop.errors import EnvironmentFailedError, UsageError
from wmloop.spaces import ObservationSpec, PictureAndVector, Vector

#: What the largest observation takes in memory, in bytes.
LARGEST_BYTES = PictureAndVector(SHOWN, Vector(LONGEST)).shape[0]


class Observations:
    """Read observations as `spec` has them: a picture shrunk, numbers in a row, or both.

    Of a Dict the entries in `chosen` are looked at, all where that is empty: one picture at most, and the vectors in the order
    of the space, in a row. `numbers` is how many of these there are, `size` the height and width of the picture or None, and
    `notes` say what is cast on the way.

    Raises:
        UsageError: wmloop does not look at such a space; the message names `who`, and says what would fit.
    """

    spec: ObservationSpec

    def __init__(self, who: str, space: Any, chosen: Sequence[str] = ()) -> None:
        self._keyed = isinstance(space, spaces.Dict)
        self._who, self._picture_key = who, ""
        self._pictures: Pictures | None = None
        self._vectors: list[tuple[str, Vectors]] = []
        for key, part in _parts(who, space, chosen):
            if is_picture(part):
                if self._pictures is not None:
                    raise UsageError(
                        f"{who} shows two pictures, {self._picture_key!r} and {key!r}, and wmloop looks at one:"
                        f' --set env.observation=["{key}"] chooses it, and may name vectors beside it'
                    )
                self._pictures, self._picture_key = Pictures(part), key
            elif is_vector(part):
                self._vectors.append((key, Vectors(part)))
            else:
                _refuse(who, space, key, part)
        self.numbers = sum(vectors.size for _, vectors in self._vectors)
        if self.numbers > LONGEST:
            raise UsageError(f"{who} shows {space}, {self.numbers} numbers, and wmloop looks at {LONGEST} at most")
        self.size = None if self._pictures is None else self._pictures.shape[:2]
        vector = Vector(self.numbers)
        if self._pictures is None:
            self.spec = vector
        else:
            self.spec = PictureAndVector(SHOWN, vector) if self._vectors else SHOWN
        self.notes = [
            part.note for part in (self._pictures, *(vectors for _, vectors in self._vectors)) if part and part.note
        ]
        if self._keyed:
            what = [f"the picture {self._picture_key!r}"] * (self.size is not None)
            what += [f"the vector {key!r} ({vectors.size})" for key, vectors in self._vectors]
            self.notes.append(f"of its observation wmloop looks at {' and '.join(what)}")
        elif self.numbers:
            self.notes.append(f"its observations are vectors of {self.numbers} numbers")
        #: What reads it, as `self` does: the vector itself where that is all there is.
        self.read: Callable[..., np.ndarray] = self
        if not self._keyed and self._pictures is None:
            self.read = self._vectors[0][1]
        self._shrink: BoxFilter | None = None

    def look_at(self, crop: tuple[int, int, int, int] | None) -> None:
        """Look at this part of the picture, (top, bottom, left, right), from now on; at all of it with None."""
        if self._pictures is not None:
            self._shrink = BoxFilter(self._pictures.shape, crop, SHOWN)

    @property
    def unscaled(self) -> bool:
        """Tell whether it declares pictures in [0, 255] and shows them in [0, 1]."""
        return self._pictures is not None and self._pictures.unscaled

    def picture(self, shown: Any) -> np.ndarray | None:
        """Return the whole picture (H, W, 3) uint8 of what the environment shows; None where there is none.

        Raises:
            EnvironmentFailedError: it is none as declared.
        """
        return None if self._pictures is None else self._pictures(self._entry(shown, self._picture_key))

    def __call__(self, shown: Any, before: np.ndarray | None = None) -> np.ndarray:
        """Return what the environment shows as one of `spec`.

        With `before`, the observation of the decision before the last of an episode, a black picture is taken for none, and
        that of `before` is kept: some, as ViZDoom, have nothing more to draw at the end.

        Raises:
            EnvironmentFailedError: it is none as declared.
        """
        picture = self.picture(shown)
        parts = [vectors(self._entry(shown, key)) for key, vectors in self._vectors]
        if picture is None or self._shrink is None:
            return np.concatenate(parts) if len(parts) > 1 else parts[0]
        earlier = None if before is None or picture.any() else self.spec.picture(before)
        small = self._shrink(picture) if earlier is None else earlier
        return self.spec.join(small, np.concatenate(parts)) if isinstance(self.spec, PictureAndVector) else small

    def _entry(self, shown: Any, key: str) -> Any:
        if not self._keyed:
            return shown
        try:
            return shown[key]
        except (TypeError, KeyError, IndexError):
            raise EnvironmentFailedError(f"showed no entry {key!r}, and it declares a Dict with that") from None


def _parts(who: str, space: Any, chosen: Sequence[str]) -> list[tuple[str, Any]]:
    """Return the parts of a space that are looked at, by key."""
    if not isinstance(space, spaces.Dict):
        if chosen:
            raise UsageError(
                f"env.observation names {list(chosen)}, and {who} shows {space}, which has no keys: give []"
            )
        return [("", space)]
    missing = [key for key in chosen if key not in space.spaces]
    if missing:
        raise UsageError(
            f"env.observation names {', '.join(map(repr, missing))}, and {who} shows"
            f" {', '.join(map(repr, space.spaces))}"
        )
    parts = [(key, part) for key, part in space.spaces.items() if not chosen or key in chosen]
    if not parts:
        raise UsageError(f"{who} shows {space}: there is nothing to see. wmloop looks at {PICTURE}, at {VECTOR}")
    return parts


def _refuse(who: str, space: Any, key: str, part: Any) -> None:
    entry = ""
    if isinstance(space, spaces.Dict):
        others = [other for other, it in space.spaces.items() if is_picture(it) or is_vector(it)]
        entry = f" as {key!r}"
        if others:
            entry += f" (--set env.observation={str(others).replace(chr(39), chr(34))} leaves it out)"
    raise UsageError(
        f"{who} shows {part}{entry}, and wmloop looks at {PICTURE}, at {VECTOR}, or at a Dict of one picture and any"
        " vectors. What it draws can be looked at in its place: --set env.pixels=true"
    )
