"""Ray's two agents: after a kill -9 they try for a minute to tell a server that is gone, and hold nothing meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import psutil

_NAMES = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


def kill_agents_alone(processes: Iterable[psutil.Process]) -> bool:
    """Kill what is left of these processes if it is agents alone; tells whether it was, or nothing is left at all."""
    agents = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # gone by now
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if not "".join(process.cmdline()).startswith(_NAMES):
                return False
            agents.append(process)
    for agent in agents:
        with suppress(psutil.NoSuchProcess):
            agent.kill()
    return True
