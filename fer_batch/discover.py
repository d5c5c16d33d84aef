"""Find the video files that the inputs stand for: files, folders and globs, in a stable order, one at a time."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from fer_batch.errors import RefusedError

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
        inputs: files, folders or glob patterns.
        include, exclude: patterns (``*.mp4``, ``session1/*``) matched with a file's name and with its path below the
            folder given; with `include`, only files that match one are taken.
        leave_out: a folder that is never searched: the run's own.
        passed_over: files met in folders that are no videos by their suffix, hidden, or not wanted; grows while
            iterating.
    """

    inputs: Sequence[str]
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    leave_out: Path | None = None
    passed_over: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """
        Raises:
            RefusedError: an input does not exist or matches nothing.
        """
        for given in self.inputs:
            if "://" in given:
                raise RefusedError(f"{given}: only local files and folders can be read; copy the videos or mount them")
            if not os.path.lexists(given) and not glob.glob(given, recursive=True):
                raise RefusedError(f"{given}: there is no such file or folder, and no file matches it as a pattern")

    def __iter__(self) -> Iterator[Path]:
        seen: set[int] = set()
        self.passed_over = 0
        for path in self._candidates():
            key = hash(os.fsencode(path))
            if key not in seen:
                seen.add(key)
                yield path

    def _candidates(self) -> Iterator[Path]:
        for given in self.inputs:
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
            elif path.suffix.lower() in VIDEO_SUFFIXES and self._is_wanted(path, root):
                yield path
            else:
                self.passed_over += 1

    def _is_wanted(self, path: Path, root: Path) -> bool:
        names = (path.name, os.fspath(path.relative_to(root)))

        def matches(patterns: Sequence[str]) -> bool:
            return any(fnmatch(name, pattern) for name in names for pattern in patterns)

        return (not self.include or matches(self.include)) and not matches(self.exclude)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # links that lead to each other, for example: probing such a file enters it in the ledger
