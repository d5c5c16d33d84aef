"""FER2013 as folders of pictures: which split a picture is in, and what is wrong named by file."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.training.faces import pictures, write_picture, write_votes
from training.data.faces import DataError, read_fer2013

FACES = pictures(10)

KAGGLE = (
    ("train/angry/Training_10118481.jpg", 0),
    ("train/happy/Training_10019449.jpg", 1),
    ("test/angry/PrivateTest_10131363.jpg", 2),
    ("test/disgust/PublicTest_16175608.jpg", 3),
    ("test/fear/PublicTest_11112.jpg", 4),
)
"""Names as Kaggle's archive has them, and which of the faces each is."""


def write_folder(root: Path, files: tuple[tuple[str, int], ...]) -> Path:
    for name, face in files:
        write_picture(root / name, FACES.images[face])
    return root


def test_names_tell_the_splits_of_kaggles_test(tmp_path: Path) -> None:
    splits = read_fer2013(write_folder(tmp_path, KAGGLE))
    assert {name: faces.names for name, faces in splits.items()} == {
        "Training": ("train/angry/Training_10118481.jpg", "train/happy/Training_10019449.jpg"),
        "PublicTest": ("test/disgust/PublicTest_16175608.jpg", "test/fear/PublicTest_11112.jpg"),
        "PrivateTest": ("test/angry/PrivateTest_10131363.jpg",),
    }
    assert {name: faces.labels.tolist() for name, faces in splits.items()} == {
        "Training": [0, 3], "PublicTest": [1, 2], "PrivateTest": [0],
    }  # fmt: skip
    assert splits["PublicTest"].where(1) == "test/fear/PublicTest_11112.jpg"
    assert splits["Training"].note == ""
    assert "file names" in splits["PrivateTest"].note
    for faces, these in ((splits["Training"], [0, 1]), (splits["PublicTest"], [3, 4]), (splits["PrivateTest"], [2])):
        error = faces.images.astype(int) - FACES.images[these]
        assert np.abs(error).mean() < 3  # JPEG


def test_a_test_whose_names_tell_nothing_validates(tmp_path: Path) -> None:
    splits = read_fer2013(write_folder(tmp_path, (("train/sad/1.png", 0), ("test/sad/2.png", 1))))
    assert list(splits) == ["Training", "PublicTest"]
    assert "do not tell PublicTest from PrivateTest" in splits["PublicTest"].note
    assert (splits["PublicTest"].images == FACES.images[1]).all()


@pytest.mark.parametrize("validation", ["validation", "val", "Valid", "PublicTest"])
def test_beside_a_validation_folder_test_is_the_test(tmp_path: Path, validation: str) -> None:
    files = (("Train/sad/1.png", 0), (f"{validation}/sad/2.png", 1), ("test/sad/3.png", 2))
    splits = read_fer2013(write_folder(tmp_path, files))
    assert {name: faces.names for name, faces in splits.items()} == {
        "Training": ("Train/sad/1.png",),
        "PublicTest": (f"{validation}/sad/2.png",),
        "PrivateTest": ("test/sad/3.png",),
    }
    assert [faces.note for faces in splits.values()] == ["", "", ""]


def test_private_test_alone_stays_private(tmp_path: Path) -> None:
    assert list(read_fer2013(write_folder(tmp_path, (("PrivateTest/sad/1.png", 0),)))) == ["PrivateTest"]


def test_class_folders_in_every_spelling(tmp_path: Path) -> None:
    names = ("Angry", "disgusted", "FEARFUL", "happy", "Sad", "surprised", "neutral")
    splits = read_fer2013(write_folder(tmp_path, tuple((f"train/{name}/1.png", 0) for name in names)))
    training = splits["Training"]
    assert training.names is not None
    # Sorted by name, upper case first.
    assert [Path(name).parent.name for name in training.names] == sorted(names)
    assert training.labels.tolist() == [0, 2, 4, 1, 3, 6, 5]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".PNG"])
def test_lossless_pictures_come_as_they_are(tmp_path: Path, suffix: str) -> None:
    write_picture(tmp_path / f"train/happy/1{suffix}", FACES.images[5])
    write_picture(tmp_path / f"train/happy/2{suffix}", cv2.cvtColor(FACES.images[6], cv2.COLOR_GRAY2BGR))
    assert (read_fer2013(tmp_path)["Training"].images == FACES.images[[5, 6]]).all()


def test_other_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    root = write_folder(tmp_path, KAGGLE)
    for name in (
        "train/angry/notes.txt",
        "train/happy/Thumbs.db",
        "train/happy/.hidden.jpg",
        "train/1.jpg",
        ".DS_Store",
    ):
        (root / name).write_bytes(b"x")
    (root / "__MACOSX").mkdir()
    training = read_fer2013(root)["Training"]
    assert len(training) == 2
    assert training.note == "passed over in train as no pictures: 3 files"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train/happy/a.jpg", b"not a picture", r"train/happy/a\.jpg is no picture that can be decoded"),
        ("train/happy/a.jpg", b"", r"train/happy/a\.jpg is no picture"),
        ("train/happy/a.jpg", b"\xff" * 300_000, r"a\.jpg has 300,000 bytes, far too many"),
        ("train/contempt/a.jpg", b"", r"train: the folder 'contempt' is no class; there are angry, disgust"),
        ("train/angry/PrivateTest_1.jpg", b"", r"lies in train, but by its name it belongs to PrivateTest"),
        ("test/angry/Training_1.jpg", b"", r"lies in test, but by its name it belongs to Training"),
    ],
)
def test_what_is_wrong_is_named_by_file(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    root = write_folder(tmp_path, KAGGLE)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_fer2013(root)


def test_a_picture_of_another_size(tmp_path: Path) -> None:
    write_picture(tmp_path / "train/sad/big.png", np.zeros((96, 64), np.uint8))
    with pytest.raises(DataError, match=r"train/sad/big\.png has 64 x 96 pixels instead of 48 x 48; resize it first"):
        read_fer2013(tmp_path)


def test_folders_that_are_not_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no folder, but no folder train"):
        read_fer2013(tmp_path)
    (tmp_path / "images" / "train" / "angry").mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds 'images', but no folder train, validation or test; give the one that"):
        read_fer2013(tmp_path)
    with pytest.raises(DataError, match=r"holds no picture"):
        read_fer2013(tmp_path / "images")


def test_votes_have_no_place_in_a_folder(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", KAGGLE)
    votes = write_votes(tmp_path / "fer2013new.csv", ["Training"] * 2)
    with pytest.raises(DataError, match="is a folder: give the CSV"):
        read_fer2013(root, ferplus=votes)


HOSTILE = ("\"><img src=x onerror='alert(1)'>.png", "<script>alert(2)<script>.png", "caf\udce9.png", "line\nbreak.png")


def test_hostile_names_survive_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    for name in HOSTILE:
        write_picture(root / "train/sad/1.png", FACES.images[0]).rename(root / "train/sad" / name)
    read = read_fer2013(root)["Training"].names
    assert read is not None
    assert set(read) == {f"train/sad/{name}" for name in HOSTILE}
    first = read_fer2013(root, cache=tmp_path / "cache")["Training"]

    def parse(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("training.data.folder_form.parse_folder", parse)
    again = read_fer2013(root, cache=tmp_path / "cache")["Training"]
    assert first.names == again.names == read
    assert isinstance(again.images, np.memmap)
    assert (again.images == FACES.images[0]).all()
    # Other content, another name or another class is another entry.
    os.rename(os.fsencode(root / "train/sad") + b"/caf\xe9.png", root / "train/sad/cafe.png")
    with pytest.raises(AssertionError, match="decoded again"):
        read_fer2013(root, cache=tmp_path / "cache")
