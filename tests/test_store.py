from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fer_batch.commit import (
    commit_rows,
    commit_videos,
    committed_segments,
    create_folders,
    forget_segments,
    part_name,
)
from fer_batch.config import Detection, RunConfig, Sampling
from fer_batch.detect import check_detector
from fer_batch.errors import RefusedError, StoppedError, VideoError
from fer_batch.ledger import drop_orphans, join
from fer_batch.plan import Unit, segments, whole
from fer_batch.probe import probe
from fer_batch.process import CropSpec, RunContext
from fer_batch.schema import EMOTIONS, FACES, FRAMES, PROBABILITIES
from fer_batch.store import Run, atomic_write, write_json, write_table
from fer_batch.tables import failed_row, path_text
from fer_batch.unit_size import even
from fer_batch.worker import do_unit, probe_files
from fer_batch.worker import join as join_segments
from tests.clips import Clips
from tests.tiny import TEMPLATE


class Brightness:
    """Scores that depend on the crop alone: a stand-in for the model with known answers."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def submit(self, crops: np.ndarray) -> np.ndarray:
        self.batches.append(len(crops))
        return crops

    def result(self, ticket: np.ndarray) -> np.ndarray:
        parts = ticket.reshape(len(ticket), -1)[:, : 7 * 300].reshape(len(ticket), 7, 300).mean(axis=2) + 1.0
        return np.asarray(parts / parts.sum(axis=1, keepdims=True), np.float32)


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    path = tmp_path / "run"
    create_folders(path)
    write_json(path / "run.json", {"state": "running", "config": RunConfig().to_json()})
    return RunContext(path, RunConfig(), check_detector(None)[0], CropSpec(TEMPLATE, 48, 1), {"model_sha256": "x"})


def test_atomic_write_leaves_the_old_file_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "table.parquet"
    write_table(file, pa.table({"a": [1]}))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoppedError, match=r"table.parquet: No space left on device.*what is committed stays"):
        write_table(file, pa.table({"a": [1, 2]}))
    assert len(pq.read_table(file)) == 1
    assert [item.name for item in tmp_path.iterdir()] == ["table.parquet"]


def test_atomic_write_leaves_nothing_behind_when_the_writer_fails(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with atomic_write(tmp_path / "x") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoppedError, match="choose another --out"):
        create_folders(tmp_path / "file")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="holds no run"):
        Run(tmp_path)


def test_a_torn_run_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"state": ')
    with pytest.raises(RefusedError, match="damaged"):
        _ = Run(tmp_path).info


def test_a_unit_of_several_videos_is_one_part_and_its_rows_are_right(clips: Clips, context: RunContext) -> None:
    videos = [probe(clip.path) for clip in (clips.two_faces, clips.no_face, clips.one_face)]
    scores = Brightness()
    unit = Unit(tuple(whole(video) for video in videos))
    done = do_unit(unit, context, scores)
    assert (done.counts.ok, done.n_faces, done.n_frames) == (3, 8 * 2 + 12, 8 + 6 + 12)
    assert scores.batches == [28]  # crops of all three videos share a batch
    run = Run(context.path)
    assert [file.name for file in run.faces_dir.iterdir()] == [part_name(unit.unit_id)]
    faces, frames = run.faces(videos[0].video_id), run.frames(videos[0].video_id)
    assert faces["timestamp_ms"].to_pylist() == sorted([0, 520, 1000, 1520, 2000, 2520, 3000, 3520] * 2)
    assert set(faces["duration_ms"].to_pylist()) == {500}
    assert faces["face_index"].to_pylist() == [0, 1] * 8
    assert faces["track_id"].to_pylist() == [1, 2] * 8
    scores_of = np.column_stack([faces[name].to_numpy() for name in PROBABILITIES])
    means = np.column_stack([frames[name].to_numpy() for name in PROBABILITIES])
    np.testing.assert_allclose(means, scores_of.reshape(8, 2, 7).mean(axis=1), atol=1e-6)
    happy, negative = scores_of[:, 3], scores_of[:, [0, 1, 2, 4]].max(axis=1)
    np.testing.assert_allclose(faces["valence"].to_numpy(), happy - negative, atol=1e-6)
    np.testing.assert_allclose(faces["expressiveness"].to_numpy(), 1 - scores_of[:, 6], atol=1e-6)
    assert faces["emotion"].to_pylist() == [EMOTIONS[i] for i in scores_of.argmax(axis=1)]
    empty = run.frames(videos[1].video_id)
    assert empty["reason"].to_pylist() == ["no_face"] * 6
    assert empty["p_happy"].null_count == 6


def test_segments_join_to_the_same_rows_as_the_whole_video(clips: Clips, context: RunContext, tmp_path: Path) -> None:
    video = probe(clips.coming_and_going.path)
    do_unit(Unit((whole(video),)), context, Brightness())
    expected = Run(context.path)
    cut = RunContext(tmp_path / "cut", context.config, context.detector, context.crop, context.metadata)
    create_folders(cut.path)
    write_json(cut.path / "run.json", {"state": "running"})
    parts = segments(video, 100, even(25))
    assert len(parts) > 2
    for part in reversed(parts):
        do_unit(Unit((part,)), cut, Brightness())
        assert len(Run(cut.path).videos()) == 0  # not before it is whole
    assert committed_segments(cut.path, video.video_id) == [(part.start.pts, part.end_pts) for part in parts]
    join_segments(cut, video)
    found = Run(cut.path)
    assert found.faces().equals(expected.faces())
    assert found.frames().equals(expected.frames())
    forget_segments(cut.path, video.video_id)
    assert not any((cut.path / "work" / "units").iterdir())


def test_keyframes_last_until_the_next_and_the_last_until_the_end(clips: Clips, context: RunContext) -> None:
    config = RunConfig(sampling=Sampling(mode="keyframes"))
    other = RunContext(context.path, config, context.detector, context.crop, {})
    do_unit(Unit((whole(probe(clips.constant.path)),)), other, Brightness())
    frames = Run(context.path).frames()
    assert frames["timestamp_ms"].to_pylist() == [0, 600, 1200, 1800, 2400, 3000, 3600]
    assert frames["duration_ms"].to_pylist() == [600] * 6 + [400]


def test_a_video_that_ends_before_start_has_no_samples_and_is_ok(clips: Clips, context: RunContext) -> None:
    config = RunConfig(sampling=Sampling(start_ms=60_000))
    other = RunContext(context.path, config, context.detector, context.crop, {})
    do_unit(Unit((whole(probe(clips.one_face.path)),)), other, Brightness())
    (row,) = Run(context.path).videos().to_pylist()
    assert (row["status"], row["n_sampled"], row["n_faces"], row["sampled_ms"]) == ("ok", 0, 0, 0)


def test_faces_that_are_too_small_are_told_from_none(clips: Clips, context: RunContext) -> None:
    config = RunConfig(detection=Detection(min_face=300))
    other = RunContext(context.path, config, context.detector, context.crop, {})
    do_unit(Unit((whole(probe(clips.one_face.path)),)), other, Brightness())
    assert set(Run(context.path).frames()["reason"].to_pylist()) == {"too_small"}


def test_damage_is_marked_in_frames_and_counted_in_the_ledger(clips: Clips, context: RunContext) -> None:
    do_unit(Unit((whole(probe(clips.overwritten.path)),)), context, Brightness())
    run = Run(context.path)
    (row,) = run.videos().to_pylist()
    assert (row["status"], row["error_code"], row["broken_at_ms"]) == ("partial", "damaged", 1320)
    assert "0:01.320" in row["error"]
    reasons = run.frames()["reason"].to_pylist()
    assert reasons == [None, None, None, "decode_error", None, None, None, None]


def test_a_ledger_row_without_its_part_is_never_seen(clips: Clips, context: RunContext) -> None:
    """A worker that dies after writing faces, before the ledger: readers ignore the orphan, compaction removes it."""
    video = probe(clips.two_faces.path)
    do_unit(Unit((whole(video),)), context, Brightness())
    run = Run(context.path)
    orphan = run.faces_dir / part_name("orphan")
    write_table(orphan, run.faces())
    assert len(run.faces()) == 16
    join(run, {})
    drop_orphans(run)
    assert not orphan.exists()
    assert len(run.faces()) == 16


def test_rows_that_a_newer_row_of_their_file_left_behind_are_dropped(clips: Clips, context: RunContext) -> None:
    """From the part that they share with another video; parts without such rows are not read."""
    old, other, apart = (probe(clip.path) for clip in (clips.one_face, clips.two_faces, clips.coming_and_going))
    for unit in (Unit((whole(old), whole(other))), Unit((whole(apart),))):
        do_unit(unit, context, Brightness())
    run = Run(context.path)
    join(run, {})
    commit_rows(context.path, "x", [failed_row(old.path, VideoError("changed", "by someone"))], {})
    join(run, {})
    (part,) = run.videos().filter(pc.field("video_id") == apart.video_id)["part"].to_pylist()
    (run.faces_dir / part).write_bytes(b"damaged")
    drop_orphans(run)
    left = [file for file in run.faces_dir.iterdir() if file.name != part]
    assert [pc.unique(pq.read_table(file)["video_id"]).to_pylist() for file in left] == [[other.video_id]]
    assert sorted(item.name for item in run.work_dir.iterdir()) == ["ledger", "units"]


def test_the_newest_row_of_a_file_counts(context: RunContext, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    commit_rows(context.path, "x", [failed_row(path, VideoError("empty", "old"))], {})
    commit_rows(context.path, "a", [failed_row(path, VideoError("vanished", "new"))], {})
    (row,) = Run(context.path).videos().to_pylist()
    assert row["error_code"] == "vanished"


def test_names_that_are_not_utf8_are_kept_exactly(clips: Clips, context: RunContext, tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    path = Path(os.fsdecode(raw))
    path.write_bytes(clips.no_face.path.read_bytes())
    do_unit(Unit((whole(probe(path)),)), context, Brightness())
    (row,) = Run(context.path).videos().to_pylist()
    assert row["path"] == path_text(path) == f"{tmp_path}/caf\\xe9.mp4"
    assert row["path_bytes"] == raw


def test_probing_enters_failures_and_goes_on(clips: Clips, context: RunContext) -> None:
    found = probe_files([clips.not_videos["text"], clips.one_face.path, clips.not_videos["empty"]], context)
    assert [video.path for video in found.videos] == [clips.one_face.path]
    assert found.failed.failed == 2
    ledger = Run(context.path).videos().to_pylist()
    assert [row["error_code"] for row in ledger] == ["empty", "not_a_video"]
    assert ledger[1]["size_bytes"] == 1500


def test_tables_of_nothing_have_the_declared_columns(context: RunContext) -> None:
    run = Run(context.path)
    assert run.faces().schema.equals(FACES)
    assert run.frames().schema.equals(FRAMES)
    assert commit_videos(context, "none", [], []).videos == 0
