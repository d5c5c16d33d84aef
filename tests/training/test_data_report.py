"""What a report says of data whose blank pictures, copies and labels are known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from fer_batch.schema import EMOTIONS
from tests.training.faces import pictures
from training.data.faces import FaceSet
from training.data.report import DataReport, Leak

BLANK = -1


def faces(chosen: list[tuple[int, str]], first_row: int = 0, votes: bool = False) -> FaceSet:
    """A split of numbered pictures, each with a label; the number :data:`BLANK` is a blank one."""
    known = pictures(20).images
    blank = np.full((48, 48), 90, np.uint8)
    images = np.stack([blank if number == BLANK else known[number] for number, _ in chosen])
    labels = np.array([EMOTIONS.index(emotion) for _, emotion in chosen], np.int64)
    shares = np.zeros((len(chosen), 10), np.float32)
    shares[1:, 0] = 1
    return FaceSet(images, labels, shares if votes else None, first_row + np.arange(len(chosen)))


@pytest.fixture
def splits() -> dict[str, FaceSet]:
    return {
        "Training": faces(
            [(1, "angry"), (2, "happy"), (BLANK, "sad"), (1, "angry"), (3, "fear"), (3, "sad"), (BLANK, "sad")],
            votes=True,
        ),
        "PublicTest": faces([(1, "angry"), (3, "happy"), (4, "sad"), (4, "sad"), (BLANK, "neutral")], first_row=7),
    }


def test_counts_of_classes_and_blank_pictures(splits: Mapping[str, FaceSet]) -> None:
    training, public = DataReport.of(splits, "x").splits
    assert training.counts == (2, 0, 1, 1, 3, 0, 0)
    assert (training.pictures, training.known, training.voted) == (7, 28_709, 6)
    assert [(place.where, place.emotion) for place in training.blank] == [("row 3", "sad"), ("row 7", "sad")]
    assert (public.pictures, public.known, public.voted) == (5, 3_589, None)
    assert [place.where for place in public.blank] == ["row 12"]


def test_copies_are_found_within_and_across_splits(splits: Mapping[str, FaceSet]) -> None:
    report = DataReport.of(splits, "x")
    found = [[(place.split, place.where, place.emotion) for place in copies.places] for copies in report.copies]
    assert found == [
        [("Training", "row 1", "angry"), ("Training", "row 4", "angry"), ("PublicTest", "row 8", "angry")],
        [("Training", "row 5", "fear"), ("Training", "row 6", "sad"), ("PublicTest", "row 9", "happy")],
        [("PublicTest", "row 10", "sad"), ("PublicTest", "row 11", "sad")],
    ]
    assert report.repeats == 5
    (conflict,) = report.conflicts
    assert conflict.emotions == ("fear", "happy", "sad")
    assert conflict.splits == ("Training", "PublicTest")


def test_leaks_count_pictures_of_the_later_split(splits: Mapping[str, FaceSet]) -> None:
    assert DataReport.of(splits, "x").leaks == (Leak("Training", "PublicTest", 2, 1),)
    three = {**splits, "PrivateTest": faces([(4, "sad"), (4, "angry"), (5, "sad")])}
    assert DataReport.of(three, "x").leaks == (
        Leak("Training", "PublicTest", 2, 1),
        Leak("PublicTest", "PrivateTest", 2, 1),
    )


def test_the_worst_conflicts_come_first() -> None:
    mixed = faces([(1, "sad"), (1, "fear"), (2, "sad"), (2, "sad"), (2, "fear"), (3, "sad"), (3, "happy"), (3, "fear")])
    conflicts = DataReport.of({"Training": mixed}, "x").conflicts
    assert [copies.places[0].where for copies in conflicts] == ["row 6", "row 3", "row 1"]


def test_lines_for_a_terminal(splits: Mapping[str, FaceSet]) -> None:
    assert DataReport.of(splits, "few.csv").lines() == [
        "few.csv: Training 7, PublicTest 5; the challenge's own edition has Training 28,709, PublicTest 3,589",
        "Training has no picture of disgust, surprise, neutral",
        "PublicTest has no picture of disgust, fear, surprise",
        "FER+ votes: Training 6 pictures",
        "blank pictures: 2 in Training, 1 in PublicTest; training leaves them out",
        "copies: 5 pictures occurred before; 1 picture has copies with different labels",
        "leak: 2 of PublicTest's pictures are in Training too, 1 with the same label",
    ]


def test_nothing_to_say_of_clean_data() -> None:
    whole = FaceSet(pictures(7).images, np.arange(7), None, np.arange(7), note="from somewhere")
    assert DataReport.of({"PrivateTest": whole}, "x").lines() == [
        "x: PrivateTest 7; the challenge's own edition has PrivateTest 3,589",
        "PrivateTest: from somewhere",
    ]
