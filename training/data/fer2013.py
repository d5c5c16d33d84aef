"""What FER2013 is: its pictures' size, its splits, the columns of its votes, and the error of data that is not so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fer_batch.errors import RefusedError

SIDE: Final = 48
"""Width and height of every picture in pixels."""

SPLITS: Final = ("Training", "PublicTest", "PrivateTest")
"""The values of the column Usage."""

KNOWN_SIZES: Final = {"Training": 28_709, "PublicTest": 3_589, "PrivateTest": 3_589}
"""Pictures of each split in the challenge's own edition (Goodfellow et al. 2013)."""

VOTES: Final = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip
"""The vote columns of FER+, in its order; NF is "not a face"."""


class DataError(RefusedError):
    """Training data is missing or not what it should be; the message names file, row and column."""


@dataclass(frozen=True, eq=False)
class Parsed:
    """What a form of FER2013 holds, as read.

    Attributes:
        images: (N, 48, 48) uint8 grey.
        labels: (N,) uint8, indices into ``EMOTIONS``.
        usage: (N,) uint8, indices into ``SPLITS``.
        names: N file names below the data's folder; None where the pictures are rows of one file.
        notes: split to what one should know about where its pictures come from.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    usage: npt.NDArray[np.uint8]
    names: list[str] | None
    notes: dict[str, str]
