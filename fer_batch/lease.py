"""One driver at a time on a run's folder: a small file that says who, renewed while the driver lives."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from fer_batch.errors import RefusedError, StoppedError
from fer_batch.object_path import AnyPath

RENEW_S = 10.0
"""How often a driver renews its lease."""

EXPIRE_S = 60.0
"""A lease that was not renewed for this long is taken over."""


class Lease:
    """A context manager that holds the lease. Its folder is made on entering and removed, if empty, at the end.

    Raises:
        RefusedError: on entering, another driver that lives holds it.
        StoppedError: on entering, the folder cannot be written.
    """

    def __init__(self, file: Path) -> None:
        self.file: Any = file
        self._now_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self.token = f"{socket.gethostname()}:{os.getpid()}:{time.time_ns()}"

    def __enter__(self) -> Lease:
        while not self._create():
            holder = read_lease(self.file)
            if holder is None:
                continue  # gone in the meantime
            if holder["token"] == self.token:
                break  # a store's answer to our own claim was lost on the way, and we asked again
            if self._is_alive(holder):
                raise RefusedError(
                    f"another fer-batch works on {self.file.parent.parent}: process {holder['pid']} on "
                    f"{holder['host']}. Wait for it, stop it, or choose another --out; if it died, its claim ends "
                    f"within {EXPIRE_S:.0f} s"
                )
            if self._end_of(holder):
                break
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(OSError):  # a disk that cannot be written: the lease will expire
            holder = read_lease(self.file)
            if holder is not None and holder["token"] == self.token:
                self.file.unlink(missing_ok=True)
                self.file.parent.rmdir()

    def check(self) -> None:
        """See that it is still held: a driver that slept for long, as a laptop does, may have been taken for dead.

        Raises:
            StoppedError: another driver holds it by now.
        """
        check_lease(self.file, self.token)

    def _end_of(self, holder: dict[str, str]) -> bool:
        """Remove the lease of a driver that is dead. Of several that want to take over, one succeeds.

        Returns:
            Whether it is ours already; else it is to be created.
        """
        aside = self.file.with_name(f"{self.file.name}.{os.getpid()}.expired")
        try:
            os.rename(self.file, aside)
            if read_lease(aside) != holder:  # one that was quicker has its own there by now
                os.rename(aside, self.file)
            else:
                os.unlink(aside)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise not_writable(self.file, error) from error
        return False

    def holder(self) -> str | None:
        """Who holds it, in words; None if nobody who lives does."""
        self._now_s = time.time()
        found = read_lease(self.file)
        return f"process {found['pid']} on {found['host']}" if found and self._is_alive(found) else None

    def _content(self) -> dict[str, Any]:
        return {
            "host": socket.gethostname(),
            "processes": _process_space(),
            "pid": os.getpid(),
            "process_started": process_start(os.getpid()),
            "token": self.token,
        }

    def _create(self) -> bool:
        draft = self.file.with_name(f"{self.file.name}.{os.getpid()}.tmp")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("w") as file:
                file.write(json.dumps(self._content()))
                file.flush()
                os.fsync(file.fileno())
            self._now_s = draft.stat().st_mtime  # by the clock that stamps the lease: another host's may differ
            self._publish(draft)
        except FileExistsError:
            return False
        except FileNotFoundError:
            return self._create()  # whoever was here before has just removed the empty folder
        except OSError as error:
            raise not_writable(self.file, error) from error
        finally:
            with suppress(OSError):  # a read-only disk refuses even to remove what is not there
                draft.unlink(missing_ok=True)
        return True

    def _publish(self, draft: Path) -> None:
        try:
            os.link(draft, self.file)  # fails if the lease exists, and never shows half a file
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                raise
            with self.file.open("x") as file:  # no links, as on exFAT: half a file is taken for a living driver's
                file.write(draft.read_text())

    def _is_alive(self, holder: dict[str, str]) -> bool:
        here = (socket.gethostname(), _process_space())
        if (holder["host"], holder["processes"]) == here and str(holder["pid"]).isdecimal():
            started = process_start(int(holder["pid"]))
            return started is not None and started == holder["process_started"]
        return self._is_young()

    def _is_young(self) -> bool:
        try:
            return bool(self._now_s - self.file.stat().st_mtime < EXPIRE_S)
        except FileNotFoundError:
            return False

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_S):
            with suppress(OSError, StoppedError):  # a network disk may be away for a moment; a commit says if for good
                check_lease(self.file, self.token)  # that of another is not renewed
                self._touch()

    def _touch(self) -> None:
        os.utime(self.file)


def read_lease(file: AnyPath) -> dict[str, str] | None:
    """Who holds a lease; None if there is none."""
    unknown = {"host": "unknown", "pid": "unknown", "processes": "", "process_started": "", "token": ""}
    try:
        found = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return unknown  # torn; it expires like another host's
    except OSError as error:
        raise StoppedError(f"cannot read {file}: {error.strerror}") from error
    return {**unknown, **found} if isinstance(found, dict) else unknown


def not_writable(file: AnyPath, error: OSError) -> StoppedError:
    """What to raise where a lease cannot be written."""
    return StoppedError(f"cannot write {file}: {error.strerror}; choose another --out")


def _process_space() -> str:
    """Where process numbers mean the same: this boot of this machine, and the container if any.

    Two containers may share a host's name and know nothing of each other's processes.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def check_lease(file: AnyPath, token: str) -> None:
    """For a worker, before it commits: does the driver that it works for still hold the lease?

    The workers of a driver that was killed live on for some seconds, while the next driver is at work already.

    Raises:
        StoppedError: another driver has the folder now, or none.
    """
    holder = read_lease(file)
    if holder is None:
        raise StoppedError(f"{file} is gone: this run is over, or its folder {file.parent} was removed")
    if holder["token"] != token:
        raise StoppedError(
            f"process {holder['pid']} on {holder['host']} has taken over {file.parent.parent}, as this one gave no "
            f"sign of life for {EXPIRE_S:.0f} s; it goes on from what is committed"
        )


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
