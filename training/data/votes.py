"""FER+: ten annotators' votes for each row of FER2013 (Barsoum et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from training.data.csv_form import csv_rows
from training.data.fer2013 import SPLITS, VOTES, DataError

FILE: Final = "fer2013new.csv"
"""What FER+ calls its file."""


def find_votes(data: Path) -> Path | None:
    """The file ``fer2013new.csv`` beside FER2013's CSV; None where there is none, or where `data` is a folder."""
    beside = data.parent / FILE
    return beside if data.is_file() and beside.is_file() else None


def read_votes(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Split to (N, 10) float32 votes as shares of each row's sum; rows without any vote are zero.

    Raises:
        DataError: the file cannot be read or is not FER+; the message names row and column.
    """
    votes: dict[str, list[list[int]]] = {name: [] for name in SPLITS}
    for number, row in csv_rows(path, ("Usage", *VOTES)):
        if row["Usage"] not in votes:
            raise DataError(f"{path}, row {number}, column Usage: {row['Usage'][:40]!r} is none of {', '.join(SPLITS)}")
        counts = []
        for name in VOTES:
            if not row[name].isdecimal():
                raise DataError(f"{path}, row {number}, column {name}: {row[name][:20]!r} is not a number of votes")
            counts.append(int(row[name]))
        votes[row["Usage"]].append(counts)
    shares = {}
    for name, rows in votes.items():
        table = np.array(rows, np.float32).reshape(-1, len(VOTES))
        shares[name] = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    return shares


def votes_of(
    votes: Mapping[str, npt.NDArray[np.float32]], split: str, count: int, path: Path
) -> npt.NDArray[np.float32]:
    """The votes for a split's `count` pictures.

    Raises:
        DataError: there are votes for more or fewer rows.
    """
    if len(votes[split]) != count:
        raise DataError(
            f"{path} has votes for {len(votes[split])} rows of {split}, the pictures' file has {count}: "
            "the two belong to different editions of the data"
        )
    return votes[split]
