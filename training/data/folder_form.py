"""Reads FER2013 as Kaggle distributes it in pictures: a folder a split, in it a folder a class, in it the files.

In which split a picture is, its own name says where it can (``test/angry/PrivateTest_10131363.jpg``): Kaggle's ``test``
holds both PublicTest and PrivateTest. Names without a split leave the folder's name to go by, see :data:`FOLDERS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from fer_batch.schema import EMOTIONS
from training.data.fer2013 import SIDE, SPLITS, DataError, Parsed

FOLDERS: Final = {
    "train": "Training",
    "training": "Training",
    "val": "PublicTest",
    "valid": "PublicTest",
    "validation": "PublicTest",
    "publictest": "PublicTest",
    "privatetest": "PrivateTest",
    "test": "PrivateTest",
}
"""Split of a folder by its name in lower case. ``test`` without another folder to validate on stands for PublicTest."""

CLASSES: Final = {
    "angry": "angry", "anger": "angry", "disgust": "disgust", "disgusted": "disgust", "fear": "fear",
    "fearful": "fear", "happy": "happy", "happiness": "happy", "sad": "sad", "sadness": "sad",
    "surprise": "surprise", "surprised": "surprise", "neutral": "neutral",
}  # fmt: skip
"""Class of a folder by its name in lower case."""

PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
"""Suffixes of pictures; other files are passed over and counted."""

LARGEST: Final = 1 << 18
"""Bytes. A grey picture of 48 x 48 pixels has a hundredth of it, so what is larger is refused without decoding it."""


@dataclass(frozen=True)
class PictureFile:
    """A picture to be read: its path below the data's folder, its class and its split."""

    name: str
    emotion: str
    split: str


def list_folder(root: Path) -> tuple[list[PictureFile], dict[str, str]]:
    """The pictures of a folder, splits in the order of ``SPLITS``, each sorted by name; and a note a split.

    Raises:
        DataError: the folder is not in this form, or cannot be listed.
    """
    inside = [path for path in _inside(root) if path.is_dir()]
    folders = {folder: FOLDERS[folder.name.lower()] for folder in inside if folder.name.lower() in FOLDERS}
    if not folders:
        found = ", ".join(repr(folder.name) for folder in inside[:10]) or "no folder"
        raise DataError(f"{root} holds {found}, but no folder train, validation or test; give the one that holds them")
    if "PublicTest" not in folders.values():
        folders = {folder: "PublicTest" if _is_test(folder) else split for folder, split in folders.items()}
    files: list[PictureFile] = []
    notes: dict[str, list[str]] = {}
    for folder, split in folders.items():
        mine, passed_over = _classes(root, folder, split)
        for told in sorted({file.split for file in mine} - {split}):
            notes.setdefault(told, []).append(f"told from other splits by file names in the folder {folder.name}")
        if split == "PublicTest" and _is_test(folder) and not _says(mine):
            notes.setdefault(split, []).append(
                "the folder test, whose names do not tell PublicTest from PrivateTest: figures on it do not compare "
                "with those on PublicTest, and nothing is left for a final test"
            )
        if passed_over:
            notes.setdefault(split, []).append(f"passed over in {folder.name} as no pictures: {passed_over} files")
        files += mine
    files.sort(key=lambda file: (SPLITS.index(file.split), file.name))
    if not files:
        raise DataError(f"{root} holds no picture ({', '.join(sorted(PICTURES))}) in its class folders")
    return files, {split: "; ".join(told) for split, told in notes.items()}


def parse_folder(root: Path, files: list[PictureFile], contents: list[bytes], notes: dict[str, str]) -> Parsed:
    """The pictures of :func:`list_folder`, decoded from their contents.

    Raises:
        DataError: one is no picture or has another size; the message names it.
    """
    images = np.stack([_decode(root / file.name, data) for file, data in zip(files, contents, strict=True)])
    labels = np.array([EMOTIONS.index(file.emotion) for file in files], np.uint8)
    usage = np.array([SPLITS.index(file.split) for file in files], np.uint8)
    return Parsed(images, labels, usage, [file.name for file in files], notes)


def _inside(folder: Path) -> list[Path]:
    """What a folder holds, sorted, without a system's own business such as ``.DS_Store``."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX")
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}") from error


def _is_test(folder: Path) -> bool:
    return folder.name.lower() == "test"


def _classes(root: Path, folder: Path, split: str) -> tuple[list[PictureFile], int]:
    """The pictures of a split's folder, and how many other files it holds."""
    files, passed_over = [], 0
    for sub in _inside(folder):
        if not sub.is_dir():
            passed_over += 1
            continue
        emotion = CLASSES.get(sub.name.lower())
        if emotion is None:
            raise DataError(
                f"{folder}: the folder {sub.name!r} is no class; there are {', '.join(EMOTIONS)} (upper or lower case)"
            )
        for path in _inside(sub):
            if path.suffix.lower() not in PICTURES or not path.is_file():
                passed_over += 1
                continue
            said = _split_in(path.name)
            if said is not None and (said == "Training") != (split == "Training"):
                raise DataError(f"{path} lies in {folder.name}, but by its name it belongs to {said}; move it")
            files.append(PictureFile(path.relative_to(root).as_posix(), emotion, said or split))
    return files, passed_over


def _split_in(name: str) -> str | None:
    """The split that a file's name begins with, as in ``PublicTest_11112.jpg``."""
    return next((split for split in SPLITS if name.lower().startswith(f"{split.lower()}_")), None)


def _says(files: list[PictureFile]) -> bool:
    """Whether the names of all files say their split."""
    return all(_split_in(Path(file.name).name) for file in files)


def _decode(path: Path, data: bytes) -> npt.NDArray[np.uint8]:
    if len(data) > LARGEST:
        raise DataError(f"{path} has {len(data):,} bytes, far too many for {SIDE} x {SIDE} pixels; shrink it first")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    if image is None:
        raise DataError(f"{path} is no picture that can be decoded; remove it or fetch it again")
    if image.shape != (SIDE, SIDE):
        height, width = image.shape
        raise DataError(f"{path} has {width} x {height} pixels instead of {SIDE} x {SIDE}; resize it first")
    return np.asarray(image, np.uint8)
