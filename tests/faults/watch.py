"""``python -m tests.faults.watch INPUTS OUT MODEL RESULT``: a run that is watched from inside while it goes on.

RESULT is a JSON file: the sockets of all processes, files on a disk that they share memory through, the modes of
temporary folders, and what tried to leave an empty network namespace.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import ray  # noqa: F401 - before fer_batch, as a program may that uses both: too late for what Ray reads then

PLACES = (Path(tempfile.gettempdir()), Path("/dev/shm"))  # noqa: S108 - looked at, not used


def family() -> Iterator[psutil.Process]:
    """This process and all that it started."""
    me = psutil.Process()
    yield me
    yield from me.children(recursive=True)


def shared_files(process: psutil.Process) -> Iterator[str]:
    """Files, other than those in shared memory, that a process maps to write to them."""
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and fields[1].startswith("rw") and fields[1].endswith("s"):
                name = fields[5]
                if name.startswith("/") and not name.startswith(("/dev/", "/memfd:", "/SYSV", "/anon_hugepage")):
                    yield name


def refused_ways_out() -> int:
    """Packets and connections of this network namespace for which there was no route."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip:")]
    four = dict(zip(lines[0], lines[1], strict=True))["OutNoRoutes"]
    six = dict(line.split() for line in Path("/proc/net/snmp6").read_text().splitlines())["Ip6OutNoRoutes"]
    return int(four) + int(six)


def raise_loopback() -> None:
    """A new network namespace has a loopback interface that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP


def knock() -> None:
    """One try to leave, to see that it is counted."""
    with socket.socket() as outward, suppress(OSError):
        outward.connect(("192.0.2.1", 9))


class Watch:
    """Looks at the family again and again, until told to stop."""

    def __init__(self) -> None:
        self.sockets: set[tuple[str, str, str]] = set()
        self.files: set[str] = set()
        self.modes: dict[str, str] = {}
        self.looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.3):
            for process in family():
                with suppress(psutil.Error):
                    for one in process.net_connections("inet"):
                        self.sockets.add((one.status, one.laddr.ip, one.raddr.ip if one.raddr else ""))
                self.files.update(shared_files(process))
            for place in PLACES:
                for folder in place.glob("fer-*"):
                    with suppress(OSError, ValueError):  # it goes, or another's is being made
                        if json.loads((folder / "owner.json").read_text())["pid"] == os.getpid():
                            self.modes[str(folder)] = oct(stat.S_IMODE(folder.stat().st_mode))
            self.looks += 1


def main(inputs: str, out: str, model: str, result: str) -> None:
    """Run and watch."""
    alone = not psutil.net_if_stats().get("lo", psutil.net_if_stats().get("lo0")).isup  # type: ignore[union-attr]
    found: dict[str, Any] = {"alone": alone}
    if alone:
        raise_loopback()
        knock()
        found["counted"] = refused_ways_out()
    import fer_batch

    with Watch() as watch:
        run = fer_batch.run(inputs, out, model=model, resources=fer_batch.Resources(cpus=2))
    from ray._common.usage import usage_lib

    found |= {
        "faces": len(run.faces()),
        "looks": watch.looks,
        "sockets": sorted(watch.sockets),
        "files": sorted(watch.files),
        "modes": watch.modes,
        "left": sorted(str(file) for place in PLACES for file in place.iterdir()),
        "reports_use": usage_lib.usage_stats_enabled(),
    }
    if alone:
        found["ways_out"] = refused_ways_out() - found["counted"]
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
