from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_batch.config import Detection, Sampling
from fer_batch.decode import SegmentReader
from fer_batch.detect import YUNET_SHA256, Face, FaceDetector, check_detector
from fer_batch.errors import RefusedError
from fer_batch.plan import whole
from fer_batch.probe import probe
from tests.clips import Clip, Clips


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(check_detector(None)[0], Detection())


def faces_of(clip: Clip, detector: FaceDetector) -> list[tuple[int, list[Face], int]]:
    samples = SegmentReader(whole(probe(clip.path)), Sampling())
    return [(s.frame_index, *detector(s.image)) for s in samples if s.image is not None]


def landmarks(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, np.float32)


@pytest.mark.parametrize("name", ["one_face", "two_faces", "crowd"])
def test_finds_every_face_where_it_is(clips: Clips, detector: FaceDetector, name: str) -> None:
    clip: Clip = getattr(clips, name)
    for index, faces, _ in faces_of(clip, detector):
        assert len(faces) == len(clip.boxes[index])
        for box in clip.boxes[index]:
            nearest = min(
                faces, key=lambda f: math.hypot(f.box[0] + f.box[2] / 2 - box.x - box.w / 2, f.box[1] - box.y)
            )
            middle = (nearest.box[0] + nearest.box[2] / 2, nearest.box[1] + nearest.box[3] / 2)
            assert box.x < middle[0] < box.x + box.w
            assert box.y < middle[1] < box.y + box.h


def test_faces_come_from_left_to_right(clips: Clips, detector: FaceDetector) -> None:
    for _, faces, _ in faces_of(clips.crowd, detector):
        assert [face.box[0] for face in faces] == sorted(face.box[0] for face in faces)


def test_a_wall_has_no_face(clips: Clips, detector: FaceDetector) -> None:
    assert all(faces == [] and n_small == 0 for _, faces, n_small in faces_of(clips.no_face, detector))


def test_faces_below_the_minimum_size_are_counted_not_kept(clips: Clips) -> None:
    picky = FaceDetector(check_detector(None)[0], Detection(min_face=300))
    for _, faces, n_small in faces_of(clips.two_faces, picky):
        assert (faces, n_small) == ([], 2)


def test_a_large_frame_is_reduced_and_boxes_are_in_its_own_pixels(clips: Clips, detector: FaceDetector) -> None:
    sample = next(iter(SegmentReader(whole(probe(clips.one_face.path)), Sampling())))
    assert sample.image is not None
    large = np.asarray(cv2.resize(sample.image, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC), np.uint8)
    (small_face,), _ = detector(sample.image)
    (large_face,), _ = detector(large)
    # the detector sees other pixels, so it does not say exactly the same
    assert np.abs(np.array(large_face.box) / 6 - small_face.box).mean() < 7
    assert np.abs(large_face.landmarks / 6 - small_face.landmarks).mean() < 4


def test_roll_and_yaw_of_known_landmarks() -> None:
    frontal = landmarks((30, 40), (70, 40), (50, 60), (35, 80), (65, 80))
    face = Face((0, 0, 100, 100), frontal, 0.9)
    assert face.roll == pytest.approx(0)
    assert face.yaw == pytest.approx(0)
    turned = frontal.copy()
    turned[2, 0] = 60  # the nose moves to the picture's right by a quarter of the distance between the eyes
    assert Face((0, 0, 100, 100), turned, 0.9).yaw == pytest.approx(math.degrees(math.atan(0.25 / 0.5)))
    angle = math.radians(20)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    tilted = Face((0, 0, 100, 100), (turned @ turn.T).astype(np.float32), 0.9)
    assert tilted.roll == pytest.approx(20, abs=1e-3)
    assert tilted.yaw == pytest.approx(math.degrees(math.atan(0.5)), abs=1e-3)


def test_size_is_the_geometric_mean() -> None:
    assert Face((0, 0, 50, 200), landmarks(*[(0, 0)] * 5), 0.9).size == pytest.approx(100)


def test_the_default_weights_are_the_published_ones() -> None:
    assert check_detector(None)[1] == YUNET_SHA256


def test_wrong_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RefusedError, match="cannot read"):
        check_detector(tmp_path / "missing.onnx")
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"junk")
    file, digest = check_detector(junk)
    with pytest.raises(RefusedError, match="not a YuNet model"):
        FaceDetector(file, Detection(model_sha256=digest))
    monkeypatch.setattr("fer_batch.detect.default_detector", lambda: junk)
    with pytest.raises(RefusedError, match="not the published"):
        check_detector(None)
