"""What a local run lets out of this machine, or onto its disks: nothing but its tables."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from fer_batch.bundle import ModelBundle
from fer_batch.resources import STORE_BYTES, shared_memory_bytes
from fer_batch.scratch import SHARED_MEMORY, overflow_folder
from tests.clips import Clips
from tests.conftest import ROOT
from tests.faults.watch import shared_files

pytestmark = pytest.mark.ray

ALONE = 'mount --bind "$0" /mnt && mount -t tmpfs tmpfs /dev/shm && TMPDIR=/mnt/tmp exec "$@"'
"""In namespaces of its own: no network, empty shared memory, the test's folder at /mnt with an empty one for temporary
files in it. /tmp itself stays, as the project may lie there."""


@pytest.fixture(scope="module")
def watched(clips: Clips, tiny: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen of a run: in namespaces of its own where that is allowed."""
    work = tmp_path_factory.mktemp("watched")
    (work / "in").mkdir()
    for name in ("two_faces", "crowd", "overwritten"):
        shutil.copy(getattr(clips, name).path, work / "in")
    shutil.copy(clips.not_videos["text"], work / "in")
    shutil.copytree(tiny.path, work / "model")
    for name in ("home", "tmp"):
        (work / name).mkdir()
    apart: list[str | Path] = ["unshare", "--net", "--mount", "sh", "-c", ALONE]
    is_alone = subprocess.run([*apart, work, "true"], capture_output=True, check=False).returncode == 0
    base = Path("/mnt") if is_alone else work
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "tests.faults.watch",
        *(base / name for name in ("in", "out", "model", "seen.json")),
    ]
    done = subprocess.run(
        [*apart, work, *command] if is_alone else command,
        cwd=ROOT, env={**os.environ, "HOME": str(base / "home")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {**json.loads((work / "seen.json").read_text()), "work": work, "said": done.stdout + done.stderr}


def test_the_run_was_seen_at_work(watched: dict[str, Any]) -> None:
    assert watched["faces"] > 100
    assert watched["looks"] > 3
    assert watched["sockets"]


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def test_nothing_listens_or_connects_beyond_loopback(watched: dict[str, Any]) -> None:
    listening = {here for status, here, _ in watched["sockets"] if status == psutil.CONN_LISTEN}
    assert listening
    assert all(map(is_loopback, listening)), listening
    others = {there for _, _, there in watched["sockets"] if there}
    assert others
    assert all(map(is_loopback, others)), others


def test_nothing_seeks_a_way_out(watched: dict[str, Any]) -> None:
    if not watched["alone"]:
        pytest.skip("may not make a network namespace (unshare --net)")
    assert watched["counted"] >= 1  # that one would be seen
    assert watched["ways_out"] == 0


def test_use_is_not_reported(watched: dict[str, Any]) -> None:
    assert watched["reports_use"] is False


def test_temporary_folders_are_private_and_gone_at_the_end(watched: dict[str, Any]) -> None:
    assert len(watched["modes"]) == 1 + SHARED_MEMORY.is_dir()
    assert set(watched["modes"].values()) == {"0o700"}
    assert not set(watched["modes"]) & set(watched["left"])
    if watched["alone"]:  # else others' files are there too
        assert watched["left"] == []
    # settings that Keras and, where it is installed, matplotlib write down when they are imported
    at_home = [file.relative_to(watched["work"] / "home") for file in (watched["work"] / "home").rglob("*")]
    assert {file.parts[0] for file in at_home} <= {".cache", ".config", ".keras"}


def test_no_picture_is_left(watched: dict[str, Any]) -> None:
    out = watched["work"] / "out"
    assert sorted(item.name for item in out.iterdir()) == ["faces", "frames", "report", "run.json", "run.log",
                                                          "videos.parquet"]  # fmt: skip
    assert all(file.suffix in (".parquet", ".json", ".log") for file in out.rglob("*") if file.is_file())
    assert watched["files"] == []  # memory that processes share lies on no disk
    log = (out / "run.log").read_text()
    assert "text.mp4" in log
    assert max(map(len, log.splitlines())) < 1000
    assert not any(word in log for word in ("array(", "\\x", "base64", "dtype="))
    assert watched["said"] == ""


@pytest.mark.usefixtures("ray_session")
def test_a_full_object_store_goes_on_in_memory_not_on_a_disk() -> None:
    import numpy as np
    import ray

    free = shared_memory_bytes()
    if free is None or free < 2 * STORE_BYTES:
        pytest.skip(f"needs {2 * STORE_BYTES / 1e6:.0f} MB of shared memory")
    held = [ray.put(np.full(20_000_000, number, np.uint8)) for number in range(STORE_BYTES // 20_000_000 + 3)]
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    assert not [file for process in processes for file in shared_files(process)]
    maps = "".join(Path(f"/proc/{process.pid}/maps").read_text() for process in processes if process.name() == "raylet")
    assert f"{SHARED_MEMORY}/fer-" in maps  # it was full
    assert all(int(ray.get(one)[-1]) == number for number, one in enumerate(held))


def test_what_overflows_lies_in_memory_or_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with overflow_folder() as folder:
        assert folder is None or folder.parent.stat().st_mode & 0o777 == 0o700
    assert folder is None or not folder.parent.exists()
    monkeypatch.setattr("fer_batch.scratch.SHARED_MEMORY", tmp_path / "absent")
    with overflow_folder() as folder:
        assert folder is None  # as on macOS
