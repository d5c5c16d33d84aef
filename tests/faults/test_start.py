"""A busy machine on which Ray does not start in time: tried again, then stopped with the reason; nothing stays."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest

from fer_batch import StoppedError
from fer_batch.engine import start

pytestmark = pytest.mark.ray


class SlowRay:
    """Starts a process and fails, so many times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.started: list[subprocess.Popen[bytes]] = []

    def init(self, **_options: Any) -> None:
        self.started.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        if len(self.started) <= self.failures:
            raise Exception("The current node timed out during startup.")  # as Ray itself does


@pytest.mark.parametrize("failures", [0, 2, 3])
def test_ray_that_does_not_start_is_started_again(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowRay(failures)
    monkeypatch.setattr("ray.init", slow.init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    try:
        if failures < start.START_TRIES:
            start.start_embedded()
            last = slow.started.pop()
            assert last.poll() is None
            last.kill()
        else:
            with pytest.raises(StoppedError, match="did not start, 3 times: The current node timed out"):
                start.start_embedded()
        assert [process.wait(timeout=60) for process in slow.started] == [-signal.SIGKILL] * failures
    finally:
        for process in slow.started:
            process.kill()
