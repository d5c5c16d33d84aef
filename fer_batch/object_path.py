"""Paths on object stores: what this project uses of :class:`pathlib.Path`, for any address that fsspec knows.

Code that reads and writes a run takes an :data:`AnyPath` and asks for the same methods of either. What differs is how
a file is replaced (:func:`fer_batch.store.atomic_write`), how videos are read (:mod:`fer_batch.staging`) and how a
lease is held (:mod:`fer_batch.object_lease`).
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias, TypeVar, cast

from fer_batch.errors import RefusedError
from fer_batch.object_errors import at_once, explained, redacted
from fer_batch.object_reader import ObjectReader
from fer_batch.object_system import EXTRAS, ObjectStatus, content_type_option, put_if, status_of, system_at

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

BLOCK_BYTES: Final = 1 << 20
"""What is read at once of an object that is opened, at least."""

FETCH_BYTES: Final = 32 << 20
"""What is read at once of an object that is copied to a file."""

AT_ONCE: Final = 16
"""Requests that are on their way at a time, where there are many small ones."""

UNSAFE: Final = (
    "%s: this store does not refuse to replace an object that is there, so two commands that start at the same moment "
    "could both work on this run; start one at a time"
)

log = logging.getLogger("fer_batch")

_LOCAL: Final = ("file", "local")


@dataclass(frozen=True, order=True, slots=True, repr=False)
class ObjectPath:
    """An object, or what its name begins with, on a store. Folders there are only a way to read names.

    Its methods are those of :class:`pathlib.Path`, with the same errors: what is not there is a
    :class:`FileNotFoundError`, what may not be touched a :class:`PermissionError`.

    Attributes:
        url: with protocol, as ``s3://bucket/name``. It may hold a signature; :func:`str` leaves that out, and nothing
            else of a path is to be shown.
        listed: its status when it was listed; None if it was not.

    Raises:
        StoppedError: from all methods that ask the store: it is out of reach, or the credentials do not hold.
    """

    url: str
    listed: ObjectStatus | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return redacted(self.url)

    __repr__ = __str__

    @property
    def is_signed(self) -> bool:
        """Whether the address lets in whoever has it."""
        return str(self) != self.url

    def __truediv__(self, name: str | os.PathLike[str]) -> ObjectPath:
        return ObjectPath(f"{self.url}/{os.fspath(name)}")

    @property
    def name(self) -> str:
        """The part after the last slash."""
        text = self.url.partition("?")[0] if self.url.startswith("http") else self.url
        return text.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The name's ending, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> ObjectPath:
        """All before the last slash."""
        return ObjectPath(self.url.rpartition("/")[0])

    def with_name(self, name: str) -> ObjectPath:
        """The same with another name."""
        return self.parent / name

    def relative_to(self, other: ObjectPath) -> PurePosixPath:
        """Its name from `other` on.

        Raises:
            ValueError: it does not lie there.
        """
        if not self.url.startswith(f"{other.url}/"):
            raise ValueError(f"{self} does not lie below {other}")
        return PurePosixPath(self.url[len(other.url) + 1 :])

    def stat(self) -> ObjectStatus:
        """Ask for its status."""
        with explained(self):
            info = self.system().info(self.key())
        if info["type"] == "directory":
            raise FileNotFoundError(2, "there is no such object", str(self))
        return status_of(info)

    def exists(self) -> bool:
        """Whether there is such an object, or any below."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Whether there is such an object."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether there is an object below."""
        return any(True for _ in self.iterdir())

    def iterdir(self) -> Iterator[ObjectPath]:
        """What lies directly below, by name; nothing if there is nothing."""
        yield from (path for path, _is_folder in self.entries())

    def entries(self) -> list[tuple[ObjectPath, bool]]:
        """What lies directly below, by name, and whether it is a folder."""
        with suppress(FileNotFoundError), explained(self):
            key = self.key()
            found = self.system().ls(key, detail=True)
            named = {info["name"].rstrip("/"): info for info in found}  # a marker of an empty folder has its name
            named.pop(key.rstrip("/"), None)
            return [
                (self / name.rpartition("/")[2], True)
                if info["type"] == "directory"
                else (ObjectPath(f"{self.url}/{name.rpartition('/')[2]}", status_of(info)), False)
                for name, info in sorted(named.items())
            ]
        return []

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """The objects below whose names match, each part by itself; ``**`` stands for any folders."""
        first, _, rest = pattern.partition("/")
        if first == "**":
            for path, is_folder in self.entries():
                if is_folder:
                    yield from path.glob(pattern)
            yield from self.glob(rest)
        elif not any(letter in first for letter in "*?["):
            yield from (self / first).glob(rest) if rest else [self / first] * (self / first).is_file()
        else:
            for path, is_folder in self.entries():
                if fnmatchcase(path.name, first) and is_folder == bool(rest):
                    yield from path.glob(rest) if rest else [path]

    def open(self, mode: str = "rb", block_bytes: int = BLOCK_BYTES, size: int | None = None) -> BinaryIO:
        """Open it for reading; blocks are fetched as they are needed, and those used last are kept.

        Args:
            mode: ``rb``.
            block_bytes: what is fetched at once.
            size: of the object, where that is known.
        """
        if mode != "rb":
            raise ValueError(f"mode is {mode!r}; allowed is rb")
        size = self.stat().st_size if size is None else size
        return cast(BinaryIO, ObjectReader(self.name, size, block_bytes, self.read_range))

    def read_range(self, start: int, end: int) -> bytes:
        """Its bytes from `start` up to `end`.

        Raises:
            OSError: the store does not give parts of objects, or this one has become shorter.
        """
        with explained(self):
            data: bytes = self.system().cat_file(self.key(), start=start, end=end)
        if len(data) != end - start:
            raise OSError(errno.EIO, f"{len(data)} bytes came where {end - start} were asked for", str(self))
        return data

    def read_bytes(self) -> bytes:
        """Its content."""
        with explained(self):
            data: bytes = self.system().cat_file(self.key())
        return data

    def read_text(self) -> str:
        """Its content as text."""
        return self.read_bytes().decode()

    def fetch(self, target: Path, size: int) -> None:
        """Copy it to a file of this machine, part by part where it is large."""
        with target.open("wb") as file:
            for start in range(0, size, FETCH_BYTES):
                file.write(self.read_range(start, min(size, start + FETCH_BYTES)))

    def write_bytes(self, data: bytes, content_type: str | None = None) -> None:
        """Replace it, by a single put: readers see the old content or the new.

        Args:
            data: its content; a hundred megabytes and more go up in parts, and appear with the last of them.
            content_type: as what a browser takes it, where the store keeps that.
        """
        with explained(self):
            self.system().pipe_file(self.key(), data, **content_type_option(self.url, content_type))

    def put_if(self, data: bytes, tag: str | None) -> None:
        """Write it by a single put if it is as it is thought to be, where the store can tell; else in any case.

        Args:
            data: its content.
            tag: of the object that is to be replaced; None if there must be none.

        Raises:
            FileExistsError: it is otherwise.
        """
        try:
            with explained(self):
                put_if(self.system(), self.url, self.key(), data, tag)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            log.warning(UNSAFE, self)
            if (self.stat().tag if self.is_file() else None) != tag:
                raise FileExistsError(errno.EEXIST, "somebody else has written it", str(self)) from error
            self.write_bytes(data)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove it."""
        try:
            with explained(self):
                self.system().rm_file(self.key())
        except FileNotFoundError:
            if not missing_ok:
                raise

    def replace(self, target: ObjectPath) -> None:
        """Move it; both names are there for a moment."""
        with explained(self):
            self.system().cp_file(self.key(), target.key())
        self.unlink()

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: there are no folders."""

    def rmdir(self) -> None:
        """Nothing: there are no folders."""

    def files(self) -> list[ObjectPath]:
        """All objects below, at any depth."""
        with suppress(FileNotFoundError), explained(self):
            key = self.key().rstrip("/")
            found = self.system().find(key, detail=True)
            return [ObjectPath(self.url + name[len(key) :], status_of(info)) for name, info in sorted(found.items())
                    if name != key]  # fmt: skip
        return []

    def system(self) -> AbstractFileSystem:
        """What speaks with its store."""
        protocol, _, rest = self.url.partition("://")
        return system_at(f"{protocol}://{rest.partition('/')[0]}")

    def key(self) -> str:
        """Its name for :meth:`system`."""
        return str(self.system()._strip_protocol(self.url))


Result = TypeVar("Result")

AnyPath: TypeAlias = Path | ObjectPath
"""A path on this machine or on a store."""


def as_path(given: str | os.PathLike[str] | ObjectPath) -> AnyPath:
    """What a path or an address stands for. Nothing is asked of a store.

    Raises:
        RefusedError: an address that holds credentials, or whose kind is not known here.
    """
    if isinstance(given, ObjectPath):
        return given
    if isinstance(given, os.PathLike):
        first = Path(given).parts[:1]
        if first and first[0].endswith(":") and first[0][:-1] in (*EXTRAS, *_LOCAL, "http", "https", "memory"):
            raise RefusedError(
                f"{given} was an address before pathlib took a slash from it: in Python give it as text. Of the "
                "commands, run, watch, status, report, participants, export and predict take addresses; others need "
                "the run or the video on this machine"
            )
        return Path(given)
    protocol, mark, rest = given.partition("://")
    if not mark or not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.:-]*", protocol):
        return Path(given)
    if protocol in _LOCAL:
        return Path(rest)
    _check(protocol, rest)
    return ObjectPath(f"{protocol.lower()}://{rest.rstrip('/')}")


def _check(protocol: str, rest: str) -> None:
    host = rest.partition("/")[0]
    user, at, _ = host.rpartition("@")
    if at and (":" in user or not protocol.startswith(("abfs", "az", "adl", "wasb"))):  # there it is the container
        raise RefusedError(
            f"{protocol}://...@{host.rpartition('@')[2]}: an address with credentials in it would stand in logs and "
            "tables. Leave them out, and put them where your tools look for them (docs/storage.md)"
        )
    if "::" in protocol or ("::" in rest and "://" in rest):
        raise RefusedError(f"{protocol}://...: addresses within addresses are not read; give that of a folder or file")
    if not host:
        raise RefusedError(f"{protocol}://{rest}: names no bucket")


def is_there(path: AnyPath) -> bool:
    """Whether there is anything at `path`, before a run relies on it.

    Raises:
        RefusedError: its store cannot be used: no such bucket, no credentials, out of reach.
    """
    with at_once():
        return path.exists()


def remove_all(path: AnyPath, ignore_errors: bool = False) -> None:
    """Remove a file, or a folder and all in it; what is not there is fine."""
    if isinstance(path, ObjectPath):
        try:
            for _ in each(lambda item: item.unlink(missing_ok=True), [*path.files(), path]):
                pass
        except OSError:
            if not ignore_errors:
                raise
    elif path.is_dir():
        import shutil

        shutil.rmtree(path, ignore_errors=ignore_errors)
    else:
        path.unlink(missing_ok=True)


def each(function: Callable[[AnyPath], Result], paths: Sequence[AnyPath]) -> Iterator[Result]:
    """`function` of each path, in order; on a store several at a time, as requests wait more than they work.

    No more than :data:`AT_ONCE` results are waiting to be taken.
    """
    if not paths or not isinstance(paths[0], ObjectPath):
        yield from map(function, paths)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked: deque[Future[Result]] = deque()
        for path in paths:
            asked.append(pool.submit(function, path))
            if len(asked) >= AT_ONCE:
                yield asked.popleft().result()
        while asked:
            yield asked.popleft().result()
