"""One signal stops in order, two at once, and nothing that was started stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs.cli import main

SCRIPT = """
import subprocess, sys, time
from rich.console import Console
from jobs.interrupt import resumable
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
with resumable(Console(stderr=True)):
    try:
        print(child.pid, flush=True)
        time.sleep(300)
    finally:
        print("cleaning", flush=True)
        time.sleep({cleaning})
        child.kill()
        print("clean", flush=True)
"""


@pytest.fixture
def handlers() -> Generator[None, None, None]:
    """What this process does on a signal is afterwards as before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def start(cleaning: float) -> tuple[subprocess.Popen[str], psutil.Process]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(cleaning=cleaning)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, psutil.Process(int(process.stdout.readline()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once(number: signal.Signals) -> None:
    process, _ = start(0)
    process.send_signal(number)
    said, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "cleaning\nclean\n"
    assert "once more stops at once" in message
    assert "the same command goes on" in message


def test_twice() -> None:
    process, child = start(300)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "clean" not in said
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["run", "status"])
def test_every_command_ends_with_130(
    command: str,
    number: signal.Signals,
    handlers: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run also while its pages are built, when all videos are done."""

    class Done:
        path, level = tmp_path, "faces"
        info: dict[str, Any] = {"counts": {}, "mended": []}  # noqa: RUF012

    def interrupted(*_arguments: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr("fer_batch.api.run", lambda **_options: Done())
    monkeypatch.setattr("jobs.pages.build_pages", interrupted)
    monkeypatch.setattr("fer_batch.store.Run", interrupted)
    place = [str(tmp_path), "--out", str(tmp_path / "out")] if command == "run" else [str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["fer-batch", command, *place])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert ("the same command goes on" in capsys.readouterr().err) == (command == "run")


def test_ray_is_ended_whole(handlers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it would end the process with code 1, as Ray's own code does when it is asked a second time."""
    from fer_batch.engine import start

    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell has it ignored

    is_ended = False

    def shutdown() -> None:
        nonlocal is_ended
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)  # for the signal to be heard
        is_ended = True

    monkeypatch.setattr("ray.shutdown", shutdown)
    with pytest.raises(KeyboardInterrupt):
        start.shut_down()
    assert is_ended
