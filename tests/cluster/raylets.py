"""A cluster of several real raylets on this machine, in a process of its own: no other test sees it.

As a program it keeps the cluster: it reads ``add CPUS``, ``add-on-disk CPUS``, ``kill N`` and ``stop``, a line each,
and answers each with a line. Everything stays on loopback, and who joins needs the token, as where a cluster has Ray's
authentication on.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from fer_batch.scratch import SHARED_MEMORY


class Raylets:
    """The cluster, from outside.

    Attributes:
        address: for ``--address``.
        job_server: address of Ray's job server, where there is one.
        environment: what a process needs to join.
    """

    def __init__(self, program: subprocess.Popen[str], environment: dict[str, str], errors: Path) -> None:
        self._program, self._errors = program, errors
        self.environment = environment
        self.address, _, self.job_server = self._read().partition(" ")

    def add(self, cpus: int, *, on_disk: bool = False) -> None:
        """Add a node; `on_disk`: one whose full object store goes on in a folder on a disk, as Ray does."""
        self._say(f"{'add-on-disk' if on_disk else 'add'} {cpus}")

    def kill(self, number: int) -> None:
        """Kill a node's processes, as when its machine loses power; nodes are counted from 0, in order of coming."""
        self._say(f"kill {number}")

    def _say(self, line: str) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(line + "\n")
        self._program.stdin.flush()
        assert self._read() == "done"

    def _read(self) -> str:
        assert self._program.stdout is not None
        line = self._program.stdout.readline().strip()
        assert line, "the cluster ended: " + self._errors.read_text()[-3000:]
        return line


@contextmanager
def raylets(*cpus: int, job_server: bool = False) -> Iterator[Raylets]:
    """A head node that does no work, and a node for each number of CPUs.

    Args:
        cpus: of each node.
        job_server: start Ray's dashboard, which has the job server.
    """
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="rl-", ignore_cleanup_errors=True) as folder:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_automatic_object_spilling_enabled": "0",
            "RAY_TMPDIR": folder,
        }
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.raylets", str(int(job_server)), *map(str, cpus)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(Path(folder) / "err").open("w"),
            text=True,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
        try:
            yield Raylets(program, environment, Path(folder) / "err")
        finally:
            program.communicate("stop\n", timeout=120)
            for process in psutil.process_iter(["cmdline"]):  # agents of a killed node live on for a minute
                if any(folder in part for part in process.info["cmdline"] or ()):
                    with suppress(psutil.NoSuchProcess):
                        process.kill()


def _keep(job_server: bool, cpus: list[int]) -> None:
    from ray.cluster_utils import Cluster

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer
    on_disk: dict[str, Any] = {
        "object_store_memory": 80 * 1000**2,
        "object_spilling_directory": os.environ["RAY_TMPDIR"],
    }
    small = {**on_disk, "object_spilling_directory": str(SHARED_MEMORY)} if SHARED_MEMORY.is_dir() else on_disk
    head = {"num_cpus": 0, "include_dashboard": job_server, "dashboard_port": 0, **small}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(wait=False, num_cpus=number, **small) for number in cpus]
    cluster.wait_for_nodes(timeout=200)
    print(cluster.address, f"http://{cluster.webui_url}" if job_server else "", file=answers, flush=True)
    for line in sys.stdin:
        command, _, number = line.strip().partition(" ")
        if command == "add":
            nodes.append(cluster.add_node(num_cpus=int(number), **small))
        elif command == "add-on-disk":
            nodes.append(cluster.add_node(num_cpus=int(number), **on_disk))
        elif command == "kill":
            cluster.remove_node(nodes[int(number)], allow_graceful=False)
        else:
            break
        print("done", file=answers, flush=True)
    cluster.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    _keep(sys.argv[1] == "1", [int(number) for number in sys.argv[2:]])
