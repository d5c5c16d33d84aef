"""One signal stops in order, two at once, and nothing that was started stays behind."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest

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
