"""Which recordings are complete: files that nobody writes to any more."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from fer_batch.object_path import AnyPath, ObjectPath


class Complete:
    """Tells of a file whether it is complete; made anew for each look, it remembers nothing.

    A file is complete when nothing about it, content, size or name, has changed for `settle_s` seconds, and no process
    of this machine that may be looked at has it open for writing. Other machines' writers, on shared storage, show only
    by their changes.

    Args:
        settle_s: seconds.
        clock: the time as file systems tell it.
    """

    def __init__(self, settle_s: float, clock: Callable[[], float] = time.time) -> None:
        self._settle_s, self._clock = settle_s, clock
        self._written: set[tuple[int, int]] | None = None
        self.incomplete = 0

    def __call__(self, path: AnyPath) -> bool:
        """Whether the file at `path` is complete; what is not there is, so that the ledger may tell it."""
        if isinstance(path, ObjectPath):
            return True  # objects appear whole
        try:
            status = os.stat(path)
        except OSError:
            return True
        if self._written is None:
            self._written = set(_open_for_writing())
        changed = max(status.st_ctime, status.st_mtime)
        complete = self._clock() - changed >= self._settle_s and (status.st_dev, status.st_ino) not in self._written
        self.incomplete += not complete
        return complete


def _open_for_writing() -> Iterator[tuple[int, int]]:
    """Device and inode of files open for writing, as far as ``/proc`` tells: on Linux, by this user's processes."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for handle in (process / "fd").iterdir():
                with suppress(OSError, ValueError):
                    flags = next(
                        line for line in (process / "fdinfo" / handle.name).read_text().splitlines() if "flags" in line
                    )
                    if int(flags.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY:
                        status = os.stat(handle)
                        yield status.st_dev, status.st_ino
