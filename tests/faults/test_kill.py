"""A run that is killed, refused and interrupted ends with the tables of one that was left alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import psutil
import pytest

import fer_batch
from fer_batch import RefusedError, Resources, Run, RunConfig, Sampling
from fer_batch.bundle import ModelBundle
from tests.clips import Clips
from tests.test_engine import assert_same_tables

pytestmark = pytest.mark.ray

PATIENCE_S = 120
"""Longest wait for something that must happen; nothing here depends on how fast it does."""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def ledger_files(out: Path) -> int:
    return len(list((out / "work" / "ledger").glob("*.parquet")))


@pytest.mark.usefixtures("ray_session")
def test_kill_9_then_a_second_driver_then_ctrl_c_then_the_end(clips: Clips, tiny: ModelBundle, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("one_face", "two_faces", "coming_and_going", "crossing", "lost_second", "ntsc", "crowd"):
        shutil.copy(getattr(clips, name).path, folder)
    out = tmp_path / "out"
    config = RunConfig(sampling=Sampling(fps=Fraction(25)))
    undisturbed = fer_batch.run(folder, tmp_path / "whole", config, model=tiny.path, resources=Resources(cpus=2))

    def start() -> subprocess.Popen[str]:
        command = [Path(sys.executable).with_name("fer-batch"), "run", folder, "--out", out, "--model", tiny.path]
        return subprocess.Popen(
            [*map(str, command), "--fps", "25", "--cpus", "2", "--report", "none"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    # kill -9 after the first commit: no process stays, what is committed stays
    first = start()
    wait_until(lambda: ledger_files(out) >= 1 or first.poll() is not None, "a first commit")
    # Ray's two agents notice within a minute that they are alone; they hold nothing
    family = [p for p in psutil.Process(first.pid).children(recursive=True) if "Agent" not in "".join(p.cmdline())]
    assert family
    # a second driver on the same folder, while the first one works
    with pytest.raises(RefusedError, match=f"process {first.pid} on {os.uname().nodename}"):
        fer_batch.run(folder, out, config, model=tiny.path, resources=Resources(cpus=2))
    first.kill()
    first.communicate()
    _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
    assert not alive
    assert Run(out).info["state"] == "running"
    kept = ledger_files(out)
    assert kept >= 1

    # Ctrl-C: stops in order, says how to go on
    third = start()
    wait_until(lambda: ledger_files(out) > kept or third.poll() is not None, "another commit")
    third.send_signal(signal.SIGINT)
    _, message = third.communicate(timeout=PATIENCE_S)
    if third.returncode == 130:
        assert "the same command goes on" in message
        assert Run(out).info["state"] == "interrupted"
    else:
        assert third.returncode == 0

    # and to the end
    last = start()
    said, message = last.communicate(timeout=PATIENCE_S)
    assert last.returncode == 0, message
    assert "7 videos: 7 ok" in said
    assert_same_tables(undisturbed, Run(out))
    assert not (out / "work").exists()
