"""Reads FER2013 as the challenge gave it out: one CSV, plain or gzipped, a row a picture."""

from __future__ import annotations

import csv
import gzip
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_batch.schema import EMOTIONS
from training.data.fer2013 import SIDE, SPLITS, DataError, Parsed


def parse_csv(path: Path) -> Parsed:
    """All rows of ``fer2013.csv`` or ``icml_face_data.csv``: columns emotion, pixels and Usage in any order.

    Raises:
        DataError: the file cannot be read or is not in this form; the message names row and column.
    """
    images, labels, usage = [], [], []
    with warnings.catch_warnings():
        # NumPy's fast parser only warns where a text stops being numbers.
        warnings.simplefilter("error", DeprecationWarning)
        for number, row in csv_rows(path, ("emotion", "pixels", "Usage")):
            where = f"{path}, row {number}, column"
            label = row["emotion"]
            if not (label.isdecimal() and int(label) < len(EMOTIONS)):
                raise DataError(f"{where} emotion: {label[:20]!r} is not a class from 0 to {len(EMOTIONS) - 1}")
            if row["Usage"] not in SPLITS:
                raise DataError(f"{where} Usage: {row['Usage'][:40]!r} is none of {', '.join(SPLITS)}")
            images.append(_pixels(row["pixels"], f"{where} pixels"))
            labels.append(int(label))
            usage.append(SPLITS.index(row["Usage"]))
    if not images:
        raise DataError(f"{path} holds no rows under its header")
    return Parsed(np.stack(images), np.array(labels, np.uint8), np.array(usage, np.uint8), None, {})


def csv_rows(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV with stripped column names and values, numbered from 1 as the first line under the header.

    Raises:
        DataError: the file cannot be read, a needed column is missing, or a row has too few or too many values.
    """
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
        raise DataError(
            f"{path} cannot be read as CSV ({error}); give FER2013's CSV, plain or .gz, or the folder with its pictures"
        ) from error


def _pixels(text: str, where: str) -> npt.NDArray[np.uint8]:
    try:
        pixels = np.fromstring(text, dtype=np.int64, sep=" ")
    except (ValueError, DeprecationWarning) as error:
        raise DataError(f"{where}: not whole numbers separated by spaces ({_odd(text)!r})") from error
    if len(pixels) != SIDE * SIDE:
        raise DataError(f"{where}: {len(pixels)} values instead of {SIDE * SIDE} ({SIDE} x {SIDE})")
    if pixels.min() < 0 or pixels.max() > 255:
        raise DataError(f"{where}: values from {pixels.min()} to {pixels.max()}, allowed are 0 to 255")
    return pixels.astype(np.uint8).reshape(SIDE, SIDE)


def _odd(text: str) -> str:
    """The first value that is no whole number."""
    return next((value[:20] for value in text.split() if not value.lstrip("+-").isdecimal()), text[:20])
