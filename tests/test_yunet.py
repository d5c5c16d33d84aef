"""YuNet as ONNX Runtime runs it, against OpenCV's own FaceDetectorYN."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_batch.config import Sampling
from fer_batch.decode import SegmentReader
from fer_batch.detect import default_detector
from fer_batch.errors import RefusedError
from fer_batch.plan import whole
from fer_batch.probe import probe
from fer_batch.yunet import NMS_THRESHOLD, YuNet
from tests.clips import Clips
from tests.conftest import ROOT

MARGIN = 1e-4
"""Scores nearer to the threshold may fall on either side of it."""


@pytest.fixture(scope="module")
def pictures(clips: Clips) -> list[np.ndarray]:
    """Frames with many faces, few and none."""
    found = []
    for clip in (clips.crowd, clips.two_faces, clips.one_face, clips.no_face):
        samples = [sample.image for sample in SegmentReader(whole(probe(clip.path)), Sampling())]
        found += [image for image in samples[:2] if image is not None]
    return found


def by_opencv(image: np.ndarray, min_score: float) -> np.ndarray:
    detector = cv2.FaceDetectorYN.create(str(default_detector()), "", (320, 320), min_score, NMS_THRESHOLD)
    detector.setInputSize(image.shape[1::-1])
    _, faces = detector.detect(image)
    return np.empty((0, 15), np.float32) if faces is None else np.asarray(faces)


def assert_same(image: np.ndarray, min_score: float) -> int:
    """Asserts that both find the same; how many faces."""
    ours, theirs = YuNet(default_detector(), min_score)(image), by_opencv(image, min_score)
    ours, theirs = (faces[faces[:, 14] >= min_score + MARGIN] for faces in (ours, theirs))
    ours, theirs = (faces[np.lexsort(faces[:, :2].round(1).T)] for faces in (ours, theirs))
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours[:, :14], theirs[:, :14], atol=0.02)
    np.testing.assert_allclose(ours[:, 14], theirs[:, 14], atol=MARGIN)
    return len(ours)


def test_finds_what_opencv_finds(pictures: list[np.ndarray]) -> None:
    counts = [assert_same(image, 0.6) for image in pictures]
    assert counts[0] > 5
    assert counts[-1] == 0


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (333, 517), (96, 64), (1281, 96), (64, 64)])
def test_finds_what_opencv_finds_in_pictures_of_any_size(pictures: list[np.ndarray], size: tuple[int, int]) -> None:
    found = [assert_same(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), 0.6)
             for image in pictures[::2]]  # fmt: skip
    assert any(found) or min(size) < 300


@pytest.mark.parametrize("size", [(1, 1), (20, 20), (100, 20), (1281, 3)])
def test_tiny_pictures_have_no_face(size: tuple[int, int]) -> None:
    """OpenCV's own detector answers with memory that nobody wrote to: infinite boxes with a score of 1."""
    assert len(YuNet(default_detector(), 0.6)(np.full((size[1], size[0], 3), 120, np.uint8))) == 0


def test_many_overlapping_candidates_are_thinned_out_alike(pictures: list[np.ndarray]) -> None:
    """With a low threshold some hundred candidates overlap, and which of them stay depends on every step."""
    assert assert_same(pictures[0], 0.02) > 20


def test_other_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"cannot read .*missing.onnx: No such file"):
        YuNet(tmp_path / "missing.onnx", 0.6)
    weights = default_detector().read_bytes()
    for name, content in (("junk", b"junk"), ("cut", weights[:100_000]), ("empty", b"")):
        file = tmp_path / f"{name}.onnx"
        file.write_bytes(content)
        with pytest.raises(RefusedError, match=f"{name}.onnx is not a YuNet model"):
            YuNet(file, 0.6)
    other = tmp_path / "other.onnx"
    other.write_bytes(weights.replace(b"cls_32", b"any_32"))  # an output of another name
    with pytest.raises(RefusedError, match="not a YuNet model of 2023: its outputs are any_32"):
        YuNet(other, 0.6)
    fixed = tmp_path / "fixed.onnx"
    fixed.write_bytes(weights.replace(b"\n\x02\x08\x01\n\x02\x08\x03\n\x03", b"\n\x02\x08\x02\n\x02\x08\x03\n\x03"))
    with pytest.raises(RefusedError, match="for pictures of one size only"):
        YuNet(fixed, 0.6)


def test_weights_without_a_fixed_size_are_taken(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    weights = default_detector().read_bytes()
    free = tmp_path / "free.onnx"
    free.write_bytes(weights.replace(b"\n\x03\x08\x80\x05\n\x03\x08\x80\x05", b"\n\x03\x12\x01a\n\x03\x12\x01b"))
    assert free.read_bytes() != weights
    np.testing.assert_array_equal(YuNet(free, 0.6)(pictures[0]), YuNet(default_detector(), 0.6)(pictures[0]))


ALONE = """
import os, sys, threading
from importlib.abc import MetaPathFinder
class Watch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "onnxruntime":
            assert os.environ.get("ORT_DISABLE_TELEMETRY") == "1", "it is imported before it is told to keep quiet"
sys.meta_path.insert(0, Watch())
import numpy as np
from fer_batch.detect import default_detector
from fer_batch.yunet import YuNet
assert "onnxruntime" in sys.modules
threads = threading.active_count(), len(os.listdir("/proc/self/task"))
YuNet(default_detector(), 0.6)(np.zeros((90, 160, 3), np.uint8))
assert (threading.active_count(), len(os.listdir("/proc/self/task"))) == threads, "a thread was started"
"""


def test_nothing_is_written_about_its_use(tmp_path: Path) -> None:
    """As it comes, ONNX Runtime keeps an id of the machine and events to be sent in the user's home folder.

    Not on every machine: it is quiet where it takes the environment for that of a build server. So it is also seen to
    that it is told in time.
    """
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    env = {**os.environ, "HOME": str(home), "TMPDIR": str(temporary)}
    env.pop("ORT_DISABLE_TELEMETRY", None)  # this process may have set it
    subprocess.run([sys.executable, "-c", ALONE], env=env, cwd=ROOT, check=True)
    assert [*home.rglob("*"), *temporary.rglob("*")] == []
