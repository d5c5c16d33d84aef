"""Reads FER2013: the challenge's CSV, plain or gzipped, and the FER+ votes that may lie beside it."""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from fer_batch.errors import RefusedError
from fer_batch.schema import EMOTIONS

SIDE: Final = 48
"""Width and height of every picture in pixels."""

SPLITS: Final = ("Training", "PublicTest", "PrivateTest")
"""The values of the column Usage."""

VOTES: Final = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip
"""The vote columns of FER+, in its order."""

CACHE_VERSION: Final = 1
"""Raised when what is cached changes its meaning."""


class DataError(RefusedError):
    """Training data is missing or not what it should be; the message names file, row and column."""


@dataclass(frozen=True)
class FaceSet:
    """The pictures of one split.

    Attributes:
        images: (N, 48, 48) uint8 grey, possibly a read-only memory map.
        labels: (N,) int64, indices into ``EMOTIONS``.
        votes: (N, 10) float32, FER+ votes as shares that sum to 1, all zero for a row without votes; None without
            a FER+ file.
        rows: (N,) int64, row of each picture in the file, counting the first one under the header as 0.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    votes: npt.NDArray[np.float32] | None
    rows: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        count = len(self.images)
        if self.images.shape != (count, SIDE, SIDE) or self.images.dtype != np.uint8:
            raise ValueError(f"images must be (N, {SIDE}, {SIDE}) uint8, not {self.images.shape} {self.images.dtype}")
        if self.labels.shape != (count,) or self.rows.shape != (count,):
            raise ValueError(f"labels and rows must be ({count},), not {self.labels.shape} and {self.rows.shape}")
        if self.votes is not None and self.votes.shape != (count, len(VOTES)):
            raise ValueError(f"votes must be ({count}, {len(VOTES)}), not {self.votes.shape}")

    def __len__(self) -> int:
        return len(self.images)

    def blank(self) -> npt.NDArray[np.bool_]:
        """(N,) bool: which pictures are one constant grey value."""
        flat = self.images.reshape(len(self), -1)
        return np.asarray(flat.min(axis=1, initial=255) == flat.max(axis=1, initial=0))

    def take(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> FaceSet:
        """The pictures selected by a mask or by indices, copied."""
        votes = None if self.votes is None else self.votes[which]
        return FaceSet(np.asarray(self.images[which]), self.labels[which], votes, self.rows[which])


def read_fer2013(path: Path, *, ferplus: Path | None = None, cache: Path | None = None) -> dict[str, FaceSet]:
    """All splits that a FER2013 file holds.

    Args:
        path: ``fer2013.csv`` or ``icml_face_data.csv``, plain or .gz: columns emotion, pixels and Usage in any order,
            spaces around their names allowed. It may hold some of the splits only.
        ferplus: ``fer2013new.csv`` with the votes for the same rows in the same order within each split.
        cache: folder that keeps the parsed pictures, found again by the file's content; made if need be.

    Returns:
        Split name to pictures, for the splits that are there, in the order of :data:`SPLITS`.

    Raises:
        DataError: a file cannot be read or is not in the expected form; the message names row and column.
    """
    images, labels, usage = _cached(path, cache) if cache else _parse(path)
    votes = None if ferplus is None else _read_votes(ferplus)
    splits = {}
    for index, name in enumerate(SPLITS):
        rows = np.flatnonzero(usage == index)
        if not len(rows):
            continue
        # The rows of a split are usually adjacent; a slice then keeps the memory map instead of copying it.
        adjacent = rows[-1] - rows[0] + 1 == len(rows)
        pictures = images[rows[0] : rows[-1] + 1] if adjacent else images[rows]
        mine = None if votes is None else _votes_of(votes, name, len(rows), ferplus)
        splits[name] = FaceSet(pictures, labels[rows].astype(np.int64), mine, rows)
    return splits


def split_named(splits: Mapping[str, FaceSet], name: str, path: Path) -> FaceSet:
    """One split of a file that was read.

    Raises:
        DataError: the file does not hold it; the message lists the splits that it does.
    """
    if name not in splits:
        there = ", ".join(f"{k} ({len(v)})" for k, v in splits.items()) or "none"
        raise DataError(f"{path} has no rows of the split {name!r}; it holds: {there}. Name one of these.")
    return splits[name]


Parsed = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


def _lines(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV with stripped column names and values, numbered from 1 as the first line under the header."""
    csv.field_size_limit(max(csv.field_size_limit(), 1 << 20))
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            for name in needed:
                if name not in header:
                    found = ", ".join(header) or "nothing"
                    raise DataError(f"{path}: column {name!r} is missing; the first line has: {found[:200]}")
            for number, values in enumerate(reader, start=1):
                if not values:
                    continue
                if len(values) != len(header):
                    raise DataError(f"{path}, row {number}: {len(values)} columns instead of {len(header)}")
                yield number, {name: value.strip() for name, value in zip(header, values, strict=True)}
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}); give FER2013's CSV, plain or .gz") from error


def _parse(path: Path) -> Parsed:
    """Images (N, 48, 48), labels (N,) and split numbers (N,), all uint8."""
    images, labels, usage = [], [], []
    for number, row in _lines(path, ("emotion", "pixels", "Usage")):
        where = f"{path}, row {number}, column"
        label = row["emotion"]
        if not (label.isdecimal() and int(label) < len(EMOTIONS)):
            raise DataError(f"{where} emotion: {label[:20]!r} is not a class from 0 to {len(EMOTIONS) - 1}")
        if row["Usage"] not in SPLITS:
            raise DataError(f"{where} Usage: {row['Usage'][:40]!r} is none of {', '.join(SPLITS)}")
        try:
            pixels = np.array(row["pixels"].split(), dtype=np.int64)
        except (ValueError, OverflowError) as error:
            raise DataError(f"{where} pixels: not whole numbers separated by spaces ({error})") from error
        if len(pixels) != SIDE * SIDE:
            raise DataError(f"{where} pixels: {len(pixels)} values instead of {SIDE * SIDE} ({SIDE} x {SIDE})")
        if pixels.min() < 0 or pixels.max() > 255:
            raise DataError(f"{where} pixels: values from {pixels.min()} to {pixels.max()}, allowed are 0 to 255")
        images.append(pixels.astype(np.uint8).reshape(SIDE, SIDE))
        labels.append(int(label))
        usage.append(SPLITS.index(row["Usage"]))
    if not images:
        raise DataError(f"{path} holds no rows under its header")
    return np.stack(images), np.array(labels, np.uint8), np.array(usage, np.uint8)


def _cached(path: Path, cache: Path) -> Parsed:
    """The same as :func:`_parse`, parsed once for each content; images come as a memory map."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    stem = f"fer2013-{CACHE_VERSION}-{digest[:16]}"
    pixels, table = cache / f"{stem}-images.npy", cache / f"{stem}-rows.npy"
    if not (pixels.exists() and table.exists()):
        cache.mkdir(parents=True, exist_ok=True)
        images, labels, usage = _parse(path)
        for target, array in ((pixels, images), (table, np.stack([labels, usage]))):
            partial = target.with_name(f"{target.name}.{os.getpid()}.part")
            with partial.open("wb") as file:
                np.save(file, array)
            partial.replace(target)
    rows = np.load(table)
    return np.load(pixels, mmap_mode="r"), rows[0], rows[1]


def _read_votes(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """FER+ votes by split as shares of each row's sum; rows without any vote are zero."""
    votes: dict[str, list[list[int]]] = {name: [] for name in SPLITS}
    for number, row in _lines(path, ("Usage", *VOTES)):
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


def _votes_of(
    votes: Mapping[str, npt.NDArray[np.float32]], split: str, count: int, path: Path | None
) -> npt.NDArray[np.float32]:
    if len(votes[split]) != count:
        raise DataError(
            f"{path} has votes for {len(votes[split])} rows of {split}, the pictures' file has {count}: "
            "the two belong to different editions of the data"
        )
    return votes[split]
