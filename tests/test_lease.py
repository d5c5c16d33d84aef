from __future__ import annotations

import errno
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fer_batch.errors import RefusedError, StoppedError
from fer_batch.lease import EXPIRE_S, Lease, _process_space, process_start


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "work"
    folder.mkdir(parents=True)
    return folder / "lease.json"


def write(file: Path, **changes: object) -> None:
    content = {
        "host": socket.gethostname(),
        "processes": _process_space(),
        "pid": os.getpid(),
        "process_started": "0",
        "token": "x",
    }
    file.write_text(json.dumps(content | changes))


def test_is_there_while_held_and_gone_after(file: Path) -> None:
    with Lease(file):
        assert json.loads(file.read_text())["pid"] == os.getpid()
    assert not file.exists()


def test_a_second_driver_is_told_who_holds_it(file: Path) -> None:
    with (
        Lease(file),
        pytest.raises(RefusedError, match=rf"process {os.getpid()} on {socket.gethostname()}"),
        Lease(file),
    ):
        pass


def test_of_a_process_that_died_it_is_taken_over_at_once(file: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from fer_batch.lease import Lease\n"
        f"Lease(Path({str(file)!r})).__enter__(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert file.exists()
    with Lease(file):
        assert json.loads(file.read_text())["pid"] == os.getpid()


def test_a_number_given_to_another_process_is_no_living_driver(file: Path) -> None:
    write(file, process_started="12345")
    with Lease(file):
        pass


def test_of_another_host_it_holds_until_it_expires(file: Path) -> None:
    write(file, host="elsewhere", pid=1)
    with pytest.raises(RefusedError, match="process 1 on elsewhere"), Lease(file):
        pass
    past = time.time() - EXPIRE_S - 5
    os.utime(file, (past, past))
    with Lease(file):
        pass


def test_is_renewed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_batch.lease.RENEW_S", 0.01)
    with Lease(file):
        os.utime(file, (0, 0))
        deadline = time.monotonic() + 10
        while file.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert file.stat().st_mtime > 0


def _take(file: Path, gate: object, results: object) -> None:
    gate.wait()  # type: ignore[attr-defined]
    try:
        with Lease(file):
            results.put("held")  # type: ignore[attr-defined]
            time.sleep(0.5)
    except RefusedError:
        results.put("refused")  # type: ignore[attr-defined]


def test_of_many_that_come_at_once_one_gets_it(file: Path) -> None:
    write(file, process_started="12345")  # a dead one's lease, so that all of them try to take over
    context = multiprocessing.get_context("fork")
    gate, results = context.Event(), context.Queue()
    drivers = [context.Process(target=_take, args=(file, gate, results)) for _ in range(6)]
    for driver in drivers:
        driver.start()
    gate.set()
    outcomes = sorted(results.get(timeout=30) for _ in drivers)
    for driver in drivers:
        driver.join()
    assert outcomes == ["held"] + ["refused"] * 5


def test_another_hosts_clock_plays_no_role(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, host="elsewhere", pid=1)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)  # this host's is an hour ahead
    with pytest.raises(RefusedError, match="process 1 on elsewhere"), Lease(file):
        pass


def test_two_containers_that_share_a_hosts_name_do_not_know_each_others_processes(file: Path) -> None:
    write(file, processes="another", pid=2**22)
    with pytest.raises(RefusedError, match="if it died, its claim ends within 60 s"), Lease(file):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"pid": "x"}', b"\xff\xfe"])
def test_one_that_is_torn_holds_until_it_expires(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(RefusedError, match="another fer-batch works on"), Lease(file):
        pass
    past = time.time() - EXPIRE_S - 5
    os.utime(file, (past, past))
    with Lease(file):
        pass


def test_a_disk_without_links(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)  # as exFAT does
    with Lease(file):
        assert json.loads(file.read_text())["pid"] == os.getpid()
        with pytest.raises(RefusedError, match=f"process {os.getpid()}"), Lease(file):
            pass
    assert not file.exists()


def test_the_lease_of_one_who_was_quicker_is_not_taken(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, process_started="12345")  # a dead one's
    rename = os.rename

    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "rename", rename)
        write(file, pid=os.getpid(), process_started=process_start(os.getpid()), token="quicker")  # noqa: S106
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(RefusedError, match=f"process {os.getpid()}"), Lease(file):
        pass
    assert json.loads(file.read_text())["token"] == "quicker"  # noqa: S105


def test_a_lease_that_another_holds_is_not_renewed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_batch.lease.RENEW_S", 0.01)
    with Lease(file) as lease:
        lease.check()
        write(file, host="elsewhere", pid=7, token="other")  # noqa: S106
        os.utime(file, (0, 0))
        with pytest.raises(StoppedError, match="process 7 on elsewhere has taken over"):
            lease.check()
        time.sleep(0.1)
        assert file.stat().st_mtime == 0
    assert json.loads(file.read_text())["host"] == "elsewhere"
