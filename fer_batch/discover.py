"""Find the videos that the inputs stand for: files, folders and globs, here or on a store, in a stable order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePath

from fer_batch.errors import RefusedError
from fer_batch.object_errors import at_once
from fer_batch.object_path import AnyPath, ObjectPath, as_path

VIDEO_SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".qt",
        ".3gp",
        ".3g2",
        ".mkv",
        ".webm",
        ".avi",
        ".ts",
        ".mts",
        ".m2ts",
        ".mpg",
        ".mpeg",
        ".vob",
        ".flv",
        ".wmv",
        ".asf",
        ".ogv",
        ".mxf",
        ".ivf",
    ]
)
"""A file in a folder is taken for a video if its name ends so. A file that is named itself is always tried."""


@dataclass
class Discovery:
    """Iterates over the files to process; nothing is held in memory but the names of the folder being read.

    Attributes:
        inputs: files, folders or glob patterns, or addresses of such on object stores.
        include, exclude: patterns (``*.mp4``, ``session1/*``) matched with a file's name and with its path below the
            folder given; with `include`, only files that match one are taken.
        leave_out: a folder that is never searched: the run's own.
        passed_over: files met in folders that are no videos by their suffix, hidden, or not wanted; grows while
            iterating.
    """

    inputs: Sequence[str]
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    leave_out: AnyPath | None = None
    passed_over: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """
        Raises:
            RefusedError: an input does not exist or matches nothing, or its store cannot be used.
        """
        if isinstance(self.leave_out, Path):
            self.leave_out = self.leave_out.absolute()
        for given in self.inputs:
            path = as_path(given)
            if isinstance(path, ObjectPath):
                with at_once():
                    if next(_matches(path), None) is None:
                        raise RefusedError(f"{path}: there is no such object, none whose name begins so, and none that "
                                           "matches it as a pattern")  # fmt: skip
                continue
            given = str(path)  # noqa: PLW2901 - what a file:// address stands for
            if not os.path.lexists(given) and not glob.glob(given, recursive=True):
                raise RefusedError(f"{given}: there is no such file or folder, and no file matches it as a pattern")

    @property
    def shown(self) -> list[str]:
        """The inputs as they may be shown: without signatures."""
        return [str(as_path(given)) for given in self.inputs]

    def __iter__(self) -> Iterator[AnyPath]:
        seen: set[int] = set()
        self.passed_over = 0
        for path in self._candidates():
            key = hash(os.fsencode(str(path)))
            if key not in seen:
                seen.add(key)
                yield path

    def _candidates(self) -> Iterator[AnyPath]:
        for located in map(as_path, self.inputs):
            if isinstance(located, ObjectPath):
                for found in _matches(located):
                    if found.listed is None:
                        yield from self._objects(found, found)
                    else:
                        yield found
                continue
            given = str(located)
            matches = [given] if os.path.lexists(given) else sorted(glob.glob(given, recursive=True))
            for match in matches:
                path = Path(os.path.abspath(match))
                if path.is_dir():
                    yield from self._walk(path, path, frozenset())
                else:
                    yield path

    def _walk(self, folder: Path, root: Path, parents: frozenset[tuple[int, int]]) -> Iterator[Path]:
        try:
            status = os.stat(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError:
            yield folder  # probing it enters the folder in the ledger as unreadable, and the rest goes on
            return
        here = (status.st_dev, status.st_ino)
        if here in parents or (self.leave_out is not None and folder == self.leave_out):
            return  # a link that leads back up, or the run's own folder
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):  # hidden; also what macOS leaves beside each file on foreign disks
                self.passed_over += 1
            elif _is_folder(entry):
                yield from self._walk(path, root, parents | {here})
            elif path.suffix.lower() in VIDEO_SUFFIXES and self._is_wanted(path.name, path.relative_to(root)):
                yield path
            else:
                self.passed_over += 1

    def _objects(self, folder: ObjectPath, root: ObjectPath) -> Iterator[ObjectPath]:
        if folder == self.leave_out:
            return
        try:
            entries = folder.entries()
        except OSError:
            yield folder  # probing it says in the ledger what is wrong, and the rest goes on
            return
        for path, is_folder in entries:
            if path.name.startswith("."):
                self.passed_over += 1
            elif is_folder:
                yield from self._objects(path, root)
            elif path.suffix.lower() in VIDEO_SUFFIXES and self._is_wanted(path.name, path.relative_to(root)):
                yield path
            else:
                self.passed_over += 1

    def _is_wanted(self, name: str, below: PurePath) -> bool:
        names = (name, os.fspath(below))

        def matches(patterns: Sequence[str]) -> bool:
            return any(fnmatch(name, pattern) for name in names for pattern in patterns)

        return (not self.include or matches(self.include)) and not matches(self.exclude)


def _matches(path: ObjectPath) -> Iterator[ObjectPath]:
    """The object itself, with its status; or the folder, without; or what matches a pattern."""
    try:
        yield ObjectPath(path.url, path.stat())
    except FileNotFoundError:
        if path.is_dir():
            yield path
        elif glob.has_magic(path.url):
            root = path
            while glob.has_magic(root.url):
                root = root.parent
            yield from root.glob(os.fspath(path.relative_to(root)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # links that lead to each other, for example: probing such a file enters it in the ledger
