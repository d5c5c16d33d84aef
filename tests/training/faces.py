"""Tiny labelled pictures with known answers, in FER2013's formats."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from training.data.faces import VOTES, FaceSet

COLUMNS = ("emotion", "pixels", "Usage")


def pictures(count: int, seed: int = 0) -> FaceSet:
    """Pictures whose class can be learnt: class k is a bright bar at the k-th seventh of the height, in noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 7
    images = random.integers(40, 90, (count, 48, 48)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[label * 7 : label * 7 + 6] += 120
    votes = np.eye(len(VOTES), dtype=np.float32)[labels]
    return FaceSet(images, labels, votes, np.arange(count))


def row(label: int | str, image: npt.NDArray[np.uint8] | str, usage: str) -> dict[str, str]:
    """One line of the CSV."""
    pixels = image if isinstance(image, str) else " ".join(map(str, image.ravel()))
    return {"emotion": str(label), "pixels": pixels, "Usage": usage}


def rows(usage: str, count: int, seed: int = 0) -> list[dict[str, str]]:
    """Lines of the CSV for one split."""
    faces = pictures(count, seed)
    return [row(int(label), image, usage) for label, image in zip(faces.labels, faces.images, strict=True)]


def write_csv(path: Path, lines: list[dict[str, str]], header: dict[str, str] | None = None) -> Path:
    """A CSV, gzipped if its name says so.

    Args:
        path: the file.
        lines: values by column.
        header: column to the name it gets in the file, in the file's order; FER2013's own by default.
    """
    names = header or {name: name for name in COLUMNS}
    opened: Any = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names.values())
        writer.writerows([line[name] for name in names] for line in lines)
    return path


def write_votes(path: Path, usages: list[str]) -> Path:
    """A FER+ file in which row i has ten votes for column i modulo ten."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Usage", "Image name", *VOTES])
        for index, usage in enumerate(usages):
            counts = [0] * len(VOTES)
            counts[index % len(VOTES)] = 10
            writer.writerow([usage, f"fer{index:07d}.png", *counts])
    return path


def write_picture(path: Path, image: npt.NDArray[np.uint8]) -> Path:
    """A picture file in the format that its suffix names, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written, data = cv2.imencode(path.suffix, image)
    assert written
    path.write_bytes(data.tobytes())
    return path
