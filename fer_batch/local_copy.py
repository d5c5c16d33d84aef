"""A run that lies on an object store, on this machine's disk for as long as somebody reads all of it.

Pages and exports read every row, some of them several times, and write into folders. They work on a copy of the tables
in a private folder, which is gone at the end; what was written to its ``report/`` is put on the store.
"""

from __future__ import annotations

import mimetypes
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fer_batch.errors import RefusedError, StoppedError
from fer_batch.object_errors import at_once
from fer_batch.object_path import AnyPath, ObjectPath, each
from fer_batch.schema import FOLDERS
from fer_batch.scratch import private_folder
from fer_batch.store import Run

_FIRST: Final = ("work/ledger", "work/lease.json", "videos.parquet", "run.json", "purged.json")
"""Before the tables: a row of the ledger names a part that was there before it."""

_STALE: Final = ("videos/*.html", "index-*.html")
"""Pages that an earlier build may have left and this one has not made again."""


@contextmanager
def on_disk(run: Run) -> Iterator[tuple[Run, Callable[[Path], AnyPath]]]:
    """Gives the run as a folder of this machine, and what tells where a file of it will be at the end.

    Raises:
        RefusedError, StoppedError: as raised inside, with the run's own address in the place of its copy's folder.
    """
    if not isinstance(run.path, ObjectPath):
        yield run, lambda path: path
        return
    address = run.path
    with private_folder(Path(tempfile.gettempdir())) as private:
        folder = private / "run"
        folder.mkdir()
        _fetch(address, folder)
        try:
            yield Run(folder), lambda path: address / path.relative_to(folder)
        except (RefusedError, StoppedError) as error:
            raise type(error)(str(error).replace(str(folder), str(address))) from error
        put_folder(folder / "report", address / "report", _STALE)


def put_folder(folder: Path, target: ObjectPath, stale: tuple[str, ...] = ()) -> None:
    """Put the files of a folder on a store, the page that leads to all others last.

    Args:
        folder: which need not be there.
        target: where its files go.
        stale: patterns of objects that are removed unless they are among them.
    """
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name == "index.html")
    if not files:
        return
    names = {path.relative_to(folder).as_posix() for path in files}

    def put(path: AnyPath) -> None:
        assert isinstance(path, ObjectPath)  # noqa: S101 - for mypy
        kind = mimetypes.guess_type(path.name)[0]
        path.write_bytes((folder / path.relative_to(target)).read_bytes(), content_type=kind)

    for some in (files[:-1], files[-1:]):
        for _ in each(put, [target / path.relative_to(folder).as_posix() for path in some]):
            pass
    for pattern in stale:
        for old in target.glob(pattern):
            if old.relative_to(target).as_posix() not in names:
                old.unlink(missing_ok=True)


def _fetch(address: ObjectPath, folder: Path) -> None:
    def fetch(path: AnyPath) -> None:
        assert isinstance(path, ObjectPath)  # noqa: S101 - for mypy
        target = folder / path.relative_to(address)
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # a driver has joined it to the ledger in the meantime
            status = path.listed or path.stat()
            path.fetch(target, status.st_size)
            os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))  # a lease tells its age by it

    with at_once():
        for names in (_FIRST, FOLDERS):
            for name in names:
                path = address / name
                for _ in each(fetch, [path] if "." in name else path.files()):
                    pass
