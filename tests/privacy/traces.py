"""Looks for traces of single faces in files: tables that are too fine, and bytes of known numbers and pictures."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fer_batch.schema import BINS, VIDEOS

_COUNTS: Final = ("n_with_face", "n_faces", "n_tracks", "with_face_ms", "wall_s")


def holds_only_bins(folder: Path) -> list[str]:
    """What in a run's folder, at any moment of a run, is anything else than a ledger, whole bins, or known JSON."""
    problems = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(file.relative_to(folder))
        if file.name.endswith(".tmp") or file.suffix not in (".parquet", ".json", ".log"):
            problems.append(f"{name}: a file of another kind")
        elif file.suffix == ".parquet":
            problems += [f"{name}: {problem}" for problem in too_fine(pq.read_table(file))]
    return problems


def too_fine(table: pa.Table) -> Iterator[str]:
    """What in a table is neither a ledger without counts nor whole bins."""
    if table.schema.names == VIDEOS.names:
        if any(table[column].null_count < len(table) for column in _COUNTS):
            yield "counts faces"
    elif table.schema.names == BINS.names:
        if set(table["duration_ms"].to_pylist()) - {30_000} or any(at % 30_000 for at in table["start_ms"].to_pylist()):
            yield "a part of a bin"
        hidden = table.filter(pa.compute.not_equal(table["status"], "shown"))
        if any(hidden[column].null_count < len(hidden) for column in BINS.names[7:]):
            yield "tells of a bin that is not shown"
    else:
        yield f"a table of {table.schema.names}"


class Writes:
    """A context manager that keeps the names of all files that this process opens for writing."""

    _watching: list[Writes] = []  # noqa: RUF012 - audit hooks stay for ever, so there is one for all
    _is_hooked = False

    def __init__(self) -> None:
        self.files: set[str] = set()

    def __enter__(self) -> Writes:
        if not Writes._is_hooked:
            sys.addaudithook(_hear)
            Writes._is_hooked = True
        Writes._watching.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        Writes._watching.remove(self)

    def elsewhere(self, folder: Path) -> set[str]:
        """Those outside a folder, but for devices."""
        return {file for file in self.files if not Path(file).is_relative_to(folder) and not file.startswith("/dev/")}


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and Writes._watching:
        path, _mode, flags = arguments
        if isinstance(path, str | bytes) and flags & (os.O_WRONLY | os.O_RDWR):
            for watch in Writes._watching:
                watch.files.add(os.fsdecode(path))
