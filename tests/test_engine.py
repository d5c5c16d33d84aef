"""Whole runs on Ray. They share one embedded Ray; the model is tiny, all else is as users have it."""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import fer_batch
from fer_batch import Detection, RefusedError, Resources, Run, RunConfig, Sampling, StoppedError
from fer_batch.actor import EmotionActor
from fer_batch.bundle import ModelBundle
from fer_batch.engine import workers
from fer_batch.plan import Unit
from fer_batch.process import RunContext
from fer_batch.progress import Progress
from fer_batch.schema import FACES, FRAMES, PROBABILITIES, VIDEOS
from fer_batch.worker import UnitDone, do_unit
from tests.clips import Clip, Clips, Damaged
from tests.same import assert_same_tables
from tests.tiny import write_tiny_bundle

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]

TWO = Resources(cpus=2)

RunIt = Callable[..., Run]


@pytest.fixture
def run_it(tiny: ModelBundle, tmp_path: Path) -> RunIt:
    """Runs `fer_batch.run` with the tiny model into a folder of this test."""

    def run(inputs: Any, *args: Any, out: str = "out", **options: Any) -> Run:
        defaults: dict[str, Any] = {"model": tiny.path, "resources": TWO}
        return fer_batch.run(inputs, tmp_path / out, *args, **defaults | options)

    return run


@pytest.fixture
def folder(clips: Clips, tmp_path: Path) -> Path:
    """Recordings of uneven quality, as people have them."""
    target = tmp_path / "in"
    (target / "day 2").mkdir(parents=True)
    sources: dict[str, Clip | Damaged] = {
        "one.mp4": clips.one_face,
        "two.mp4": clips.two_faces,
        "wall.mp4": clips.no_face,
        "day 2/vfr.mp4": clips.vfr,
        "day 2/turned.mp4": clips.rotated[90],
        "day 2/crowd.mp4": clips.crowd,
        "cut.mp4": clips.cut_short,
        "noisy.mp4": clips.overwritten,
    }
    for name, clip in sources.items():
        shutil.copy(clip.path, target / name)
    for kind in ("empty", "text", "audio", "concat_script"):
        shutil.copy(clips.not_videos[kind], target / f"{kind}.mp4")
    (target / "notes.txt").write_text("no video")
    return target


def status_of(run: Run) -> dict[str, tuple[str, str | None]]:
    rows = run.videos().to_pylist()
    return {Path(row["path"]).name: (row["status"], row["error_code"]) for row in rows}


def test_a_folder_of_uneven_quality(run_it: RunIt, folder: Path) -> None:
    seen: list[Progress] = []
    run = run_it(folder, on_progress=seen.append)
    assert status_of(run) == {
        "one.mp4": ("ok", None),
        "two.mp4": ("ok", None),
        "wall.mp4": ("ok", None),
        "vfr.mp4": ("ok", None),
        "turned.mp4": ("ok", None),
        "crowd.mp4": ("ok", None),
        "cut.mp4": ("partial", "damaged"),
        "noisy.mp4": ("partial", "damaged"),
        "empty.mp4": ("failed", "empty"),
        "text.mp4": ("failed", "not_a_video"),
        "audio.mp4": ("failed", "no_video_stream"),
        "concat_script.mp4": ("failed", "not_a_video"),
    }
    assert run.info["state"] == "complete"
    assert run.info["counts"] | {"frames": 0, "faces": 0, "tracks": 0} == {
        "files": 12, "passed_over": 1, "ok": 6, "partial": 2, "failed": 4, "frames": 0, "faces": 0, "tracks": 0,
    }  # fmt: skip
    assert not (run.path / "work").exists()
    assert seen[0].phase == "starting"
    assert seen[-1].counts.videos == 12

    ledger, faces, frames = run.videos(), run.faces(), run.frames()
    assert ledger.schema.equals(VIDEOS)
    assert faces.schema.equals(FACES)
    assert frames.schema.equals(FRAMES)
    by_name = {Path(row["path"]).name: row for row in ledger.to_pylist()}
    assert by_name["one.mp4"]["n_tracks"] == 1
    assert by_name["two.mp4"]["n_faces"] == 2 * by_name["two.mp4"]["n_sampled"]
    assert by_name["wall.mp4"]["n_faces"] == 0
    assert by_name["crowd.mp4"]["n_tracks"] == 32
    assert by_name["vfr.mp4"]["is_vfr"]
    assert (by_name["turned.mp4"]["rotation"], by_name["turned.mp4"]["width"]) == (90, 240)
    for row in ledger.to_pylist():  # counts reconcile
        if row["status"] != "failed":
            mine = frames.filter(pc.field("video_id") == row["video_id"])
            assert row["n_sampled"] == len(mine)
            assert row["n_with_face"] == pc.sum(pc.greater(mine["n_faces"], 0)).as_py()
            assert row["n_faces"] == pc.sum(mine["n_faces"]).as_py()
            assert row["n_faces"] == len(faces.filter(pc.field("video_id") == row["video_id"]))
            assert row["sampled_ms"] == pc.sum(mine["duration_ms"]).as_py()
    scores = np.column_stack([faces[name].to_numpy() for name in PROBABILITIES])
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(faces["confidence"].to_numpy(), scores.max(axis=1))
    assert faces["emotion"].to_pylist() == [PROBABILITIES[i][2:] for i in scores.argmax(axis=1)]
    keys = list(zip(*(faces[k].to_pylist() for k in ("video_id", "timestamp_ms", "face_index")), strict=True))
    assert keys == sorted(keys)
    assert set(frames.filter(pc.field("n_faces") == 0)["reason"].to_pylist()) == {"no_face", "decode_error"}


def test_files_carry_what_a_reader_must_know(run_it: RunIt, clips: Clips, tiny: ModelBundle) -> None:
    run = run_it(clips.one_face.path)
    for file in (run.ledger, *run.faces_dir.iterdir(), *run.frames_dir.iterdir()):
        parquet = pq.ParquetFile(file)
        metadata = parquet.schema_arrow.metadata
        assert metadata[b"labels"] == b"angry,disgust,fear,happy,sad,surprise,neutral"
        assert metadata[b"model_sha256"] == tiny.sha256.encode()
        assert b'"fps": "2"' in metadata[b"sampling"]
        assert all(field.metadata[b"description"] for field in parquet.schema_arrow)
        assert parquet.metadata.row_group(0).column(0).compression == "ZSTD"
    import duckdb
    import pandas as pd
    import polars as pl

    assert len(pd.read_parquet(run.faces_dir)) == len(pl.read_parquet(run.faces_dir)) == len(run.faces())
    assert len(duckdb.read_parquet(f"{run.faces_dir}/*.parquet").fetchall()) == len(run.faces())


def test_the_same_command_again_keeps_everything_and_adds_new_files(run_it: RunIt, folder: Path, clips: Clips) -> None:
    first = run_it(folder)
    before = {file: file.stat().st_mtime_ns for file in first.faces_dir.iterdir()}
    counts = first.info["counts"]
    seen: list[Progress] = []
    second = run_it(folder, on_progress=seen.append)
    assert {file: file.stat().st_mtime_ns for file in second.faces_dir.iterdir()} == before
    assert second.info["counts"] == counts
    assert (seen[-1].kept, seen[-1].n_units) == (12, 0)
    shutil.copy(clips.ntsc.path, folder / "new.mp4")
    third = run_it(folder)
    assert status_of(third)["new.mp4"] == ("ok", None)
    assert third.info["counts"]["files"] == 13
    assert before.items() <= {file: file.stat().st_mtime_ns for file in third.faces_dir.iterdir()}.items()


def test_another_configuration_is_refused_by_naming_the_keys(run_it: RunIt, clips: Clips, tmp_path: Path) -> None:
    run_it(clips.one_face.path)
    other = RunConfig(sampling=Sampling(fps=Fraction(5)), detection=Detection(min_face=50))
    with pytest.raises(RefusedError) as caught:
        run_it(clips.one_face.path, other)
    assert "sampling.fps: 2 there, 5 asked" in str(caught.value)
    assert "detection.min_face: 24 there, 50 asked" in str(caught.value)
    assert "long_side" not in str(caught.value)
    another = write_tiny_bundle(tmp_path / "another", seed=1)
    with pytest.raises(RefusedError, match="model_sha256"):
        run_it(clips.one_face.path, model=another.path)
    redone = run_it(clips.one_face.path, other, redo=True)
    assert len(redone.frames()) == 30
    assert len(list(redone.faces_dir.iterdir())) == 1


def test_failed_files_are_tried_again_when_asked_or_when_they_changed(
    run_it: RunIt, clips: Clips, tmp_path: Path
) -> None:
    target = tmp_path / "in"
    target.mkdir()
    shutil.copy(clips.not_videos["text"], target / "a.mp4")
    shutil.copy(clips.no_face.path, target / "b.mp4")
    assert status_of(run_it(target))["a.mp4"] == ("failed", "not_a_video")
    seen: list[Progress] = []
    run_it(target, on_progress=seen.append, retry_failed=True)
    assert seen[-1].kept == 1
    shutil.copy(clips.one_face.path, target / "a.mp4")
    mended = run_it(target)
    assert status_of(mended) == {"a.mp4": ("ok", None), "b.mp4": ("ok", None)}
    shutil.copy(clips.two_faces.path, target / "a.mp4")  # replaced: the rows of the old content go
    replaced = run_it(target)
    rows = pa.concat_tables([pq.read_table(file, columns=["video_id"]) for file in replaced.faces_dir.iterdir()])
    assert len(rows) == 16
    assert replaced.info["counts"]["faces"] == 16


def test_the_same_content_twice_is_one_id_and_two_rows_of_the_ledger(
    run_it: RunIt, clips: Clips, tmp_path: Path
) -> None:
    target = tmp_path / "in"
    target.mkdir()
    for name in "abc":
        shutil.copy(clips.two_faces.path, target / f"{name}.mp4")
    run = run_it(target)
    ledger = run.videos()
    assert len(ledger) == 3
    assert len(set(ledger["video_id"].to_pylist())) == 1
    assert len(run.faces()) == 16
    assert (run.info["counts"]["ok"], run.info["counts"]["faces"], run.info["counts"]["frames"]) == (3, 16, 8)
    again = run_it(target)
    assert len(again.videos()) == 3


def test_the_tables_do_not_depend_on_how_the_work_was_cut(
    run_it: RunIt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_it(folder, out="whole", resources=Resources(cpus=2, workers=1))
    monkeypatch.setattr("fer_batch.unit_size.MIN_UNIT_COST_S", 0.02)
    monkeypatch.setattr("fer_batch.unit_size.UNIT_COST_S", 0.03)
    monkeypatch.setattr("fer_batch.plan.MAX_UNIT_VIDEOS", 1)
    pieces = run_it(sorted(map(str, folder.rglob("*.mp4")), reverse=True), out="pieces",
                    resources=Resources(cpus=2, workers=3))  # fmt: skip
    assert len(list(pieces.faces_dir.iterdir())) > len(list(whole.faces_dir.iterdir()))
    assert_same_tables(whole, pieces)


def replace_unit_task(monkeypatch: pytest.MonkeyPatch, act: Callable[[Unit, RunContext, list[Any]], None]) -> None:
    """Let workers do something else before their work. Defined here, so that it travels to them by value."""

    def task(unit: Unit, context: RunContext, actors: list[Any], first: int) -> UnitDone:
        act(unit, context, actors)
        return do_unit(unit, context, workers.ActorScores(actors, first))

    monkeypatch.setattr(workers, "_unit_task", task)


def test_a_video_that_hangs_its_decoder_fails_and_the_others_do_not(
    run_it: RunIt, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, clip in (("one.mp4", clips.one_face), ("two.mp4", clips.two_faces)):
        shutil.copy(clip.path, folder / name)
    guilty = folder / "two.mp4"  # the whole path, as the worker processes serve other tests too

    def hang(unit: Unit, context: RunContext, actors: list[Any]) -> None:
        import time

        from fer_batch import decode, watchdog

        def read(self: decode.SegmentReader) -> Any:
            if self.segment.video.path == guilty:
                with watchdog.watched(1.0, context.stalled):  # the run's own limit would be long for a test
                    time.sleep(1000)
            return original(self)

        original = decode.SegmentReader.__iter__
        if not hasattr(original, "hangs"):
            read.hangs = True  # type: ignore[attr-defined]
            decode.SegmentReader.__iter__ = read  # type: ignore[method-assign]

    replace_unit_task(monkeypatch, hang)
    run = run_it(folder)
    assert status_of(run) == {"one.mp4": ("ok", None), "two.mp4": ("failed", "timed_out")}
    errors = {Path(row["path"]).name: row["error"] for row in run.videos().to_pylist()}
    assert "no progress for 1 s, each time it was tried" in errors["two.mp4"]


def test_a_copy_of_a_video_that_fails_fails_likewise(
    run_it: RunIt, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "in"
    target.mkdir()
    for name in "ab":
        shutil.copy(clips.two_faces.path, target / f"{name}.mp4")

    def fail(unit: Unit, context: RunContext, actors: list[Any]) -> None:
        raise ZeroDivisionError

    replace_unit_task(monkeypatch, fail)
    assert set(status_of(run_it(target)).values()) == {("failed", "internal_error")}


def test_an_error_nobody_foresaw_fails_its_video_and_is_named(
    run_it: RunIt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(unit: Unit, context: RunContext, actors: list[Any]) -> None:
        if any(segment.video.path.name == "wall.mp4" for segment in unit.segments):
            raise ZeroDivisionError("of a kind")

    replace_unit_task(monkeypatch, fail)
    run = run_it(folder)
    row = next(row for row in run.videos().to_pylist() if row["path"].endswith("wall.mp4"))
    assert (row["status"], row["error_code"]) == ("failed", "internal_error")
    assert "ZeroDivisionError: of a kind" in row["error"]
    assert "ZeroDivisionError" in (run.path / "run.log").read_text()
    assert status_of(run)["one.mp4"] == ("ok", None)


def test_an_actor_that_dies_is_replaced(
    run_it: RunIt, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = run_it(folder, out="undisturbed")
    mark = tmp_path / "killed"

    def kill_actor_once(unit: Unit, context: RunContext, actors: list[Any]) -> None:
        import ray

        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return
        ray.get(actors[0].busy_s.remote())
        ray.kill(actors[0], no_restart=False)

    replace_unit_task(monkeypatch, kill_actor_once)
    disturbed = run_it(folder, out="disturbed")
    assert mark.exists()
    assert_same_tables(undisturbed, disturbed)


def test_a_model_that_cannot_be_loaded_stops_the_run_with_the_reason(
    run_it: RunIt, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __init__(self, *_arguments: Any) -> None:
            raise ValueError("no room for the model")

        def score(self, crops: np.ndarray) -> np.ndarray:
            return crops

        def busy_s(self) -> float:
            return 0.0

    monkeypatch.setattr(workers, "EmotionActor", Broken)
    with pytest.raises(StoppedError, match="no room for the model"):
        run_it(folder)
    assert Run(tmp_path / "out").info["state"] == "stopped"
    monkeypatch.undo()
    assert run_it(folder).info["state"] == "complete"


def test_a_full_disk_stops_the_run_and_the_next_start_goes_on(
    run_it: RunIt, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = run_it(folder, out="undisturbed")

    def full(unit: Unit, context: RunContext, actors: list[Any]) -> None:
        if any(segment.video.path.name == "vfr.mp4" for segment in unit.segments):
            raise StoppedError("cannot write x: No space left on device")

    replace_unit_task(monkeypatch, full)
    with pytest.raises(StoppedError, match="No space left"):
        run_it(folder, out="full")
    assert Run(tmp_path / "full").info["state"] == "stopped"
    monkeypatch.undo()
    assert_same_tables(undisturbed, run_it(folder, out="full"))


def test_an_interrupted_run_keeps_what_is_committed(
    run_it: RunIt, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = run_it(folder, out="undisturbed")
    monkeypatch.setattr("fer_batch.unit_size.MIN_UNIT_COST_S", 0.02)
    monkeypatch.setattr("fer_batch.unit_size.UNIT_COST_S", 0.05)

    def interrupt(progress: Progress) -> None:
        if progress.n_units == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_it(folder, out="half", on_progress=interrupt)
    half = Run(tmp_path / "half")
    assert half.info["state"] == "interrupted"
    assert 0 < len(half.videos()) < 12
    assert_ledger_and_tables_agree(half)
    half_done = status_of(half)
    seen: list[Progress] = []
    complete = run_it(folder, out="half", on_progress=seen.append)
    assert seen[-1].kept == len(half_done)
    assert_same_tables(undisturbed, complete)


def assert_ledger_and_tables_agree(run: Run) -> None:
    for row in run.videos().to_pylist():
        if row["part"] is not None:
            assert len(run.faces(row["video_id"])) == row["n_faces"]
            assert len(run.frames(row["video_id"])) == row["n_sampled"]


def test_a_file_that_vanishes_during_the_run_fails_alone(
    run_it: RunIt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(unit: Unit, context: RunContext, actors: list[Any]) -> None:
        (folder / "one.mp4").unlink(missing_ok=True)

    replace_unit_task(monkeypatch, vanish)
    monkeypatch.setattr("fer_batch.unit_size.MIN_UNIT_COST_S", 100)
    monkeypatch.setattr("fer_batch.unit_size.UNIT_COST_S", 100)
    run = run_it(folder)
    assert status_of(run)["one.mp4"] == ("failed", "vanished")
    assert status_of(run)["two.mp4"] == ("ok", None)


def test_actors_are_placed_on_gpus_by_the_fraction(
    run_it: RunIt, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU is pretended: Ray places by it; TensorFlow finds none and computes on the CPU, in half precision."""
    import ray

    monkeypatch.setattr("fer_batch.api.local_gpus", lambda: 1)
    with pytest.raises(StoppedError, match=r"TensorFlow sees no GPU.*--gpus 0"):
        run_it(clips.two_faces.path, out="not pretended", resources=Resources(cpus=2, gpus=0.5))

    class Pretending(EmotionActor):
        def require_gpu(self) -> None:
            assert ray.get_gpu_ids(), "placed without a GPU"

    monkeypatch.setattr(workers, "EmotionActor", Pretending)
    free: list[float] = []
    run = run_it(
        clips.two_faces.path,
        resources=Resources(cpus=2, gpus=0.5),
        on_progress=lambda _progress: free.append(ray.available_resources().get("GPU", 0.0)),  # type: ignore[no-untyped-call]
    )
    assert min(free) == 0.5
    assert run.info["config"]["backend"] == "tensorflow-gpu"
    assert run.info["config"]["precision"] == "mixed_float16"
    assert len(run.faces()) == 16


def test_nothing_listens_beyond_loopback(ray_session: None) -> None:
    processes = psutil.Process().children(recursive=True)
    listening = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # a worker that ended in the meantime
            listening += [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening
    addresses = {ipaddress.ip_address(connection.laddr.ip) for connection in listening}
    assert all((getattr(address, "ipv4_mapped", None) or address).is_loopback for address in addresses), addresses


def test_a_folder_without_videos_is_refused(run_it: RunIt, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("x")
    with pytest.raises(RefusedError, match=r"no video found in .* \(1 other file passed over\)"):
        run_it(tmp_path / "in")


def test_a_folder_with_something_else_in_it_is_refused(run_it: RunIt, clips: Clips, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.doc").write_text("x")
    with pytest.raises(RefusedError, match="not empty and holds no run"):
        run_it(clips.one_face.path)
    assert (tmp_path / "out" / "thesis.doc").exists()
