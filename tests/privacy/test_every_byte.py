"""Every byte that a run at privacy level `aggregate` writes to any file: on Ray, killed, and gone on with."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_batch import Run
from fer_batch.align import crop_face
from fer_batch.bundle import ModelBundle
from fer_batch.config import Detection
from fer_batch.decode import SegmentReader
from fer_batch.detect import FaceDetector, check_detector
from fer_batch.plan import whole
from fer_batch.probe import probe
from fer_batch.score import Scorer
from fer_batch.scratch import PREFIX
from tests.conftest import find_program
from tests.privacy.child import CONTROL
from tests.privacy.people import write_class
from tests.privacy.recorded import Recorded, record
from tests.privacy.test_aggregate import CONFIG
from tests.privacy.traces import holds_only_bins, too_fine

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytes")


@pytest.fixture(scope="module")
def runs(folder: Path, tiny: ModelBundle) -> list[tuple[Recorded, list[str]]]:
    """A run that is killed when its first bins are committed, and one that goes on, each with what its folder held."""
    strace = find_program("strace")
    write_class(folder / "class.mp4")
    found = []
    for name in ("die", "live"):
        arguments = (folder / "class.mp4", folder / "out", tiny.path, folder / "control", name)
        command = [sys.executable, "-m", "tests.privacy.child", *map(str, arguments)]
        recorded = record(strace, command, folder / f"strace-{name}")
        found.append((recorded, [*holds_only_bins(folder / "out"), *map(str, (folder / "out").rglob("*.parquet"))]))
    return found


@pytest.fixture(scope="module")
def needles(folder: Path, runs: object, tiny: ModelBundle) -> dict[str, bytes]:
    """Bytes of single faces: boxes, probabilities and rows of crops' pixels."""
    weights, _ = check_detector(None)
    detector, scorer = FaceDetector(weights, Detection()), Scorer(tiny, threads=1)
    known: dict[str, bytes] = {}
    for sample in SegmentReader(whole(probe(folder / "class.mp4")), CONFIG.sampling):
        if sample.image is None or sample.timestamp_ms not in (0, 14_000, 40_000, 80_000):
            continue
        faces, _ = detector(sample.image)
        crops = [
            crop_face(sample.image, face.landmarks, tiny.template, tiny.input_size, tiny.channels) for face in faces
        ]
        for number, (face, scores) in enumerate(zip(faces, scorer(np.stack(crops)), strict=True)):
            name = f"{sample.timestamp_ms} ms, face {number}"
            known[f"box of {name}"] = np.array(face.box[:2], np.float32).tobytes()
            known[f"size of {name}"] = np.array(face.box[2:], np.float32).tobytes()
            known[f"probabilities of {name}"] = scores[:2].astype(np.float32).tobytes()
            known[f"crop of {name}"] = crops[number][24].tobytes()
            known[f"box of {name}, as text"] = f"{face.box[0]:.5f}".encode()
    return known


def test_the_recording_sees_what_is_written(runs: list[tuple[Recorded, list[str]]], folder: Path) -> None:
    (killed, then), (finished, _) = runs
    assert (killed.code, finished.code) == (-9, 0)
    assert any("/work/units/" in name for name in then)  # it was killed in the middle of the video
    for recorded in (killed, finished):
        assert recorded.files[str(folder / "control")].endswith(CONTROL)
        assert any(PREFIX in name and "/logs/" in name for name in recorded.files)  # Ray's own, of all its processes
    tables = [data for name, data in finished.files.items() if "control.parquet" in name and data[-4:] == b"PAR1"]
    assert [list(too_fine(pq.read_table(io.BytesIO(data)))) != [] for data in tables] == [True]


def test_no_byte_of_a_face_was_written(
    runs: list[tuple[Recorded, list[str]]], folder: Path, needles: dict[str, bytes]
) -> None:
    assert len(needles) > 150
    tables = 0
    for recorded, _ in runs:
        assert [name for name in recorded.mapped if not name.startswith(("/dev/", "/memfd:"))] == []
        assert recorded.others == []
        for name, data in recorded.files.items():
            if name.startswith(str(folder / "control")) or "control.parquet" in name:
                continue
            assert [what for what, needle in needles.items() if needle in data] == [], name
            if data[:4] == b"PAR1":
                assert list(too_fine(pq.read_table(io.BytesIO(data)))) == [], name
                tables += 1
            elif name.startswith(str(folder)):
                assert name.endswith(".tmp") or Path(name).name in ("run.log", "owner.json", "lease.json"), name
    assert tables >= 1 + 3 + 2  # a segment before the kill, the others after it, the video, the ledger


def test_what_was_killed_holds_whole_bins_only(runs: list[tuple[Recorded, list[str]]], folder: Path) -> None:
    for _, held in runs:
        assert [problem for problem in held if not problem.endswith(".parquet")] == []
    run = Run(folder / "out")
    assert [row["status"] for row in run.bins().to_pylist()] == ["shown", "too_few", "shown", "shown"]
    assert not run.work_dir.exists()
    shutil.rmtree(folder / "out")
