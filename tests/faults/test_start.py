"""How Ray starts: with no more than a run needs; on a machine too busy for it again, then stopped with the reason."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from fer_batch import StoppedError
from fer_batch.engine import idle_agent, start
from tests.conftest import ROOT

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


LOOK = """
import json, sys, psutil, ray
from fer_batch.config import Resources
from fer_batch.engine.start import ray_for
from fer_batch.engine.workers import _alone
from fer_batch.resources import place
def modules():
    import pyarrow
    pyarrow.array([1])
    return list(sys.modules)
before = ray._private.services.start_api_server, ray._private.node.Node.start_monitor
with ray_for(None, place(Resources(cpus=2), 2, 0)):
    family = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
    quiet = [process for process in psutil.Process().children(recursive=True) if process.cmdline()[1:2] == ["-PS"]]
    sockets = [str(one) for process in quiet for one in process.net_connections()]
    loaded = ray.get(_alone(modules).remote())
print(json.dumps([family, len(quiet), sockets, loaded,
                  before == (ray._private.services.start_api_server, ray._private.node.Node.start_monitor)]))
"""


@pytest.mark.parametrize("job", [None, {"runtime_env": {"env_vars": {"A": "1"}}}])
def test_ray_starts_with_no_process_that_a_run_does_not_need(job: dict[str, Any] | None) -> None:
    """Nor needs one where Ray would make an environment for tasks: in a submitted job, or under ``uv run``."""
    env = os.environ | ({} if job is None else {"RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(job)})
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    family, quiet, sockets, loaded, is_restored = json.loads(done.stdout)
    assert "pyarrow" in loaded
    assert "pandas" not in loaded
    assert (quiet, sockets) == (2, [])
    kinds = {command.split()[0].rpartition("/")[2] for command in family}
    assert {"gcs_server", "raylet"} <= kinds
    assert not [command for command in family if "Agent" in command.split()[0]]
    assert not [command for command in family if "dashboard.py" in command or "log_monitor" in command]
    assert is_restored  # a program's own Ray, later, is as it would be without us


def test_an_idle_agent_ends_with_its_raylet(tmp_path: Path) -> None:
    """Also when that is killed, and cannot tell it."""
    options = ["--ports=one,two", "--node-id=n", f"--session-dir={tmp_path}", "--other", "--more=x=y"]
    raylet = f"""
import os, subprocess, sys
env = os.environ | {{"RAY_RAYLET_PID": str(os.getpid())}}
print(subprocess.Popen([sys.executable, "-PS", {idle_agent.__file__!r}, *{options!r}], env=env).pid, flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", raylet], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        agent = psutil.Process(int(parent.stdout.readline()))
        while {file.name for file in tmp_path.iterdir()} != {"one_n", "two_n"}:
            time.sleep(0.05)
        assert [(tmp_path / name).read_text() for name in ("one_n", "two_n")] == ["-1", "-1"]
        assert agent.is_running()
        parent.kill()
    with suppress(psutil.NoSuchProcess):
        agent.wait(timeout=60)
    assert not agent.is_running() or agent.status() == psutil.STATUS_ZOMBIE
