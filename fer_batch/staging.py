"""How videos on an object store are read: from a copy on this machine's disk where there is room, else part by part.

A video is read about three times: for the times of its packets, for its first picture, and to be decoded. A copy
fetches it once, in few large requests; `docs/storage.md` has what was measured. Copies have no name: the operating
system frees them with the process that made them, however that ends.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, Final, cast

from fer_batch.object_path import AT_ONCE, AnyPath, ObjectPath
from fer_batch.object_reader import ObjectReader
from fer_batch.object_system import ObjectStatus
from fer_batch.watchdog import beat

log = logging.getLogger("fer_batch")

DEFAULT_BYTES: Final = 20_000_000_000
"""How much of a machine's disk all copies together take at most, if nothing else is asked for; never more than half of
what is free there."""

PIECE_BYTES: Final = 8 << 20
"""What one request fetches of a video that is copied."""

PIECES_AT_ONCE: Final = 4
"""Such requests that are on their way at a time."""

RANGE_BYTES: Final = 4 << 20
"""What one request fetches of a video that is not."""


@dataclass
class _Held:
    """What this process knows of a video: its status when it was last asked for, and its copy, if there is one."""

    status: ObjectStatus
    copy: IO[bytes] | None = None


class _Copies:
    """This process' copies, the one used last at the end."""

    def __init__(self) -> None:
        self.allowed: tuple[int | None, int] | None = None
        self.budget = 0
        self.held: OrderedDict[str, _Held] = OrderedDict()

    def used(self) -> int:
        return sum(held.status.st_size for held in list(self.held.values()) if held.copy is not None)


def share_of_disk(asked: int | None, workers: int) -> int:
    """How many bytes of copies each of a machine's workers may hold.

    Args:
        asked: for all of them; None for :data:`DEFAULT_BYTES`, or half of what is free if that is less.
        workers: on this machine.
    """
    if asked is None:
        asked = min(DEFAULT_BYTES, shutil.disk_usage(tempfile.gettempdir()).free // 2)
    return asked // max(1, workers)


_copies = _Copies()


def allow_copies(asked: int | None, workers: int) -> None:
    """Say how large the copies of this process may be together; arguments as of :func:`share_of_disk`."""
    if _copies.allowed != (asked, workers):  # what is free is looked at once: copies make it less
        _copies.allowed, _copies.budget = (asked, workers), share_of_disk(asked, workers)


def object_status(path: ObjectPath) -> ObjectStatus:
    """Ask the store for a video's status; a copy of what it held before is dropped."""
    status = path.stat()
    held = _copies.held.get(path.url)
    if held is None or held.status != status:
        _copies.held[path.url] = _Held(status)
    _copies.held.move_to_end(path.url)
    while len(_copies.held) > 1000:
        _copies.held.popitem(last=False)
    return status


def forget_copy(path: AnyPath) -> None:
    """Drop the copy of a video that is done with, if there is one."""
    if isinstance(path, ObjectPath):
        _copies.held.pop(path.url, None)


@contextmanager
def reading(path: AnyPath) -> Iterator[BinaryIO]:
    """Open a video's file for reading; each opening has its own position."""
    with open_object(path) if isinstance(path, ObjectPath) else open(path, "rb") as file:
        yield file


def open_object(path: ObjectPath) -> BinaryIO:
    """A video on a store as a file: its copy, which is made if there is room, or what fetches each part as it is read.

    Raises:
        OSError: it cannot be read.
    """
    held = _copies.held.get(path.url)
    if held is None:
        object_status(path)
        held = _copies.held[path.url]
    if held.copy is None:
        held.copy = _copied(path, held.status.st_size)
    if held.copy is not None:
        return cast(BinaryIO, _View(path, held.status.st_size, held.copy))
    return io.BufferedReader(cast(io.RawIOBase, path.open(block_bytes=RANGE_BYTES, size=held.status.st_size)))


def read_blocks(path: AnyPath, starts: Sequence[int], length: int, size: int) -> list[bytes]:
    """Some blocks of a video's file of `size` bytes; the last may be shorter."""
    if isinstance(path, ObjectPath) and _no_copy(path):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda start: path.read_range(start, min(size, start + length)), starts))
    with reading(path) as file:
        return [file.read(length) for start in starts if file.seek(start) == start]


def _no_copy(path: ObjectPath) -> bool:
    held = _copies.held.get(path.url)
    return held is None or held.copy is None


def _copied(path: ObjectPath, size: int) -> IO[bytes] | None:
    """A copy of a video; None if there is no room for it."""
    if _copies.allowed is None:
        allow_copies(None, 1)
    if size > _copies.budget:
        return None
    for held in list(_copies.held.values()):
        if _copies.used() + size <= _copies.budget:
            break
        held.copy = None  # what reads it still has it; then it is gone
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open as long as it is kept
    try:
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(copy.fileno(), 0, size)
        _fetch(path, size, copy.fileno())
    except OSError as error:
        copy.close()
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        log.debug("no room in %s to copy %s: it is read part by part", tempfile.gettempdir(), path)
        return None
    return copy


def _fetch(path: ObjectPath, size: int, target: int) -> None:
    def fetch(start: int) -> None:
        os.pwrite(target, path.read_range(start, min(size, start + PIECE_BYTES)), start)
        beat()

    with ThreadPoolExecutor(PIECES_AT_ONCE) as pool:
        for _ in pool.map(fetch, range(0, size, PIECE_BYTES)):
            pass


class _View(ObjectReader):
    """A copy as a file with a position of its own."""

    def __init__(self, path: ObjectPath, size: int, copy: IO[bytes]) -> None:
        super().__init__(path.name, size, PIECE_BYTES, path.read_range)
        self._copy = copy

    def readinto(self, buffer: Any) -> int:
        found = os.pread(self._copy.fileno(), len(buffer), self._position)
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)
