"""Every face is covered in every frame, also where the detector loses it, and what a person should see is listed."""

from __future__ import annotations

import csv
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from fer_batch.config import Detection
from fer_batch.decode import FrameSample
from fer_batch.detect import FaceDetector, check_detector
from fer_batch.probe import probe
from reports.video import faces
from reports.video.faces import MISS_LESS, Found, find_faces
from reports.video.make import make_video
from reports.video.masks import FILL, HOLD_MS, Masks, hide, masks, with_margin
from reports.video.review import REASONS, Stretch, review, write_review
from tests.clips import Box, Clip, Clips

Row = tuple[int, float, float, float, float, float]
"""Position, x, y, width, height, score."""


def found(n: int, step_ms: int, rows: list[Row]) -> Found:
    table = np.array(rows, np.float32).reshape(-1, 6)
    frames = np.arange(n, dtype=np.int64)
    return Found(frames, frames * step_ms, table[:, 0].astype(np.int32), table[:, 1:5], table[:, 5], 1.0)


def look(clip: Clip, threads: int = 2) -> Found:
    return find_faces(probe(clip.path), check_detector(None)[0], MISS_LESS, threads)


def without(everything: Found, lost: np.ndarray) -> Found:
    """As if the detector had missed some of the faces."""
    kept = ~lost
    rows = {name: getattr(everything, name)[kept] for name in ("position", "boxes", "scores")}
    return replace(everything, **rows)


def uncovered(hidden: Masks, clip: Clip) -> list[int]:
    """Frames in which a true face within the picture is not inside one of the masks."""
    width, height = clip.size

    def is_covered(box: Box, corners: np.ndarray) -> bool:
        x0, y0, x1, y1 = max(0.0, box.x), max(0.0, box.y), min(width, box.x + box.w), min(height, box.y + box.h)
        inside = (corners[:, 0] <= x0) & (corners[:, 1] <= y0) & (corners[:, 2] >= x1) & (corners[:, 3] >= y1)
        return bool(inside.any())

    return [
        i for i, boxes in enumerate(clip.boxes) if not all(is_covered(box, hidden.of(i)) for box in boxes)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def coming(clips: Clips) -> Found:
    """One sits, the other walks in and leaves at once: all that the detector finds."""
    return look(clips.coming_and_going)


def test_every_face_is_covered_in_every_frame(coming: Found, clips: Clips) -> None:
    assert len(coming.frame_index) == len(clips.coming_and_going.times)
    assert uncovered(masks(coming), clips.coming_and_going) == []


def test_a_face_stays_covered_while_the_detector_misses_it(coming: Found, clips: Clips) -> None:
    random = np.random.default_rng(2)
    by_chance = random.random(len(coming.position)) < 0.5
    at = coming.timestamp_ms[coming.position]
    blinks = at % 1600 < 900
    long = (at >= 3000) & (at < 4900)
    for lost in (by_chance, blinks, long):
        assert lost.mean() > 0.2
        assert uncovered(masks(without(coming, lost)), clips.coming_and_going) == []


def test_a_moving_face_stays_covered_while_the_detector_misses_it(clips: Clips) -> None:
    clip = clips.crossing
    rows = [(i, b.x, b.y, b.w, b.h, 0.9) for i, boxes in enumerate(clip.boxes) for b in boxes]
    truth = found(len(clip.times), 40, rows)
    at = truth.timestamp_ms[truth.position]
    for first, last in ((0, 1000), (1500, 3400), (3200, 4800), (7000, 8000)):  # begin, way, passing, end
        assert uncovered(masks(without(truth, (at >= first) & (at < last))), clip) == []


def test_at_a_low_frame_rate_missed_frames_are_bridged_all_the_same() -> None:
    slides = found(12, 5000, [(i, 100, 100, 50, 50, 0.9) for i in (3, 4, 6, 7)])
    hidden = masks(slides)
    assert [i for i in range(12) if len(hidden.of(i))] == list(range(12))
    assert len(hidden.of(5)) == 1


def test_frames_far_from_any_face_have_no_mask() -> None:
    hidden = masks(found(100, 100, [(50, 100, 100, 50, 50, 0.9)]))
    reach = HOLD_MS // 100
    assert [i for i in range(100) if len(hidden.of(i))] == list(range(50 - reach, 50 + reach + 1))


def test_a_filled_mask_grows_with_the_time_to_the_nearest_detection() -> None:
    hidden = masks(found(21, 100, [(0, 100, 100, 50, 50, 0.9), (20, 100, 100, 50, 50, 0.9)]))
    widths = [float(hidden.of(i)[0, 2] - hidden.of(i)[0, 0]) for i in range(21)]
    assert widths[0] == widths[20] == pytest.approx(80)
    assert np.argmax(widths) == 10
    assert widths[10] == pytest.approx(160)


def test_two_frames_within_a_millisecond_are_two_frames() -> None:
    frames = np.arange(3, dtype=np.int64)
    at_once = Found(frames, np.array([0, 0, 1]), np.array([0, 1, 2], np.int32),
                    np.full((3, 4), 50, np.float32), np.ones(3, np.float32), 1.0)  # fmt: skip
    assert masks(at_once).track.tolist() == [1, 1, 1]


def test_no_faces_at_all() -> None:
    hidden = masks(found(5, 40, []))
    assert [len(hidden.of(i)) for i in range(5)] == [0] * 5
    assert review(hidden, 200) == []


def test_nothing_of_a_box_is_left() -> None:
    random = np.random.default_rng(1)
    boxes = np.array([[50, 40, 60, 80], [-20, 100, 60, 60], [180, 130, 60, 60], [100, 10, 3, 3]], np.float64)
    picture = random.integers(0, 255, (160, 200, 3), dtype=np.uint8)
    before = picture.copy()
    hide(picture, with_margin(boxes))
    for x, y, w, h in boxes.astype(int).tolist():
        inside = picture[max(0, y) : y + h + 1, max(0, x) : x + w + 1]
        assert (inside == FILL).all()
    assert (picture[:30, :30] == before[:30, :30]).all()


def test_the_faces_are_gone_from_the_new_video(coming: Found, clips: Clips, tmp_path: Path) -> None:
    clip, out = clips.coming_and_going, tmp_path / "out.mp4"
    make_video(probe(clip.path), out, masks=masks(coming))
    with av.open(out) as container:
        for boxes, frame in zip(clip.boxes, container.decode(video=0), strict=True):
            picture = frame.to_ndarray(format="bgr24")
            for box in boxes:
                x, y, w, h = (max(0, round(value)) for value in (box.x, box.y, box.w, box.h))
                inside = picture[y : y + h, x : x + w].astype(int)
                assert abs(inside - np.array(FILL)).max() <= 12  # what encoding may change


def test_the_detector_finds_more_than_in_a_run(clips: Clips) -> None:
    weights = check_detector(None)[0]
    both = faces._TwoScales(weights, MISS_LESS)
    run = FaceDetector(weights, Detection())
    with av.open(clips.crowd.path) as container:
        picture = np.asarray(next(container.decode(video=0)).to_ndarray(format="bgr24"), np.uint8)
    tiny: NDArray[np.uint8] = np.pad(picture[::3, ::3], ((0, 800), (0, 1000), (0, 0)), mode="edge")
    assert len(both(tiny)) > len(run(tiny)[0])
    assert len(both(picture)) == len(clips.crowd.boxes[0]), "a face found at two scales counts once"


def test_few_frames_are_in_memory_at_once(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[weakref.ref[np.ndarray]] = []
    most = 0

    def frames(_video: object) -> Iterator[FrameSample]:
        nonlocal most
        for i in range(100):
            image = np.zeros((8, 8, 3), np.uint8)
            given.append(weakref.ref(image))
            most = max(most, sum(ref() is not None for ref in given))
            yield FrameSample(i, i, i * 40, 40, image)
            del image

    monkeypatch.setattr(faces, "every_frame", frames)
    monkeypatch.setattr(faces._TwoScales, "__call__", lambda *_: np.empty((0, 5), np.float32))
    result = find_faces(probe(clips.constant.path), check_detector(None)[0], MISS_LESS, 2)
    assert len(result.frame_index) == 100
    assert most <= 2 * 2 + 2


def kinds(stretches: list[Stretch]) -> list[tuple[str, int, int]]:
    return [(stretch.reason, stretch.first_frame, stretch.frames) for stretch in stretches]


def test_what_a_person_should_look_at_is_listed() -> None:
    seen = [*range(20, 30), *range(34, 60)]
    rows: list[Row] = [(i, 100, 100, 50, 50, 0.5 if 40 <= i < 45 else 0.95) for i in seen]
    hidden = masks(found(120, 100, rows))
    assert kinds(review(hidden, 12_000)) == [
        ("nothing", 0, 10),
        ("appears", 10, 10),
        ("bridged", 30, 4),
        ("weak", 40, 5),
        ("disappears", 60, 10),
        ("nothing", 70, 50),
    ]
    weak = next(stretch for stretch in review(hidden, 12_000) if stretch.reason == "weak")
    assert (weak.start_ms, weak.end_ms, weak.track, weak.lowest_score) == (4000, 4500, 1, 0.5)
    assert (weak.x, weak.y, weak.w, weak.h) == (100, 100, 50, 50)


def test_small_faces_and_jumps_of_the_count_are_listed() -> None:
    rows: list[Row] = [(i, 100, 100, 12, 12, 0.9) for i in range(10)]
    rows += [(5, x, 10, 50, 50, 0.9) for x in (200, 400, 600)]
    listed = kinds(review(masks(found(10, 40, sorted(rows))), 400))
    assert ("small", 0, 10) in listed
    assert [entry for entry in listed if entry[0] == "count"] == [("count", 5, 1), ("count", 6, 1)]


def test_the_list_is_written_as_a_table(tmp_path: Path) -> None:
    stretches = review(masks(found(50, 100, [(20, 100, 100, 50, 50, 0.4)])), 5000)
    write_review(tmp_path / "review.csv", stretches)
    with open(tmp_path / "review.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["reason"] for row in rows] == [stretch.reason for stretch in stretches]
    assert all(row["meaning"] == REASONS[row["reason"]] for row in rows)
    weak = next(row for row in rows if row["reason"] == "weak")
    assert (weak["from"], weak["start_ms"], weak["lowest_score"]) == ("0:00:02.000", "2000", "0.4")
    assert next(row for row in rows if row["reason"] == "nothing")["track"] == ""
