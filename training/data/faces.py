"""FER2013's pictures by split, read from any of its forms, parsed once and mapped into memory from then on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from fer_batch.errors import StoppedError
from fer_batch.store import atomic_write
from training.data.csv_form import parse_csv
from training.data.fer2013 import KNOWN_SIZES, SIDE, SPLITS, VOTES, DataError, Parsed
from training.data.votes import read_votes, votes_of

__all__ = ["KNOWN_SIZES", "SIDE", "SPLITS", "VOTES", "DataError", "FaceSet", "read_fer2013", "split_named"]

CACHE_VERSION: Final = 2
"""Raised when what is cached changes its meaning."""

BLANK_RANGE: Final = 8
"""Grey values between the darkest and the brightest pixel of a blank picture, at most. In FER2013 the thirteen blank
ones have 0 to 3 as CSV or JPEG, all others 48 and more."""


@dataclass(frozen=True)
class FaceSet:
    """The pictures of one split.

    Attributes:
        images: (N, 48, 48) uint8 grey, possibly a read-only memory map.
        labels: (N,) int64, indices into ``EMOTIONS``.
        votes: (N, 10) float32, FER+ votes as shares that sum to 1, all zero for a row without votes; None without
            a FER+ file.
        rows: (N,) int64, row of each picture in the file, counting the first one under the header as 0; in the folder
            form its place in the sorted list of files.
        names: N file names below the data's folder; None where the pictures are rows of one file.
        note: what one should know about where the pictures come from.
        alignments: (N, 2, 3), the map that lays each face at the crop template, NaN where there is none; see
            :func:`training.data.landmarks.alignments`. None where nobody looked.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    votes: npt.NDArray[np.float32] | None
    rows: npt.NDArray[np.int64]
    names: tuple[str, ...] | None = None
    note: str = ""
    alignments: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        count = len(self.images)
        if self.images.shape != (count, SIDE, SIDE) or self.images.dtype != np.uint8:
            raise ValueError(f"images must be (N, {SIDE}, {SIDE}) uint8, not {self.images.shape} {self.images.dtype}")
        if self.labels.shape != (count,) or self.rows.shape != (count,):
            raise ValueError(f"labels and rows must be ({count},), not {self.labels.shape} and {self.rows.shape}")
        if self.votes is not None and self.votes.shape != (count, len(VOTES)):
            raise ValueError(f"votes must be ({count}, {len(VOTES)}), not {self.votes.shape}")
        if self.alignments is not None and self.alignments.shape != (count, 2, 3):
            raise ValueError(f"alignments must be ({count}, 2, 3), not {self.alignments.shape}")
        if self.names is not None and len(self.names) != count:
            raise ValueError(f"names must be {count}, not {len(self.names)}")

    def __len__(self) -> int:
        return len(self.images)

    def blank(self) -> npt.NDArray[np.bool_]:
        """(N,) bool: which pictures are one grey value, give or take what JPEG adds (:data:`BLANK_RANGE`)."""
        flat = self.images.reshape(len(self), -1)
        darkest, brightest = flat.min(axis=1, initial=255), flat.max(axis=1, initial=0)
        return np.asarray(brightest.astype(np.int64) - darkest <= BLANK_RANGE)

    def copied_from(self, other: FaceSet) -> npt.NDArray[np.bool_]:
        """(N,) bool: which pictures are, pixel for pixel, in another split too; blank ones do not count."""
        theirs = {image.tobytes() for image in other.images}
        return np.array([image.tobytes() in theirs for image in self.images], bool) & ~self.blank()

    def take(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> FaceSet:
        """The pictures selected by a mask or by indices, copied."""
        votes = None if self.votes is None else self.votes[which]
        names = None if self.names is None else tuple(self.names[i] for i in np.arange(len(self))[which])
        maps = None if self.alignments is None else self.alignments[which]
        images = np.asarray(self.images[which])
        return FaceSet(images, self.labels[which], votes, self.rows[which], names, self.note, maps)

    def where(self, index: int) -> str:
        """Where a picture stands in the data: its file name, or its row, counted from 1 as in error messages."""
        return self.names[index] if self.names is not None else f"row {self.rows[index] + 1}"


def read_fer2013(path: Path, *, ferplus: Path | None = None, cache: Path | None = None) -> dict[str, FaceSet]:
    """All splits that FER2013 holds, in one of its forms.

    Args:
        path: ``fer2013.csv`` or ``icml_face_data.csv``, plain or .gz: columns emotion, pixels and Usage in any order,
            spaces around their names allowed; or a folder with ``train/angry/*.jpg`` and so on, see
            :mod:`training.data.folder_form`. It may hold some of the splits only.
        ferplus: ``fer2013new.csv`` with the votes for the rows of a CSV, in the same order within each split.
        cache: folder that keeps the parsed pictures, found again by the data's content; made if need be.

    Returns:
        Split name to pictures, for the splits that are there, in the order of :data:`SPLITS`.

    Raises:
        DataError: the data cannot be read or is not in the expected form; the message names row and column, or file.
        StoppedError: the cache cannot be written.
    """
    if ferplus is not None and path.is_dir():
        raise DataError(f"{ferplus} has votes for the rows of FER2013's CSV; {path} is a folder: give the CSV")
    parsed = _read_folder(path, cache) if path.is_dir() else _read_csv(path, cache)
    votes = None if ferplus is None else read_votes(ferplus)
    splits = {}
    for index, name in enumerate(SPLITS):
        rows = np.flatnonzero(parsed.usage == index)
        if not len(rows):
            continue
        # The rows of a split are usually adjacent; a slice then keeps the memory map instead of copying it.
        adjacent = rows[-1] - rows[0] + 1 == len(rows)
        pictures = parsed.images[rows[0] : rows[-1] + 1] if adjacent else parsed.images[rows]
        mine = None if votes is None or ferplus is None else votes_of(votes, name, len(rows), ferplus)
        names = None if parsed.names is None else tuple(parsed.names[row] for row in rows)
        labels = parsed.labels[rows].astype(np.int64)
        splits[name] = FaceSet(pictures, labels, mine, rows, names, parsed.notes.get(name, ""))
    return splits


def split_named(splits: Mapping[str, FaceSet], name: str, path: Path) -> FaceSet:
    """One split of data that was read.

    Raises:
        DataError: the data does not hold it; the message lists the splits that it does.
    """
    if name not in splits:
        there = ", ".join(f"{k} ({len(v)})" for k, v in splits.items()) or "none"
        raise DataError(f"{path} has no rows of the split {name!r}; it holds: {there}. Name one of these.")
    return splits[name]


def _read_csv(path: Path, cache: Path | None) -> Parsed:
    if cache is None:
        return parse_csv(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return _load(cache, digest) or _save(cache, digest, parse_csv(path))


def _read_folder(path: Path, cache: Path | None) -> Parsed:
    from training.data.folder_form import list_folder, parse_folder

    files, notes = list_folder(path)
    contents = []
    for picture in files:
        try:
            contents.append((path / picture.name).read_bytes())
        except OSError as error:
            raise DataError(f"{path / picture.name} cannot be read: {error.strerror}") from error
    if cache is None:
        return parse_folder(path, files, contents, notes)
    content = hashlib.sha256(json.dumps([[file.name, file.split] for file in files]).encode())
    content.update(json.dumps(notes).encode())
    for data in contents:
        content.update(hashlib.sha256(data).digest())
    digest = content.hexdigest()
    return _load(cache, digest) or _save(cache, digest, parse_folder(path, files, contents, notes))


def _cache_files(cache: Path, digest: str) -> tuple[Path, Path, Path]:
    stem = f"fer2013-{CACHE_VERSION}-{digest[:16]}"
    return cache / f"{stem}-images.npy", cache / f"{stem}-rows.npy", cache / f"{stem}.json"


def _load(cache: Path, digest: str) -> Parsed | None:
    """What was parsed before, images as a memory map; None where it is not there, or not whole."""
    images, rows, text = _cache_files(cache, digest)
    try:
        told = json.loads(text.read_text(encoding="ascii"))
        labels, usage = np.load(rows)
        return Parsed(np.load(images, mmap_mode="r"), labels, usage, told["names"], told["notes"])
    except (OSError, ValueError, EOFError):
        return None  # parsed again, which costs seconds


def _save(cache: Path, digest: str, parsed: Parsed) -> Parsed:
    """Keeps what was parsed, and hands it back as it will be read from now on."""
    images, rows, text = _cache_files(cache, digest)
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoppedError(f"cannot write {cache}: {error.strerror}. Choose a folder that can be written.") from error
    for target, array in ((images, parsed.images), (rows, np.stack([parsed.labels, parsed.usage]))):
        with atomic_write(target) as file:
            np.save(file, array)
    with atomic_write(text) as file:
        file.write(json.dumps({"names": parsed.names, "notes": parsed.notes}).encode("ascii"))
    return _load(cache, digest) or parsed
