"""Paths on object stores: what this project uses of :class:`pathlib.Path`, for any address that fsspec knows.

Code that reads and writes a run takes an :data:`AnyPath` and asks for the same methods of either. What differs is how
a file is replaced (:func:`fer_batch.store.atomic_write`), how videos are read (:mod:`fer_batch.staging`) and how a
lease is held (:mod:`fer_batch.object_lease`).
"""

from __future__ import annotations

import errno
import io
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias, TypeVar, cast
from urllib.parse import quote

from fer_batch.errors import RefusedError
from fer_batch.object_errors import at_once, explained, redacted

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

BLOCK_BYTES: Final = 1 << 20
"""What is read at once of an object that is opened, at least."""

BLOCKS_KEPT: Final = 16
"""Blocks that are kept of an object that is open: an index at its end, and the places that streams are read from."""

FETCH_BYTES: Final = 32 << 20
"""What is read at once of an object that is copied to a file."""

AT_ONCE: Final = 16
"""Requests that are on their way at a time, where there are many small ones."""

EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
"""The extra of this package that brings what a kind of address needs."""

_RETRIES: Final = {"config_kwargs": {"retries": {"mode": "standard", "max_attempts": 5}}}
"""For S3: busy servers are asked again for about a minute in all, each time after a longer wait."""

_CONTENT_TYPE: Final = {"s3": "ContentType", "gs": "content_type", "gcs": "content_type"}
"""What the libraries call it."""

UNSAFE: Final = (
    "%s: this store does not refuse to replace an object that is there, so two commands that start at the same moment "
    "could both work on this run; start one at a time"
)

log = logging.getLogger("fer_batch")

_LOCAL: Final = ("file", "local")


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """What a store tells of an object; the first two are named as in :class:`os.stat_result`.

    Attributes:
        st_size: in bytes.
        st_mtime_ns: when it was written, in ns since 1970; stores tell it to the second, some not at all (0).
        tag: changes with the content: an S3 ETag, a generation of Google's; empty where the store has none.
    """

    st_size: int
    st_mtime_ns: int
    tag: str


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
        return _status(info)

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
                else (ObjectPath(f"{self.url}/{name.rpartition('/')[2]}", _status(info)), False)
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
        return cast(BinaryIO, ObjectReader(self, self.stat().st_size if size is None else size, block_bytes))

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
        name = next((name for kind, name in _CONTENT_TYPE.items() if self.url.startswith(kind)), None)
        named = {name: content_type} if name and content_type else {}
        with explained(self):
            self.system().pipe_file(self.key(), data, **named)

    def put_if(self, data: bytes, tag: str | None) -> None:
        """Write it by a single put if it is as it is thought to be, where the store can tell; else in any case.

        Args:
            data: its content.
            tag: of the object that is to be replaced; None if there must be none.

        Raises:
            FileExistsError: it is otherwise.
        """
        system, key = self.system(), self.key()
        try:
            with explained(self):
                if self.url.startswith("s3"):
                    system.pipe_file(key, data, **({"mode": "create"} if tag is None else {"IfMatch": tag}))
                elif self.url.startswith("gs") and tag is not None:
                    _put_generation(system, key, data, tag)
                elif tag is None:
                    system.pipe_file(key, data, mode="create")
                elif self.stat().tag == tag:
                    system.pipe_file(key, data)
                else:
                    raise FileExistsError
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
            return [ObjectPath(self.url + name[len(key) :], _status(info)) for name, info in sorted(found.items())
                    if name != key]  # fmt: skip
        return []

    def system(self) -> AbstractFileSystem:
        """What speaks with its store."""
        protocol, _, rest = self.url.partition("://")
        return _system(f"{protocol}://{rest.partition('/')[0]}")

    def key(self) -> str:
        """Its name for :meth:`system`."""
        return str(self.system()._strip_protocol(self.url))


class ObjectReader(io.RawIOBase):
    """An object as a file to read and seek in.

    Args:
        path: where it is.
        size: of the object.
        block_bytes: what one request fetches.
    """

    def __init__(self, path: ObjectPath, size: int, block_bytes: int) -> None:
        self.name = path.name
        self._position, self._size, self._block_bytes = 0, size, block_bytes
        self._block = lru_cache(BLOCKS_KEPT)(
            lambda number: path.read_range(number * block_bytes, min(size, (number + 1) * block_bytes))
        )

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def tell(self) -> int:
        """The place."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read what one block holds of what is asked for, at most."""
        if self._position >= self._size:
            return 0
        number, offset = divmod(self._position, self._block_bytes)
        found = self._block(number)[offset : offset + len(buffer)]
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)


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


@lru_cache(maxsize=64)
def _system(base: str) -> AbstractFileSystem:
    import fsspec

    protocol = base.partition("://")[0]
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}  # others write there too
    if protocol in ("s3", "s3a"):
        options["max_concurrency"] = 1  # else it asks for the size of whatever is read; what is large is read in parts
    if protocol in ("s3", "s3a") and not {"AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"} & os.environ.keys():
        options |= _RETRIES
    try:
        return fsspec.core.url_to_fs(base, **options)[0]
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        cure = f"pip install 'fer-batch[{extra}]'" if extra else f"install what fsspec asks for: {error}"
        raise RefusedError(f"{protocol}:// needs a package that is not installed: {cure}") from error
    except ValueError as error:
        raise RefusedError(f"{base}: {protocol}:// is no kind of address that fsspec knows ({error})") from error


def _put_generation(system: AbstractFileSystem, key: str, data: bytes, generation: str) -> None:
    """Google's put on a condition, which gcsfs has for new objects only (JSON API, objects.insert)."""
    bucket, _, name = key.partition("/")
    where = f"{system._location}/upload/storage/v1/b/{quote(bucket)}/o"
    system.call("POST", where, uploadType="media", name=name, ifGenerationMatch=generation, data=data)


def _status(info: dict[str, Any]) -> ObjectStatus:
    tag = info.get("ETag") or info.get("generation") or info.get("etag") or info.get("md5Hash") or ""
    return ObjectStatus(int(info["size"] or 0), _written_ns(info), str(tag))


def _written_ns(info: dict[str, Any]) -> int:
    for name in ("LastModified", "mtime", "updated", "last_modified", "modified", "created"):
        value = info.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return int(value.timestamp()) * 10**9 + value.microsecond * 1000
    return 0


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
