"""A driver dies with its machine, and the same command on another node goes on: only its lease tells them apart."""

from __future__ import annotations

import os
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

import fer_batch
from fer_batch import RefusedError, Resources, Run
from fer_batch.bundle import ModelBundle
from fer_batch.lease import EXPIRE_S, Lease, read_lease
from fer_batch.score import Scorer
from tests.clips import Clips
from tests.faults.inline import Inline, Killed, Scores, on
from tests.same import assert_same_tables

CLIPS = ("one_face", "two_faces", "coming_and_going")


def test_the_same_command_on_another_host_goes_on_when_the_claim_has_ended(
    clips: Clips, tiny: ModelBundle, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in CLIPS:
        shutil.copy(getattr(clips, name).path, folder)
    scores = Scores(Scorer(tiny, threads=1))

    def go(to: Path) -> Run:
        return fer_batch.run(folder, to, model=tiny.path, resources=Resources(cpus=2))

    with on(Inline(scores)) as patch:
        patch.setattr("fer_batch.unit_size.UNIT_COST_S", 0.01)  # a unit a video
        patch.setattr("fer_batch.unit_size.MIN_UNIT_COST_S", 0.01)
        alone = go(tmp_path / "alone")
        with pytest.MonkeyPatch.context() as there, suppress(Killed):
            there.setattr(socket, "gethostname", lambda: "node-a")
            there.setattr(Lease, "__exit__", _die)
            there.setattr(os, "replace", _replace_and_die)
            go(out)
        lease = out / "work" / "lease.json"
        left = read_lease(lease)
        assert left is not None
        assert left["host"] == "node-a"
        committed = Run(out).videos().num_rows
        assert 1 <= committed < len(CLIPS)

        # This process has the dead one's number: on another host that says nothing.
        with pytest.raises(RefusedError, match=rf"process {os.getpid()} on node-a.*its claim ends within 60 s"):
            go(out)
        assert read_lease(lease) == left
        assert Run(out).videos().num_rows == committed
        past = time.time() - EXPIRE_S - 1
        os.utime(lease, (past, past))
        run = go(out)  # Inline sees to it that nothing committed is done again
    assert_same_tables(alone, run)
    assert not run.work_dir.exists()


REPLACE = os.replace


def _replace_and_die(source: Path, target: Path) -> None:
    """The driver's machine is lost right after a first commit."""
    REPLACE(source, target)
    if Path(target).parent.name == "ledger":
        raise Killed


def _die(lease: Lease, *_: object) -> None:
    """No more signs of life, and nothing tidied up."""
    lease._stop.set()
    lease._thread.join()
