"""Storage that fails: torn and deleted files are found and done again, a full or read-only disk harms nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import fer_batch
from fer_batch import RefusedError, Resources, Run, StoppedError
from fer_batch.bundle import ModelBundle
from fer_batch.mend import DAMAGED
from fer_batch.object_path import AnyPath, as_path
from fer_batch.plan import Unit
from fer_batch.progress import Progress
from fer_batch.schema import VIDEOS
from jobs.cli import app
from tests.clips import Clips
from tests.faults.inline import Inline, Scores, on
from tests.jobs.filled import PURPOSE

NAMES = ("one_face", "two_faces", "no_face", "coming_and_going")


def brightness(crops: np.ndarray) -> np.ndarray:
    """Scores that depend on the crop alone."""
    parts = crops.reshape(len(crops), -1)[:, : 7 * 300].reshape(len(crops), 7, 300).mean(axis=2) + 1.0
    return np.asarray(parts / parts.sum(axis=1, keepdims=True), np.float32)


@pytest.fixture
def workers() -> Generator[Inline, None, None]:
    """Runs happen in this process, each video in a unit of its own and the longest in several."""
    inline = Inline(Scores(brightness))
    with on(inline) as patch:
        patch.setattr("fer_batch.plan.MAX_UNIT_VIDEOS", 1)
        patch.setattr("fer_batch.unit_size.MIN_UNIT_COST_S", 0.12)
        patch.setattr("fer_batch.unit_size.UNIT_COST_S", 0.12)
        patch.setattr(os, "fsync", lambda _descriptor: None)  # a busy disk takes a second each time
        yield inline


def looked_at(workers: Inline) -> set[str]:
    """The videos that the last run decoded."""
    tasks = [task for task in workers.tried if isinstance(task, Unit)]
    return {segment.video.path.name for task in tasks for segment in task.segments}


@pytest.fixture(scope="session")
def recordings(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for name in NAMES:
        shutil.copy(getattr(clips, name).path, folder)
    return folder


Go = Callable[..., Run]


@pytest.fixture
def go(workers: Inline, recordings: Path, tiny: ModelBundle, tmp_path: Path) -> Go:
    def run(out: AnyPath = tmp_path / "out", inputs: Path = recordings, **options: Any) -> Run:
        workers.tried.clear()
        return fer_batch.run(inputs, str(out), model=tiny.path, resources=Resources(cpus=1), **options)

    return run


def tables(run: Run) -> list[pa.Table]:
    """All that a run found out, without what time and place add to it."""
    ledger = run.videos().drop_columns(["wall_s", "part"])
    return [ledger, run.faces(), run.frames()]


def assert_as_before(run: Run, expected: list[pa.Table]) -> None:
    for found, wanted in zip(tables(run), expected, strict=True):
        assert found.equals(wanted)
    for folder in (run.faces_dir, run.frames_dir):  # as people read them, without the ledger
        rows = pq.read_table(folder)
        assert len(rows) == sum(len(pq.read_table(file)) for file in folder.iterdir())
    assert sorted(file.name for file in run.faces_dir.iterdir()) == sorted(
        file.name for file in run.frames_dir.iterdir()
    )
    assert not run.work_dir.exists()
    assert run.info["state"] == "complete"


def part_of(run: Run, name: str) -> str:
    (part,) = run.videos().filter(pc.match_substring(pc.field("path"), name))["part"].to_pylist()
    return str(part)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def test_a_long_video_takes_several_units(go: Go, workers: Inline) -> None:
    go()
    assert sum(isinstance(task, Unit) for task in workers.tried) > len(NAMES)


@pytest.mark.parametrize("table", ["faces", "frames"])
@pytest.mark.parametrize("harm", [Path.unlink, cut, lambda file: file.write_bytes(b"")])
def test_a_part_that_is_gone_or_torn_is_done_again(
    go: Go, workers: Inline, table: str, harm: Callable[[Path], None]
) -> None:
    run = go()
    expected = tables(run)
    harm(run.path / table / part_of(run, "two_faces"))
    with pytest.raises(RefusedError, match=rf"{table}/part-\w+\.parquet is (missing|damaged).*the same command again"):
        run.faces() if table == "faces" else run.frames()
    assert_as_before(go(), expected)
    assert looked_at(workers) == {"two_faces.mp4"}  # and nothing else
    assert any(f"{table}/part-" in said for said in run.info["mended"])
    assert "the videos in it are done again" in (run.path / "run.log").read_text()
    go()
    assert looked_at(workers) == set()
    assert run.info["mended"] == []


def test_what_was_mended_is_said(go: Go, recordings: Path, tiny: ModelBundle) -> None:
    run = go()
    part = part_of(run, "two_faces")
    cut(run.faces_dir / part)
    command = ["run", recordings, "--out", run.path, "--model", tiny.path, "--cpus", "1", "--report", "none"]
    done = CliRunner().invoke(app, list(map(str, command)))
    assert done.exit_code == 0, done.output
    assert f"mended: faces/{part} is damaged: the videos in it are done again" in done.output


def test_a_part_with_fewer_rows_than_it_should_is_kept_aside_and_done_again(go: Go, workers: Inline) -> None:
    run = go()
    expected = tables(run)
    file = run.faces_dir / part_of(run, "two_faces")
    pq.write_table(pq.read_table(file).slice(0, 3), file)
    assert_as_before(go(), expected)
    assert looked_at(workers) == {"two_faces.mp4"}
    assert len(pq.read_table(run.path / DAMAGED / "faces" / file.name)) == 3


def flip(file: Path) -> None:
    """Turn over a bit in the data of the largest column."""
    group = pq.read_metadata(file).row_group(0)
    column = max((group.column(i) for i in range(group.num_columns)), key=lambda each: int(each.total_compressed_size))
    content = bytearray(file.read_bytes())
    content[(column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size - 2] ^= 8
    file.write_bytes(content)


@pytest.mark.parametrize("table", ["faces", "frames"])
def test_a_flipped_bit_is_not_read_as_another_number_and_done_again(go: Go, workers: Inline, table: str) -> None:
    run = go()
    expected = tables(run)
    file = run.path / table / part_of(run, "two_faces")
    flip(file)
    with pytest.raises(RefusedError, match=rf"{file} is damaged.*CRC.*run the same command again .*with --verify"):
        run.faces() if table == "faces" else run.frames()
    assert_as_before(go(), expected)
    assert looked_at(workers) == {"two_faces.mp4"}
    assert run.info["mended"] == [f"{table}/{file.name} is damaged: the videos in it are done again"]


def test_many_parts_are_read_through_where_that_is_asked_for(
    go: Go, workers: Inline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_batch.mend.READ_FILES", 3)
    run = go()
    expected = tables(run)
    flip(run.faces_dir / part_of(run, "two_faces"))
    cut(run.frames_dir / part_of(run, "one_face"))  # that is seen in any case
    go()
    assert looked_at(workers) == {"one_face.mp4"}
    assert_as_before(go(verify=True), expected)
    assert looked_at(workers) == {"two_faces.mp4"}


def test_a_damaged_object_of_a_store_is_done_again_where_that_is_asked_for(go: Go, workers: Inline) -> None:
    out = as_path("memory://damaged/out")
    run = go(out=out)
    expected = tables(run)
    file = run.faces_dir / part_of(run, "two_faces")
    content = file.read_bytes()
    file.write_bytes(content[:-100] + bytes(100))
    go(out=out)
    assert looked_at(workers) == set()  # a store gives what it was given: not looked at, unless it is gone
    again = go(out=out, verify=True)
    assert looked_at(workers) == {"two_faces.mp4"}
    assert [found.equals(wanted) for found, wanted in zip(tables(again), expected, strict=True)] == [True] * 3
    (run.frames_dir / file.name).unlink()
    assert [found.equals(wanted) for found, wanted in zip(tables(go(out=out)), expected, strict=True)] == [True] * 3
    assert looked_at(workers) == {"two_faces.mp4"}


def test_a_lost_part_of_a_video_that_is_no_longer_there_is_told_in_the_ledger(
    go: Go, recordings: Path, tmp_path: Path, workers: Inline
) -> None:
    run = go()
    before = run.videos()
    (run.faces_dir / part_of(run, "two_faces")).unlink()
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    shutil.copy(recordings / "no_face.mp4", elsewhere / "new.mp4")
    go(inputs=elsewhere)
    rows = {Path(row["path"]).name: row for row in run.videos().to_pylist()}
    assert (rows["two_faces.mp4"]["status"], rows["two_faces.mp4"]["error_code"]) == ("failed", "lost")
    assert "run the same command again" in rows["two_faces.mp4"]["error"]
    assert len(rows) == len(NAMES) + 1
    assert run.info["counts"]["failed"] == 1
    run.faces(), run.frames()  # readers do not stumble over what is gone
    go()  # where the file is there again it is done, without being asked to
    assert looked_at(workers) == {"two_faces.mp4"}
    kept = run.videos().filter(pc.invert(pc.match_substring(pc.field("path"), "new.mp4")))
    assert kept.drop_columns("wall_s").equals(before.drop_columns("wall_s"))


@pytest.mark.parametrize("harm", [Path.unlink, cut])
def test_a_ledger_that_is_gone_or_torn_is_made_anew(go: Go, workers: Inline, harm: Callable[[Path], None]) -> None:
    run = go()
    expected, run_id = tables(run), run.id
    parts = sorted(file.name for file in run.faces_dir.iterdir())
    harm(run.ledger)
    if run.ledger.exists():
        with pytest.raises(RefusedError, match=r"videos\.parquet is damaged"):
            run.videos()
    assert_as_before(go(), expected)
    assert looked_at(workers) == {f"{name}.mp4" for name in NAMES}
    assert run.id == run_id
    # what only the ledger could tell apart from leftovers is kept: its videos may be out of reach by now
    assert sorted(file.name for file in (run.path / DAMAGED / "faces").iterdir()) == parts


@pytest.mark.parametrize("harm", [Path.unlink, cut, lambda file: file.write_text("[]")])
def test_a_run_json_that_is_gone_or_torn_is_made_anew(go: Go, workers: Inline, harm: Callable[[Path], None]) -> None:
    run = go(purpose=PURPOSE)
    expected, info = tables(run), run.info
    harm(run.run_json)
    if run.run_json.exists():
        with pytest.raises(RefusedError, match=r"run\.json is damaged.*run the same command again"):
            _ = Run(run.path).info
    with pytest.raises(RefusedError, match=r"sampling\.fps: 2 there, 5 asked"):  # its settings are not forgotten
        go(config=fer_batch.RunConfig(sampling=fer_batch.Sampling(fps=Fraction(5))))
    assert_as_before(go(), expected)
    assert looked_at(workers) == set()
    same = ("id", "created", "config", "purpose", "counts")
    assert {name: run.info[name] for name in same} == {name: info[name] for name in same}


def test_tables_that_nothing_tells_about_are_refused(go: Go) -> None:
    run = go()
    for file in (run.ledger, *run.faces_dir.iterdir(), *run.frames_dir.iterdir()):
        pq.write_table(pq.read_table(file).replace_schema_metadata({}), file)
    before = tables(run)
    cut(run.run_json)
    with pytest.raises(RefusedError, match=r"run\.json is damaged or missing, and no table tells.*restore it"):
        go()
    run.run_json.write_text("{}")
    for found, wanted in zip(tables(run), before, strict=True):
        assert found.equals(wanted)


def interrupted(go: Go, wanted: Path) -> None:
    """Run until some files are there."""

    def stop(progress: Progress) -> None:
        if any(wanted.parent.glob(wanted.name)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(on_progress=stop)


@pytest.mark.parametrize(
    ("kind", "harm"),
    [
        ("ledger", cut), ("ledger", flip), ("frames of a segment", cut), ("frames of a segment", flip),
        ("faces of a segment", cut), ("draft", cut),
    ],
)  # fmt: skip
def test_what_was_torn_while_a_run_was_interrupted_is_done_again(
    go: Go, workers: Inline, kind: str, harm: Callable[[Path], None], tmp_path: Path
) -> None:
    expected = tables(go(out=tmp_path / "whole"))
    out = tmp_path / "out"
    interrupted(go, out / "work" / "ledger" / "*.parquet" if kind == "ledger" else out / "work" / "units" / "*")
    run = Run(out)
    if kind == "ledger":
        harm(run.ledger_part_files()[-1])
    elif kind == "draft":
        (run.faces_dir / ".part-x.parquet.1.tmp").write_bytes(b"half")
    else:
        files = run.units_dir.glob(f"*/*.{kind.split(maxsplit=1)[0]}.parquet")
        harm(max(files, key=lambda file: file.stat().st_size))
    assert_as_before(go(), expected)
    assert bool(run.info["mended"]) == (kind != "draft")
    assert not list(out.rglob(".*.tmp"))


# A disk that is full, or may not be written


def test_no_write_that_fails_harms_what_is_committed(go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full from the nth write on, for each n, and then there is room again."""
    expected = tables(go(out=tmp_path / "whole"))
    out = tmp_path / "out"
    room, stopped = 0, []

    def fsync(descriptor: int) -> None:
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    for allowed in (0, 2, 4, 6, 10, 14, 20, 30, 1000):  # the first start begins anew, the others go on
        room = allowed
        try:
            run = go(out=out)
        except StoppedError as error:
            stopped.append(str(error))
            assert not list(out.rglob("*.tmp"))
            if (out / "run.json").exists():
                check_consistent(Run(out))
    assert len(stopped) > 3
    assert all("No space left on device" in said for said in stopped)
    assert_as_before(run, expected)


def check_consistent(run: Run) -> None:
    """Whatever the ledger speaks of is there."""
    faces, frames = run.faces(), run.frames()
    for row in run.videos().to_pylist():
        if row["part"] is not None:
            assert len(faces.filter(pc.field("video_id") == row["video_id"])) == row["n_faces"]
            assert len(frames.filter(pc.field("video_id") == row["video_id"])) == row["n_sampled"]


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Path, None, None]:
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "fer-batch-test", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"may not mount a disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_fills_up_stops_the_run_and_it_goes_on_when_there_is_room(
    go: Go, tmp_path: Path, disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = tables(go(out=tmp_path / "whole"))
    ballast = disk / "ballast"

    def fill(room: int) -> None:
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        with ballast.open("ab") as file:
            file.write(b"x" * max(0, free - room))

    for room in (0, 20_000, 50_000, 100_000):
        fill(room)
        with pytest.raises(StoppedError, match=r"No space left on device.*|cannot make the folder.*No space"):
            go(out=disk / "out")
        ballast.unlink()
        if (disk / "out" / "run.json").exists():
            check_consistent(Run(disk / "out"))
    assert_as_before(go(out=disk / "out"), expected)
    assert "Logging error" not in capfd.readouterr().err


def test_an_output_folder_that_may_not_be_written(go: Go, disk: Path, workers: Inline) -> None:
    run = go(out=disk / "out")
    expected = tables(run)

    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)

    remount("ro")
    with pytest.raises(StoppedError, match=r"cannot .*out.*Read-only file system.*choose another --out"):
        go(out=disk / "out")
    with pytest.raises(StoppedError, match=r"cannot make the folder .*new.*Read-only file system"):
        go(out=disk / "new")
    remount("rw")
    assert_as_before(go(out=disk / "out"), expected)
    assert looked_at(workers) == set()


def test_the_command_ends_with_1_and_says_why(disk: Path, recordings: Path, tiny: ModelBundle) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    command: list[str | Path] = [Path(sys.executable).with_name("fer-batch"), "run", recordings, "--out", disk / "out"]
    done = subprocess.run([*command, "--model", tiny.path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("fer-batch: stopped: cannot make the folder")
    assert "Traceback" not in done.stderr


def test_no_room_for_temporary_files_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fer_batch.scratch import scratch_folder

    def full(*_args: object, **_options: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(StoppedError, match=r"temporary folder.*No space left.*TMPDIR"), scratch_folder():
        pass


# Two drivers


def test_a_second_driver_is_refused_by_the_name_of_the_first(go: Go) -> None:
    said: list[str] = []

    def second(progress: Progress) -> None:
        if progress.n_units == 1 and not said:
            with pytest.raises(RefusedError) as caught:
                go()
            said.append(str(caught.value))

    run = go(on_progress=second)
    assert said
    assert f"process {os.getpid()} on {os.uname().nodename}" in said[0]
    assert run.info["state"] == "complete"


def test_a_driver_whose_place_was_taken_while_it_slept_stops(go: Go, tmp_path: Path) -> None:
    from fer_batch.lease import Lease

    lease = tmp_path / "out" / "work" / "lease.json"

    def sleep(progress: Progress) -> None:
        if progress.n_units == 1:
            content = json.loads(lease.read_text())
            lease.write_text(json.dumps({**content, "host": "elsewhere", "pid": 7, "token": "another"}))

    with pytest.raises(StoppedError, match=r"process 7 on elsewhere"):
        go(on_progress=sleep)
    assert json.loads(lease.read_text())["host"] == "elsewhere"  # the other's lease is left alone
    past = time.time() - 100
    os.utime(lease, (past, past))
    with Lease(lease):  # and taken over when the other is silent
        pass


# The ledger, however long


def rows_of(n: int, first: int) -> list[dict[str, Any]]:
    return [
        {
            "video_id": f"v{i}", "path": f"/videos/{(i * 7919) % 997:04d}/å {i}.mp4", "status": "ok",
            "n_sampled": i, "n_faces": first, "part": f"part-{i % 50}.parquet",
        }
        for i in range(first, first + n)
    ]  # fmt: skip


@pytest.mark.parametrize("piece_rows", [100, 300, 1_000_000])
def test_a_ledger_joined_in_pieces_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_rows: int
) -> None:
    from fer_batch import ledger
    from fer_batch.commit import commit_rows, create_folders

    monkeypatch.setattr(ledger, "PIECE_ROWS", piece_rows)
    monkeypatch.setattr(ledger, "SAMPLED", 10)
    create_folders(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    run = Run(tmp_path)
    for round_ in range(2):  # joined, and joined again with more, some of it for the same files
        for first in range(round_ * 700, round_ * 700 + 900, 90):
            commit_rows(tmp_path, "unit", rows_of(90, first), {})
        expected = run.videos()
        ledger.join(run, {"model_sha256": "x"})
        assert run.ledger_part_files() == []
        assert run.videos().equals(expected)
        assert pq.read_table(run.ledger).select(VIDEOS.names).cast(VIDEOS).equals(expected)  # sorted as it lies there
        assert expected["path"].to_pylist() == sorted(expected["path"].to_pylist())
        assert pa.concat_tables(ledger.pieces(run, ["path"]))["path"].equals(expected["path"])
        assert pq.read_schema(run.ledger).metadata[b"model_sha256"] == b"x"
        assert sorted(item.name for item in run.work_dir.iterdir()) == ["ledger", "units"]
    assert len(expected) == 1600


def test_a_join_that_is_cut_off_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fer_batch import ledger
    from fer_batch.commit import commit_rows, create_folders

    create_folders(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    run = Run(tmp_path)
    commit_rows(tmp_path, "unit", rows_of(10, 0), {})
    ledger.join(run, {})
    commit_rows(tmp_path, "unit", rows_of(10, 5), {})
    expected = run.videos()

    def cut_off(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    for where in ("replace", "unlink"):
        monkeypatch.setattr(*((os, "replace", cut_off) if where == "replace" else (Path, "unlink", cut_off)))
        with pytest.raises(KeyboardInterrupt):
            ledger.join(run, {})
        monkeypatch.undo()
        assert run.videos().equals(expected)
    ledger.join(run, {})
    assert run.videos().equals(expected)
