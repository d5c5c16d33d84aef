"""A worker that dies costs tries of its own task only; what kills its worker each time fails alone."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fer_batch
from fer_batch import Resources, Run
from fer_batch.bundle import ModelBundle
from fer_batch.driver import Join, Probe, Task
from fer_batch.engine import workers
from fer_batch.plan import Unit
from fer_batch.process import RunContext
from fer_batch.schedule import MAX_ATTEMPTS
from fer_batch.worker import UnitDone, do_unit
from tests.clips import Clips
from tests.faults.inline import Inline, Scores, on
from tests.same import assert_same_tables

TWO = Resources(cpus=2)

ALL = ("one_face", "two_faces", "no_face", "ntsc")


def alike(crops: np.ndarray) -> np.ndarray:
    """Scores that are the same for every face: these tests are about files."""
    return np.tile(np.array([0.1, 0.1, 0.1, 0.4, 0.1, 0.1, 0.1], np.float32), (len(crops), 1))


@pytest.fixture
def folder(clips: Clips, tmp_path: Path) -> Path:
    target = tmp_path / "in"
    target.mkdir()
    for name in ALL:
        shutil.copy(getattr(clips, name).path, target)
    return target


def files_of(task: Task) -> set[str]:
    if isinstance(task, Probe):
        return {path.name for path in task.paths}
    return {task.video.path.name} if isinstance(task, Join) else {part.video.path.name for part in task.segments}


def status_of(run: Run) -> dict[str, tuple[str, str | None]]:
    return {Path(row["path"]).stem: (row["status"], row["error_code"]) for row in run.videos().to_pylist()}


def start(folder: Path, out: Path, model: ModelBundle, workers: Inline, target_s: float, **options: Any) -> Run:
    with on(workers) as patch:
        patch.setattr("fer_batch.unit_size.MIN_UNIT_COST_S", target_s)
        patch.setattr("fer_batch.unit_size.UNIT_COST_S", target_s)
        return fer_batch.run(folder, out, model=model.path, resources=TWO, **options)


@pytest.mark.parametrize(("kind", "target_s"), [(Probe, 100.0), (Unit, 100.0), (Unit, 0.02), (Join, 0.02)])
def test_what_kills_its_worker_each_time_fails_and_the_others_do_not(
    kind: type[Task], target_s: float, folder: Path, tiny: ModelBundle, tmp_path: Path
) -> None:
    """A target of 100 s packs all files into one unit, one of 0.02 s cuts each of them."""
    guilty = "one_face.mp4"
    workers = Inline(Scores(alike), dies_of=lambda task: isinstance(task, kind) and guilty in files_of(task))
    run = start(folder, tmp_path / "out", tiny, workers, target_s)
    assert status_of(run) == {
        "one_face": ("failed", "worker_died"), "two_faces": ("ok", None), "no_face": ("ok", None), "ntsc": ("ok", None),
    }  # fmt: skip
    (row,) = run.videos().filter([code == "worker_died" for code in run.videos()["error_code"].to_pylist()]).to_pylist()
    assert "died each time it was tried" in row["error"]
    assert "--retry-failed" in row["error"]
    tries = Counter(task for task in map(without_attempt, workers.tried) if isinstance(task, kind))
    of_guilty = {task: n for task, n in tries.items() if guilty in files_of(task)}
    shared = any(len(files_of(task)) > 1 for task in of_guilty)
    assert max(of_guilty.values()) == MAX_ATTEMPTS - shared  # once together with others, then alone

    mended = start(folder, tmp_path / "out", tiny, Inline(Scores(alike)), target_s, retry_failed=True)
    undisturbed = start(folder, tmp_path / "whole", tiny, Inline(Scores(alike)), 100.0)
    assert set(status_of(mended).values()) == {("ok", None)}
    assert_same_tables(undisturbed, mended)


def without_attempt(task: Task) -> Task:
    if isinstance(task, Unit):
        return Unit(task.segments)
    return Probe(task.paths) if isinstance(task, Probe) else Join(task.video)


def test_workers_that_die_now_and_then_cost_nothing_but_tries(folder: Path, tiny: ModelBundle, tmp_path: Path) -> None:
    """Every worker dies, until it is tried for the last time."""
    workers = Inline(Scores(alike), dies_of=lambda task: task.attempt < MAX_ATTEMPTS - 1)
    run = start(folder, tmp_path / "out", tiny, workers, 0.02)
    assert set(status_of(run).values()) == {("ok", None)}
    assert {type(task) for task in workers.tried} == {Probe, Unit, Join}
    assert {task.attempt for task in workers.tried} == set(range(MAX_ATTEMPTS))


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_of_a_packed_unit_the_file_that_crashes_its_decoder_and_the_one_that_takes_all_memory_fail_alone(
    folder: Path, tiny: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes die: one file's decoder aborts, another's takes memory without end."""
    crashes, hoards = folder / "two_faces.mp4", folder / "ntsc.mp4"

    def task(unit: Unit, context: RunContext, actors: list[Any], first: int) -> UnitDone:
        from fer_batch import decode

        def read(self: decode.SegmentReader) -> Any:
            if self.segment.video.path == crashes:
                ctypes.string_at(0)  # a segmentation fault inside C
                os.abort()
            if self.segment.video.path == hoards:
                import time

                hoard = []
                while True:
                    hoard.append(b"x" * 10**7)
                    time.sleep(0.01)
            return original(self)

        original = decode.SegmentReader.__iter__
        if not hasattr(original, "is_ours"):
            read.is_ours = True  # type: ignore[attr-defined]
            decode.SegmentReader.__iter__ = read  # type: ignore[method-assign]
        return do_unit(unit, context, workers.ActorScores(actors, first))

    monkeypatch.setattr(workers, "_unit_task", task)
    monkeypatch.setattr("fer_batch.resources.WORKER_LIMITS", (10**9, 10**9))
    monkeypatch.setattr("fer_batch.unit_size.MIN_UNIT_COST_S", 100)
    monkeypatch.setattr("fer_batch.unit_size.UNIT_COST_S", 100)  # all in one unit
    run = fer_batch.run(folder, tmp_path / "out", model=tiny.path, resources=TWO)
    assert status_of(run) == {
        "one_face": ("ok", None), "no_face": ("ok", None),
        "two_faces": ("failed", "worker_died"), "ntsc": ("failed", "worker_died"),
    }  # fmt: skip
    errors = {Path(row["path"]).stem: row["error"] for row in run.videos().to_pylist()}
    assert "its worker process died each time it was tried" in errors["two_faces"]
    assert "GB of memory of 1.0 GB, each time it was tried" in errors["ntsc"]
