"""A run on several real raylets: nodes are lost and come, the driver too, and the tables are one machine's."""

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

import pytest

import fer_batch
from fer_batch import Resources, Run, RunConfig, Sampling
from fer_batch.bundle import ModelBundle
from fer_batch.lease import EXPIRE_S
from tests.clips import Clips
from tests.cluster.raylets import Raylets, raylets
from tests.same import assert_same_tables

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

PATIENCE_S = 400
"""Longest wait for something that must happen; nothing here depends on how fast it does."""

CLIPS = ("one_face", "two_faces", "coming_and_going", "crossing", "lost_second", "ntsc")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def ledger_files(out: Path) -> int:
    return len(list((out / "work" / "ledger").glob("*.parquet")))


def start(cluster: Raylets, folder: Path, out: Path, model: Path, host: str | None = None) -> subprocess.Popen[str]:
    """The installed command, as a driver on the cluster; on a `host` of another name, where one is given."""
    apart = [] if host is None else ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', host]
    arguments = ["run", folder, "--out", out, "--model", model, "--fps", "10", "--report", "none"]
    return subprocess.Popen(
        [*apart, Path(sys.executable).with_name("fer-batch"), *map(str, arguments), "--address", cluster.address],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=cluster.environment,
    )


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("driver_too", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_node_is_lost_and_another_comes_and_the_tables_are_the_same(
    clips: Clips, tiny: ModelBundle, tmp_path: Path, driver_too: bool
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in CLIPS:
        shutil.copy(getattr(clips, name).path, folder)
    config = RunConfig(sampling=Sampling(fps=Fraction(10)))
    alone = fer_batch.run(folder, tmp_path / "alone", config, model=tiny.path, resources=Resources(cpus=2))

    with raylets(1, 1) as cluster:
        first = start(cluster, folder, out, tiny.path)
        wait_until(lambda: ledger_files(out) >= 1 or first.poll() is not None, "a first commit")
        first.send_signal(signal.SIGSTOP)  # so that it is not done before the nodes have changed
        cluster.kill(0)
        cluster.add(1)
        committed = ledger_files(out)
        first.send_signal(signal.SIGCONT)
        if driver_too:
            wait_until(lambda: ledger_files(out) > committed or first.poll() is not None, "a commit on another node")
            first.kill()
        said, _ = first.communicate(timeout=PATIENCE_S)
        assert committed >= 1, said
        log = (out / "run.log").read_text()
        assert "was lost; its tasks are done elsewhere" in log
        assert log.count("2 workers and 2 models on 2 nodes") == 2  # before it, and with the node that came

        if driver_too:
            lease = out / "work" / "lease.json"
            host = "node-b" if subprocess.run(["unshare", "--uts", "true"], check=False).returncode == 0 else None
            if host is not None:  # another node of the cluster, on the same storage
                refused, _ = start(cluster, folder, out, tiny.path, host).communicate(timeout=PATIENCE_S)
                assert "its claim ends within 60 s" in " ".join(refused.split())
                past = time.time() - EXPIRE_S - 1
                os.utime(lease, (past, past))
            last = start(cluster, folder, out, tiny.path, host)
            said, _ = last.communicate(timeout=PATIENCE_S)
            log = (out / "run.log").read_text()
    assert "6 videos: 6 ok" in said, said + log
    assert_same_tables(alone, Run(out))
