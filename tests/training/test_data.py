"""FER2013 in each of its forms, and what is wrong with a file named by row and column."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fer_batch.errors import StoppedError
from tests.training.faces import pictures, row, rows, write_csv, write_votes
from training.data.faces import DataError, FaceSet, read_fer2013, split_named
from training.data.report import DataReport
from training.data.votes import find_votes


@pytest.mark.parametrize("name", ["fer2013.csv", "fer2013.csv.gz"])
def test_splits_in_file_order(tmp_path: Path, name: str) -> None:
    path = write_csv(tmp_path / name, rows("Training", 9) + rows("PublicTest", 4, seed=1))
    splits = read_fer2013(path)
    assert list(splits) == ["Training", "PublicTest"]
    training = splits["Training"]
    assert (training.images == pictures(9).images).all()
    assert training.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    assert training.rows.tolist() == list(range(9))
    assert splits["PublicTest"].rows.tolist() == [9, 10, 11, 12]
    assert training.votes is None


def test_the_challenge_form_with_spaces_and_another_order(tmp_path: Path) -> None:
    header = {"emotion": "emotion", "Usage": " Usage", "pixels": " pixels"}
    path = write_csv(tmp_path / "icml_face_data.csv", rows("PrivateTest", 3), header)
    splits = read_fer2013(path)
    assert list(splits) == ["PrivateTest"]
    assert (splits["PrivateTest"].images == pictures(3).images).all()


def test_a_byte_order_mark_and_a_last_empty_line(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "fer2013.csv", rows("Training", 2))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n")
    assert len(read_fer2013(path)["Training"]) == 2


def test_mixed_splits_keep_their_rows(tmp_path: Path) -> None:
    lines = rows("Training", 3)
    lines[1]["Usage"] = "PublicTest"
    splits = read_fer2013(write_csv(tmp_path / "fer2013.csv", lines))
    assert splits["Training"].rows.tolist() == [0, 2]
    assert (splits["Training"].images == pictures(3).images[[0, 2]]).all()


def test_blank_pictures_are_found(tmp_path: Path) -> None:
    lines = [*rows("Training", 2), row(3, np.full((48, 48), 17, np.uint8), "Training")]
    assert read_fer2013(write_csv(tmp_path / "f.csv", lines))["Training"].blank().tolist() == [False, False, True]


def test_what_jpeg_left_of_a_blank_picture_is_blank(tmp_path: Path) -> None:
    images = [np.full((48, 48), 100, np.uint8) for _ in range(2)]
    images[0][7, 9] = 108
    images[1][7, 9] = 109
    path = write_csv(tmp_path / "f.csv", [row(0, image, "Training") for image in images])
    assert read_fer2013(path)["Training"].blank().tolist() == [True, False]


def test_a_picture_is_found_again_by_its_row(tmp_path: Path) -> None:
    faces = read_fer2013(write_csv(tmp_path / "f.csv", rows("Training", 2) + rows("PublicTest", 3)))["PublicTest"]
    # Counted from 1 as in error messages, over all splits.
    assert [faces.where(index) for index in range(3)] == ["row 3", "row 4", "row 5"]
    assert faces.take(np.array([2])).where(0) == "row 5"


def _with(column: str, value: str) -> list[dict[str, str]]:
    lines = rows("Training", 3)
    lines[1][column] = value
    return lines


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("emotion", "7", r"row 2, column emotion: '7' is not a class from 0 to 6"),
        ("emotion", "happy", r"row 2, column emotion: 'happy'"),
        ("emotion", "-1", r"row 2, column emotion: '-1'"),
        ("Usage", "Test", r"row 2, column Usage: 'Test' is none of Training, PublicTest, PrivateTest"),
        ("pixels", " ".join(["0"] * 2303), r"row 2, column pixels: 2303 values instead of 2304"),
        ("pixels", " ".join(["0"] * 2303 + ["256"]), r"row 2, column pixels: values from 0 to 256"),
        ("pixels", " ".join(["0"] * 2303 + ["-1"]), r"row 2, column pixels: values from -1"),
        ("pixels", " ".join(["0"] * 2303 + ["x"]), r"row 2, column pixels: not whole numbers .*'x'"),
        ("pixels", " ".join(["1.5"] + ["0"] * 2303), r"row 2, column pixels: not whole numbers .*'1.5'"),
        ("pixels", " ".join(["0"] * 2303 + ["9" * 30]), r"row 2, column pixels: values from 0 to"),
        ("pixels", "", r"row 2, column pixels: 0 values"),
    ],
)
def test_a_wrong_value_is_named_by_row_and_column(tmp_path: Path, column: str, value: str, message: str) -> None:
    path = write_csv(tmp_path / "fer2013.csv", _with(column, value))
    with pytest.raises(DataError, match=message):
        read_fer2013(path)


@pytest.mark.parametrize("missing", ["emotion", "pixels", "Usage"])
def test_a_missing_column(tmp_path: Path, missing: str) -> None:
    header = {name: name for name in ("emotion", "pixels", "Usage") if name != missing}
    path = write_csv(tmp_path / "fer2013.csv", rows("Training", 1), header)
    with pytest.raises(DataError, match=rf"column '{missing}' is missing; the first line has: "):
        read_fer2013(path)


def test_a_row_cut_short(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "fer2013.csv", rows("Training", 2))
    path.write_text(path.read_text() + "3,1 2 3\n")
    with pytest.raises(DataError, match="row 3: 2 columns instead of 3"):
        read_fer2013(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv cannot be read"):
        read_fer2013(tmp_path / "gone.csv")
    with pytest.raises(DataError, match=r"gone\.csv cannot be read"):
        read_fer2013(tmp_path / "gone.csv", cache=tmp_path)
    (tmp_path / "empty.csv").write_text("emotion,pixels,Usage\n")
    with pytest.raises(DataError, match="holds no rows"):
        read_fer2013(tmp_path / "empty.csv")
    (tmp_path / "plain.csv.gz").write_text("emotion,pixels,Usage\n")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_fer2013(tmp_path / "plain.csv.gz")
    whole = write_csv(tmp_path / "whole.csv.gz", rows("Training", 5)).read_bytes()
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_fer2013(tmp_path / "cut.csv.gz")


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "fer2013.csv", rows("Training", 2))
    with pytest.raises(DataError, match=r"no rows of the split 'PublicTest'; it holds: Training \(2\)"):
        split_named(read_fer2013(path), "PublicTest", path)


def test_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv(tmp_path / "fer2013.csv.gz", rows("Training", 5) + rows("PublicTest", 3))
    plain = read_fer2013(path)
    first = read_fer2013(path, cache=tmp_path / "cache")

    def parse(_: Path) -> None:
        raise AssertionError("parsed again")

    monkeypatch.setattr("training.data.faces.parse_csv", parse)
    again = read_fer2013(path, cache=tmp_path / "cache")
    for splits in (first, again):
        for name, faces in plain.items():
            assert (splits[name].images == faces.images).all()
            assert (splits[name].labels == faces.labels).all()
    assert isinstance(again["Training"].images, np.memmap)
    # Another content is another entry, whatever its name.
    write_csv(path, rows("Training", 6))
    with pytest.raises(AssertionError, match="parsed again"):
        read_fer2013(path, cache=tmp_path / "cache")


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "fer2013.csv", rows("Training", 5))
    read_fer2013(path, cache=tmp_path / "cache")
    kept = sorted((tmp_path / "cache").iterdir())
    assert len(kept) == 3
    for file in kept:
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        again = read_fer2013(path, cache=tmp_path / "cache")["Training"]
        assert (again.images == pictures(5).images).all()
        assert isinstance(again.images, np.memmap)
        assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "fer2013.csv", rows("Training", 2))
    with pytest.raises(StoppedError, match="Choose a folder that can be written"):
        read_fer2013(path, cache=path / "cache")


def test_votes_are_found_beside_the_csv(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "fer2013.csv.gz", rows("Training", 2))
    assert find_votes(path) is None
    votes = write_votes(tmp_path / "fer2013new.csv", ["Training"] * 2)
    assert find_votes(path) == votes
    (tmp_path / "folder").mkdir()
    assert find_votes(tmp_path / "folder") is None


def test_votes_follow_their_rows(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "fer2013.csv", rows("Training", 3) + rows("PublicTest", 2))
    votes = write_votes(tmp_path / "fer2013new.csv", ["Training"] * 3 + ["PublicTest"] * 2 + ["PrivateTest"] * 4)
    splits = read_fer2013(path, ferplus=votes)
    training, public = splits["Training"].votes, splits["PublicTest"].votes
    assert training is not None
    assert public is not None
    assert training.argmax(axis=1).tolist() == [0, 1, 2]
    assert public.argmax(axis=1).tolist() == [3, 4]
    np.testing.assert_allclose(training.sum(axis=1), 1)
    # A file that holds one split alone finds its votes too.
    alone = write_csv(tmp_path / "public.csv", rows("PublicTest", 2))
    again = read_fer2013(alone, ferplus=votes)["PublicTest"].votes
    assert again is not None
    assert (again == public).all()


def test_votes_of_another_edition(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "fer2013.csv", rows("Training", 3))
    votes = write_votes(tmp_path / "fer2013new.csv", ["Training"] * 2)
    with pytest.raises(DataError, match="votes for 2 rows of Training, the pictures' file has 3"):
        read_fer2013(path, ferplus=votes)


def test_votes_that_are_not_numbers(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "fer2013.csv", rows("Training", 2))
    votes = write_votes(tmp_path / "fer2013new.csv", ["Training"] * 2)
    votes.write_text(votes.read_text().replace("0,10", "0,ten"))
    with pytest.raises(DataError, match="row 2, column happiness: 'ten' is not a number of votes"):
        read_fer2013(path, ferplus=votes)


def test_a_set_checks_its_shapes() -> None:
    faces = pictures(3)
    with pytest.raises(ValueError, match="images must be"):
        FaceSet(faces.images[:, :40], faces.labels, None, faces.rows)
    with pytest.raises(ValueError, match="labels and rows"):
        FaceSet(faces.images, faces.labels[:2], None, faces.rows)
    with pytest.raises(ValueError, match="votes must be"):
        FaceSet(faces.images, faces.labels, np.zeros((3, 8), np.float32), faces.rows)


def test_the_real_file(shared: Path) -> None:
    path = shared / "fer2013" / "fer2013.csv.gz"
    splits = read_fer2013(path, ferplus=find_votes(path))
    assert {name: len(faces) for name, faces in splits.items()} == {"Training": 28_709, "PublicTest": 3_589}
    report = DataReport.of(splits, path.name)
    assert [split.counts for split in report.splits] == [
        (3995, 436, 4097, 7215, 4830, 3171, 4965),
        (467, 56, 496, 895, 653, 415, 607),
    ]
    assert [len(split.blank) for split in report.splits] == [12, 1]
    assert [split.voted for split in report.splits] == [28_709, 3_589]
    assert (report.repeats, len(report.copies), len(report.conflicts)) == (1519, 1270, 46)
    assert [(leak.pictures, leak.same_label) for leak in report.leaks] == [(279, 272)]


def test_copies_are_found_pixel_for_pixel() -> None:
    one, other = pictures(6), pictures(6, seed=1)
    images = other.images.copy()
    images[2] = one.images[5]
    images[4] = 7
    assert not other.copied_from(one).any()
    blanks = one.images.copy()
    blanks[0] = 7
    mixed = dataclasses.replace(other, images=images)
    found = mixed.copied_from(dataclasses.replace(one, images=blanks))
    assert found.tolist() == [False, False, True, False, False, False]  # blank pictures are no copies
