"""Pictures pasted into a video are where they are said to be, and come back from it."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_batch.align import crop_face
from fer_batch.bundle import ModelBundle
from fer_batch.config import Detection
from fer_batch.detect import Face, FaceDetector, check_detector
from jobs.samples import portrait
from tests.training.faces import pictures
from training.data.faces import FaceSet
from training.evaluation.in_video import HEIGHT, SCENE_FRAMES, WIDTH, InVideo, Pasted, in_video, match, write_video


def decoded(path: Path) -> list[npt.NDArray[np.uint8]]:
    """The frames that are looked at, grey."""
    with av.open(str(path)) as container:
        frames = [np.asarray(frame.to_ndarray(format="gray"), np.uint8) for frame in container.decode(video=0)]
    return frames[::SCENE_FRAMES]


@pytest.mark.parametrize("side", [112, 224])
def test_each_picture_is_shown_once_where_it_is_said_to_be(tmp_path: Path, side: int) -> None:
    faces = pictures(9)
    images = np.stack([cv2.GaussianBlur(image, (0, 0), 1.5) for image in faces.images]).astype(np.uint8)
    rows = np.array([0, 1, 2, 4, 5, 6, 8])
    shown = write_video(tmp_path / "faces.mp4", images, rows, side, seed=3)
    frames = decoded(tmp_path / "faces.mp4")
    assert len(frames) == len(shown)
    assert frames[0].shape == (HEIGHT, WIDTH)
    assert sorted(picture.row for group in shown for picture in group) == rows.tolist()
    assert any(len(group) > 1 for group in shown) == (side == 112)  # two large ones do not fit
    for frame, group in zip(frames, shown, strict=True):
        for picture in group:
            left, top = int(picture.x) - side // 2, int(picture.y) - side // 2
            assert left >= 0
            assert top >= 0
            cut = cv2.resize(frame[top : top + side, left : left + side], (48, 48), interpolation=cv2.INTER_AREA)
            differences = np.abs(images.astype(float) - cut).mean(axis=(1, 2))
            assert differences.argmin() == picture.row
            assert differences.min() < 4  # what compression takes
        for one in group:
            for other in group:
                assert one is other or max(abs(one.x - other.x), abs(one.y - other.y)) > side


def test_the_seed_decides(tmp_path: Path) -> None:
    images, rows = pictures(2).images, np.arange(2)
    first, again, other = (write_video(tmp_path / f"{n}.mp4", images, rows, 112, seed=n // 2) for n in (0, 1, 2))
    assert again == first
    assert (tmp_path / "1.mp4").read_bytes() == (tmp_path / "0.mp4").read_bytes()
    assert other != first


def test_detections_are_matched_to_the_nearest_picture() -> None:
    def face(x: float, y: float) -> Face:
        return Face((x - 40, y - 50, 80, 100), np.zeros((5, 2), np.float32), 0.9)

    pasted = [Pasted(7, 200, 200, 100), Pasted(8, 400, 200, 100)]
    # The second is the nearer one to picture 7; the third shows nothing; the last is far out, yet the only one.
    faces = [face(212, 200), face(205, 203), face(300, 600), face(400, 235)]
    assert dict(match(faces, pasted)) == {1: pasted[0], 3: pasted[1]}
    assert dict(match([], pasted)) == {}
    assert dict(match([face(245, 200)], pasted)) == {}


def test_real_faces_come_back_from_the_video_and_noise_does_not(
    tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, _ = check_detector(None)
    detector = FaceDetector(weights, Detection())
    images = []
    for who in ("astronaut", "hopper"):
        picture = cv2.cvtColor(portrait(who).image, cv2.COLOR_RGB2BGR)
        (face, *_) = sorted(detector(picture)[0], key=lambda face: -face.size)
        images.append(crop_face(picture, face.landmarks, tiny.template, 48, 1)[..., 0])
    images += [image[:, ::-1] for image in images]
    faces = FaceSet(np.stack([*images, *pictures(3).images]), np.arange(7), None, np.arange(7))

    class Recognises:
        """In place of a model: sure of which of the pictures it sees."""

        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __call__(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            differences = np.abs(crops[:, None, ..., 0].astype(float) - faces.images.astype(float)[None])
            nearest = differences.mean(axis=(2, 3)).argmin(axis=1)
            sure: npt.NDArray[np.float32] = np.eye(7, dtype=np.float32)[nearest]
            return sure

    monkeypatch.setattr("training.evaluation.in_video.Scorer", Recognises)
    (result,) = in_video(tiny, faces, np.eye(7, dtype=np.float32), sides=[224], seed=1)
    assert result.found.tolist() == [True] * 4 + [False] * 3
    assert result.video[:4].argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert result.spurious == 0
    told = result.figures()
    assert (told["n"], told["n_found"], told["accuracy_in_video"], told["difference"]) == (7, 4, 1.0, 0.0)


def test_figures() -> None:
    labels = np.array([0] * 50 + [3] * 50)
    sure = np.eye(7, dtype=np.float32)
    plain = sure[labels]
    plain[:10] = sure[6]  # ten wrong
    video = plain.copy()
    video[10:16] = sure[5]  # six lost
    video[:2] = sure[0]  # two gained
    video[80:] = np.nan
    told = InVideo(112, labels, plain, video, spurious=1).figures()
    assert told["n_found"] == 80
    assert told["detection_rate"] == 0.8
    assert told["detection_rate_95"][0] < 0.8 < told["detection_rate_95"][1]
    assert told["accuracy_plain"] == 70 / 80
    assert told["accuracy_in_video"] == 66 / 80
    assert told["difference"] == pytest.approx(-4 / 80)
    assert told["difference_95"][0] < -0.05 < told["difference_95"][1] < 0.03
    nothing = InVideo(112, labels, plain, np.full_like(plain, np.nan), spurious=0).figures()
    assert nothing["detection_rate"] == 0
    assert nothing["accuracy_in_video"] is nothing["difference"] is None
