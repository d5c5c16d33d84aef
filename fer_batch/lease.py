"""One driver at a time on a run's folder: a small file that says who, renewed while the driver lives."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType

from fer_batch.errors import RefusedError, StoppedError

RENEW_S = 10.0
"""How often a driver renews its lease."""

EXPIRE_S = 60.0
"""A lease that was not renewed for this long is taken over."""


class Lease:
    """A context manager that holds the lease.

    Raises:
        RefusedError: on entering, another driver that lives holds it.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self.token = f"{socket.gethostname()}:{os.getpid()}:{time.time_ns()}"

    def __enter__(self) -> Lease:
        while not self._create():
            holder = self._read()
            if holder is None:
                continue  # gone in the meantime
            if self._is_alive(holder):
                raise RefusedError(
                    f"another fer-batch works on {self.file.parent.parent}: process {holder['pid']} on "
                    f"{holder['host']}. Wait for it, stop it, or choose another --out"
                )
            aside = self.file.with_name(f"{self.file.name}.{os.getpid()}.expired")
            try:
                os.rename(self.file, aside)  # of several drivers that want to take over, one succeeds
                os.unlink(aside)
            except FileNotFoundError:
                continue
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        holder = self._read()
        if holder is not None and holder["token"] == self.token:
            self.file.unlink(missing_ok=True)

    def holder(self) -> str | None:
        """Who holds it, in words; None if nobody who lives does."""
        found = self._read()
        return f"process {found['pid']} on {found['host']}" if found and self._is_alive(found) else None

    def _create(self) -> bool:
        content = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_started": process_start(os.getpid()),
            "token": self.token,
        }
        draft = self.file.with_name(f"{self.file.name}.{os.getpid()}.tmp")
        try:
            draft.write_text(json.dumps(content))
            os.link(draft, self.file)  # fails if the lease exists, and never shows half a file
        except FileExistsError:
            return False
        except OSError as error:
            raise StoppedError(f"cannot write {self.file}: {error.strerror}; choose another --out") from error
        finally:
            draft.unlink(missing_ok=True)
        return True

    def _read(self) -> dict[str, str] | None:
        try:
            found: dict[str, str] = json.loads(self.file.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            return {"host": "unknown", "pid": "unknown", "process_started": "", "token": ""}
        return found

    def _is_alive(self, holder: dict[str, str]) -> bool:
        if holder["host"] == socket.gethostname():
            started = process_start(int(holder["pid"]))
            return started is not None and started == holder["process_started"]
        try:
            return time.time() - self.file.stat().st_mtime < EXPIRE_S
        except FileNotFoundError:
            return False

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_S):
            try:
                os.utime(self.file)
            except OSError:
                return  # the folder is gone or read-only: the next commit says so


def check_lease(file: Path, token: str) -> None:
    """For a worker, before it commits: does the driver that it works for still hold the lease?

    The workers of a driver that was killed live on for some seconds, while the next driver is at work already.

    Raises:
        StoppedError: another driver has the folder now, or none.
    """
    holder = Lease(file)._read()
    if holder is None or holder["token"] != token:
        raise StoppedError(f"{file.parent.parent} was taken over by another fer-batch, or this one is over")


def process_start(pid: int) -> str | None:
    """When a process of this machine began, None if there is none: a number may be given to another process later."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return None
        try:  # no /proc, as on macOS: whether it lives is all there is to know
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return "unknown"
        return "unknown"
    return None if fields[0] == b"Z" else fields[19].decode()
