"""The small picture of a video in a row of the ledger, which needs no script."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from fer_batch.palette import CONDITIONS
from fer_batch.schema import EMOTIONS

LAYERS: Final = (*EMOTIONS, *CONDITIONS)
"""From the bottom of the picture to its top."""

LEVELS: Final = 35
"""Heights are told apart in so many steps: one character each where they are written down."""

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def levels(strip: pa.Table) -> str:
    """A :func:`reports.measures.strip` as text: for each column the top of each layer, in base 36, from 0 to 35.

    A trailing layer that is as high as the one before is left out everywhere: most videos have no damage.
    """
    heights = np.stack([strip[name].to_numpy() for name in LAYERS])
    tops = np.rint(LEVELS * np.clip(np.cumsum(heights, axis=0), 0, 1)).astype(int)
    used = max((i + 1 for i in range(len(LAYERS)) if i == 0 or (tops[i] != tops[i - 1]).any()), default=1)
    return f"{_DIGITS[used]}" + "".join(_DIGITS[top] for column in tops[:used].T for top in column)


def strip_layers(text: str) -> list[tuple[str, str]]:
    """The layers of :func:`levels` as outlines, in the order in which they are painted.

    Returns:
        Name of each layer, and its outline as CSS ``polygon()`` points in per cent of the picture. Each layer reaches
        down to the base line and the next one covers it, so no slits show between them; a CSS background, unlike an
        SVG pattern, keeps its scale when the picture is stretched.
    """
    used = _DIGITS.index(text[0])
    tops = np.array([_DIGITS.index(digit) for digit in text[1:]]).reshape(-1, used).T
    columns = tops.shape[1]
    layers: list[tuple[str, str]] = []
    below = np.zeros(columns, int)
    for name, top in zip(LAYERS, tops, strict=False):
        if (top > below).any():
            points = ["0 100%"]
            for at, height in enumerate(top):
                level = f"{round(100 - 100 * height / LEVELS)}%"
                if at == 0 or height != top[at - 1]:
                    points.append(f"{_percent(at, columns)} {level}")
                if at == columns - 1 or height != top[at + 1]:
                    points.append(f"{_percent(at + 1, columns)} {level}")
            layers.append((name, ",".join([*points, "100% 100%"])))
        below = top
    return layers[::-1]


def _percent(part: int, whole: int) -> str:
    value = round(100 * part / whole, 1)
    return f"{value:g}%" if value else "0"
