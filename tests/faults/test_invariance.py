"""The tables depend on videos and configuration alone: not on cuts, workers, batches, order or interruptions."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fer_batch
from fer_batch import Resources, Run
from fer_batch.bundle import ModelBundle
from fer_batch.schema import PROBABILITIES
from fer_batch.score import Scorer
from tests.clips import Clips
from tests.faults.inline import Inline, Kill, Killed, Scores, killed_at, on
from tests.same import assert_same_ledger, assert_same_tables

TWO = Resources(cpus=2)


@pytest.fixture(scope="module")
def folder(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos that are worth cutting, some that are not, damaged ones, one without a face, copies, and no video."""
    target = tmp_path_factory.mktemp("in")
    for name in ("coming_and_going", "one_face", "vfr", "two_faces", "ntsc", "no_face", "cut_short", "overwritten"):
        shutil.copy(getattr(clips, name).path, target)
    shutil.copy(clips.two_faces.path, target / "two_faces_again.mp4")
    shutil.copy(clips.not_videos["text"], target / "text.mp4")
    return target


@pytest.fixture(scope="module")
def scores(tiny: ModelBundle) -> Scores:
    return Scores(Scorer(tiny, threads=1))


@pytest.fixture(scope="module")
def undisturbed(folder: Path, scores: Scores, tiny: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with on(Inline(scores, size=1)):
        return fer_batch.run(folder, tmp_path_factory.mktemp("out"), model=tiny.path, resources=TWO)


def test_there_is_something_to_compare(undisturbed: Run) -> None:
    assert undisturbed.info["counts"] | {"tracks": 0} == {
        "files": 10, "passed_over": 0, "ok": 7, "partial": 2, "failed": 1, "frames": 77, "faces": 85, "tracks": 0,
    }  # fmt: skip
    faces = undisturbed.faces()
    assert np.ptp(np.column_stack([faces[name].to_numpy() for name in PROBABILITIES]), axis=0).max() > 0.1


kills = st.lists(
    st.builds(Kill, st.integers(0, 60), st.sampled_from(["worker", "driver"]), st.sampled_from(["before", "after"])),
    max_size=5,
)


def invariance(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The ways in which a run may differ and its tables may not."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        given_all = given(
            seed=st.integers(0, 1000),
            target_s=st.sampled_from([0.01, 0.02, 0.05, 0.1, 100.0]),
            unit_videos=st.sampled_from([1, 2, 500]),
            probe_chunk=st.sampled_from([1, 3, 16]),
            workers=st.integers(1, 5),
            batch=st.integers(1, 70),
            kills=kills,
        )
        limits = settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        return limits(given_all(test))

    return decorate


def check(
    folder: Path,
    scores: Scores,
    tiny: ModelBundle,
    undisturbed: Run,
    seed: int,
    target_s: float,
    unit_videos: int,
    probe_chunk: int,
    workers: int,
    batch: int,
    kills: list[Kill],
) -> None:
    files = sorted(folder.iterdir())
    random.Random(seed).shuffle(files)
    with tempfile.TemporaryDirectory() as scratch, on(Inline(scores, workers, seed)) as patch:
        out = Path(scratch) / "out"
        patch.setattr("fer_batch.unit_size.MIN_UNIT_COST_S", target_s)
        patch.setattr("fer_batch.unit_size.UNIT_COST_S", target_s)
        patch.setattr("fer_batch.plan.MAX_UNIT_VIDEOS", unit_videos)
        patch.setattr("fer_batch.driver.PROBE_CHUNK", probe_chunk)
        patch.setattr("fer_batch.process.BATCH", batch)
        for kill in kills:
            random.Random(seed + kill.write).shuffle(files)
            with killed_at(kill, out):
                try:
                    fer_batch.run(files, out, model=tiny.path, resources=TWO)
                except Killed:
                    continue
        run = fer_batch.run(files, out, model=tiny.path, resources=TWO)
        assert_same_tables(undisturbed, run)
        assert_same_ledger(undisturbed, run)
        rows = [pa.parquet.read_table(file, columns=["video_id"]) for file in run.faces_dir.glob("*.parquet")]
        assert sum(map(len, rows)) == len(run.faces())  # nothing but what counts
        assert not run.work_dir.exists()


@invariance(examples=8)
def test_tables_do_not_depend_on_how_they_were_made(
    folder: Path, scores: Scores, tiny: ModelBundle, undisturbed: Run, **how: object
) -> None:
    check(folder, scores, tiny, undisturbed, **how)  # type: ignore[arg-type]


@pytest.mark.long
@pytest.mark.timeout(3600)
@invariance(examples=200)
def test_tables_do_not_depend_on_how_they_were_made_long(
    folder: Path, scores: Scores, tiny: ModelBundle, undisturbed: Run, **how: object
) -> None:
    check(folder, scores, tiny, undisturbed, **how)  # type: ignore[arg-type]
