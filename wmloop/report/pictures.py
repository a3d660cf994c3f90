"""Pictures of a report, still and moving, as a browser takes them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np

#: Pixels between pictures, and their colour in a film, where they cannot be clear.
_GAP, _BETWEEN = 4, (128, 128, 128)


def grid(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return rows of pictures (N, H, W, 3) as one (H', W', 4), with nothing between them."""
    height, width = rows[0].shape[1:3]
    count = max(len(row) for row in rows)
    sheet = np.zeros((len(rows) * (height + _GAP) - _GAP, count * (width + _GAP) - _GAP, 4), np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = i * (height + _GAP), j * (width + _GAP)
            sheet[top : top + height, left : left + width, :3] = picture
            sheet[top : top + height, left : left + width, 3] = 255
    return sheet


def png(picture: np.ndarray) -> str:
    """Return a picture (H, W, 3 or 4) uint8 as the address of a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return _address("image/png", file)


def webp(films: Sequence[np.ndarray], milliseconds: int) -> str:
    """Return films (T, H, W, 3) uint8, beside each other, as the address of one that plays again and again."""
    from PIL import Image

    pictures = []
    for beside in zip(*films, strict=True):
        sheet = grid([np.stack(beside)])
        sheet[sheet[..., 3] == 0, :3] = _BETWEEN
        pictures.append(Image.fromarray(sheet[..., :3]))
    file = io.BytesIO()
    pictures[0].save(
        file, "webp", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0, quality=60, method=2
    )
    return _address("image/webp", file)


def _address(kind: str, file: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
