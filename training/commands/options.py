"""What the training commands share."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from training.data.faces import FaceSet

TRAINING: Final = "Training"
"""The split that ``train`` learns from."""

VALIDATION: Final = "PublicTest"
"""The split that ``train`` reports on and fits the temperature on."""


def read_data(data: Path, ferplus: Path | None = None, cache: Path | None = None) -> Mapping[str, FaceSet]:
    """FER2013 by split, with FER+'s votes: those that are asked for, or those that lie beside it and fit.

    Args:
        data: the CSV, or a folder of pictures.
        ferplus: file of votes; must fit. None takes the one beside the CSV, and says so where it belongs to other rows.
        cache: folder for the parsed pictures.

    Raises:
        DataError: the data, or the votes that were asked for, cannot be used.
    """
    from training.data.faces import read_fer2013
    from training.data.fer2013 import DataError
    from training.data.votes import find_votes

    beside = find_votes(data) if ferplus is None else None
    if beside is not None:
        try:
            return read_fer2013(data, ferplus=beside, cache=cache)
        except DataError as error:
            splits = read_fer2013(data, cache=cache)  # what is wrong with the pictures themselves is told here
            print(f"without FER+: {error}", file=sys.stderr, flush=True)
            return splits
    return read_fer2013(data, ferplus=ferplus, cache=cache)
