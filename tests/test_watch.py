"""Recordings that arrive while the tool watches: complete ones are processed once, others left alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_batch import RefusedError, Run
from fer_batch.bundle import ModelBundle
from jobs.arrivals import Complete
from jobs.cli import app
from tests.clips import Clips

PATIENCE_S = 250
"""Longest wait for something that must happen; nothing here depends on how fast it does."""


def test_a_file_is_complete_once_nothing_about_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(b"x")
    changed = file.stat().st_ctime
    assert not Complete(30, lambda: changed + 29)(file)
    assert Complete(30, lambda: changed + 30)(file)
    os.utime(file, (0, 0))  # as copies that keep the original's time: what counts is when it came
    assert not Complete(30, lambda: changed + 1)(file)
    assert not Complete(0, lambda: changed - 60)(file)  # the file's machine has another clock: wait rather
    assert Complete(30)(tmp_path / "vanished.mp4")  # for the ledger to tell


@pytest.mark.skipif(not Path("/proc/self/fdinfo").is_dir(), reason="needs /proc")
def test_a_file_that_is_open_for_writing_is_not_complete(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(b"x")
    later = file.stat().st_ctime + 60
    with file.open("ab"):
        assert not Complete(30, lambda: later)(file)
    with file.open("rb"):
        assert Complete(30, lambda: later)(file)
    assert Complete(30, lambda: later)(file)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


@contextmanager
def watching(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The installed command, until the end of the block at the latest."""
    program = subprocess.Popen(
        [Path(sys.executable).with_name("fer-batch"), "watch", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield program
    finally:
        if program.poll() is None:
            program.kill()


def ledger(out: Path) -> dict[str, str]:
    """Each file's status, or its error code, in a run that is complete; nothing before."""
    try:
        run = Run(out)
        if run.info["state"] != "complete":
            return {}
    except RefusedError:
        return {}
    return {Path(row["path"]).name: row["error_code"] or row["status"] for row in run.videos().to_pylist()}


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(900)
def test_recordings_are_processed_as_they_arrive_until_it_is_told_to_stop(
    clips: Clips, tiny: ModelBundle, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    shutil.copy(clips.two_faces.path, folder / "first.mp4")
    whole = clips.no_face.path.read_bytes()
    more: list[str | Path] = ["--", "--model", tiny.path, "--cpus", "2"]
    with watching(folder, "--out", out, "--interval", "0.2", "--settle", "1", *more) as program:
        wait_until(lambda: ledger(out) == {"first.mp4": "ok"} or program.poll() is not None, "the first recording")
        faces = Run(out).faces()
        before = {file: file.stat().st_mtime_ns for file in Run(out).faces_dir.iterdir()}
        with (folder / "growing.mp4").open("wb") as growing:  # a recorder that has it open all the time
            growing.write(whole[: len(whole) // 2])
            growing.flush()
            shutil.copy(clips.one_face.path, folder / "second.mp4")
            wait_until(lambda: "second.mp4" in ledger(out) or program.poll() is not None, "the second recording")
            assert ledger(out) == {"first.mp4": "ok", "second.mp4": "ok"}
            growing.write(whole[len(whole) // 2 :])
        wait_until(lambda: "growing.mp4" in ledger(out) or program.poll() is not None, "the one that grew")
        assert program.poll() is None, program.communicate()[0]
        program.send_signal(signal.SIGTERM)
        said, _ = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == 130, said
    assert ledger(out) == {"first.mp4": "ok", "growing.mp4": "ok", "second.mp4": "ok"}
    assert before.items() <= {file: file.stat().st_mtime_ns for file in Run(out).faces_dir.iterdir()}.items()
    assert Run(out).faces(faces["video_id"][0].as_py()).equals(faces)  # done once
    assert "1 in the ledger: 1 ok, 0 partial, 0 failed" in said
    assert (out / "report" / "index.html").exists()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_once_takes_what_is_complete_and_ends(clips: Clips, tiny: ModelBundle, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    arguments = ["watch", str(folder), "--out", str(out), "--once", "--settle", "0", "--", "--model", str(tiny.path)]
    arguments += ["--cpus", "2", "--report", "none"]
    nothing = CliRunner().invoke(app, arguments)
    assert nothing.exit_code == 0
    assert not out.exists()
    shutil.copy(clips.no_face.path, folder / "a.mp4")
    (folder / "b.mp4").write_bytes(clips.one_face.path.read_bytes()[:-3000])  # its index has not been written yet
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 3, done.output
    assert ledger(out) == {"a.mp4": "ok", "b.mp4": "unfinished"}
    shutil.copy(clips.one_face.path, folder / "b.mp4")
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0, again.output
    assert ledger(out) == {"a.mp4": "ok", "b.mp4": "ok"}


def test_what_is_of_one_run_only_does_not_go_with_watching(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["watch", str(tmp_path), "--out", str(tmp_path / "x"), "--", "--redo"])
    assert isinstance(result.exception, RefusedError)
    assert "--redo goes with fer-batch run only" in str(result.exception)
