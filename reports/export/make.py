"""Puts an export together: which files there will be, that none is in the way, then one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, get_args

import pyarrow as pa

from fer_batch.errors import RefusedError, StoppedError
from fer_batch.store import Run, atomic_write
from reports.export import columns as c
from reports.export import elan, spss, tables, text, trials
from reports.export.columns import Column
from reports.export.earlier import tidy
from reports.export.methods import citation, methods
from reports.export.tables import Committed
from reports.groups import read_participants

Format = Literal["csv", "tsv", "sav", "elan"]

FORMATS: Final[tuple[Format, ...]] = get_args(Format)

METHODS: Final = "methods.md"
ELAN_FOLDER: Final = "elan"

_SHOWN: Final = 8
"""Files in the way that a refusal names."""


@dataclass(frozen=True)
class Table:
    """A table to be exported.

    Attributes:
        stem: the files' name.
        columns: what it holds.
        rows: starts the stream of its rows.
        count: how many rows there are.
    """

    stem: str
    columns: tuple[Column, ...]
    rows: Callable[[], Iterator[pa.Table]]
    count: int


@dataclass
class Exported:
    """What was written.

    Attributes:
        state: the run's state.
        files: paths in the order of writing.
        rows: rows of each table by its stem.
        segments: segments in the ELAN files; None where none were asked for.
        removed: names of files that an earlier export had left, see :mod:`reports.export.earlier`.
    """

    state: str
    files: list[Path] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    segments: int | None = None
    removed: list[str] = field(default_factory=list)


def export(
    run: Run,
    out: Path,
    formats: Sequence[Format] = ("csv",),
    *,
    groups: Path | None = None,
    overwrite: bool = False,
    min_segment_ms: int = elan.MIN_SEGMENT_MS,
    max_gap_ms: int = elan.MAX_GAP_MS,
    on_file: Callable[[str, int, int], None] | None = None,
) -> Exported:
    """Write what a run has committed, also while it goes on, and the methods paragraph.

    Args:
        run: the run's folder.
        out: folder for the files; made if need be.
        formats: which kinds of files.
        groups: a participants table, see :func:`reports.groups.read_participants`; adds the tables trials and
            participants.
        overwrite: replace files of the same names, and remove others of the same kinds that an earlier export wrote.
        min_segment_ms: shortest segment in ELAN files.
        max_gap_ms: longest gap that joins two segments there.
        on_file: told each file's name before it is written, how many are done and of how many.

    Raises:
        RefusedError: there is nothing to export, files are in the way, the participants table is wrong, a package is
            missing; nothing was written.
        StoppedError: the run's tables are damaged, or `out` cannot be written. Each file that is there is whole.
    """
    if "sav" in formats:
        spss.need_pyreadstat()
    if "elan" in formats:
        elan.need_pympi()
    out = Path(out)
    _check_place(run, out)
    committed = Committed(run)
    if not committed.ledger.num_rows:
        raise RefusedError(f"{run.path} has no video in its ledger yet: there is nothing to export")
    rows = None if groups is None else trials.trials(run, read_participants(groups, run))
    listed = [*_tables(committed), *(_trial_tables(rows) if rows is not None else ())]
    names = elan.eaf_names(committed.contents) if "elan" in formats else {}
    planned = _planned(listed, formats, [f"{ELAN_FOLDER}/{name}" for name in names.values()])
    _check_free(out, planned, overwrite)
    made = Exported(state=str(committed.info["state"]), segments=0 if names else None)

    def begin(name: str) -> Path:
        if on_file is not None:
            on_file(name, len(made.files), len(planned))
        made.files.append(out / name)
        return out / name

    try:
        (out / ELAN_FOLDER if names else out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoppedError(f"cannot make the folder {out}: {error.strerror}; choose another --out") from error
    for table in listed:
        _write_table(table, formats, committed, begin, made)
    for content in committed.contents if names else ():
        path = begin(f"{ELAN_FOLDER}/{names[content.video_id]}")
        count = elan.write_eaf(path, committed, content, min_segment_ms=min_segment_ms, max_gap_ms=max_gap_ms)
        made.segments = (made.segments or 0) + count
    words = methods(
        committed,
        elan=(min_segment_ms, max_gap_ms) if "elan" in formats else None,
        participants=None if rows is None else trials.in_words(rows, committed.level),
    )
    with atomic_write(begin(METHODS)) as file:
        file.write(words.encode("utf-8", "backslashreplace"))
    made.removed = tidy(out, planned)
    return made


def _tables(run: Committed) -> list[Table]:
    names = ["video_id", "n_sampled", "n_faces", "n_tracks"]
    rows = {row["video_id"]: row for row in run.ledger.select(names).to_pylist()}
    of = [rows[content.video_id] for content in run.contents]

    def counted(name: str) -> int:
        return sum(row[name] or 0 for row in of)

    if run.level == "faces":
        listed = [("frames", c.FRAME_COLUMNS, counted("n_sampled")), ("faces", c.FACE_COLUMNS, counted("n_faces"))]
    else:
        bins = sum(part.num_rows for content in run.contents for part in run.rows_of("track_bins", content))
        listed = [("frames", c.TIME_COLUMNS, counted("n_sampled")), ("tracks", c.TRACK_COLUMNS, counted("n_tracks")),
                  ("track_bins", c.TRACK_BIN_COLUMNS, bins)]  # fmt: skip
    columns = c.VIDEO_COLUMNS if run.level == "faces" else c.LEDGER_COLUMNS
    return [
        Table("videos", columns, partial(tables.videos, run), run.ledger.num_rows),
        *(Table(name, columns, partial(tables.rows, run, name, columns), count) for name, columns, count in listed),
    ]


def _trial_tables(rows: list[dict[str, Any]]) -> list[Table]:
    columns, people = trials.wide(rows)
    return [
        Table("trials", trials.TRIAL_COLUMNS, partial(tables.from_rows, rows, trials.TRIAL_COLUMNS), len(rows)),
        Table("participants", columns, partial(tables.from_rows, people, columns), len(people)),
    ]


def _planned(listed: Sequence[Table], formats: Sequence[Format], eaf: Sequence[str]) -> list[str]:
    names: list[str] = []
    for table in listed:
        names += [f"{table.stem}.csv"] if "csv" in formats else []
        names += [f"{table.stem}.tsv", f"{table.stem}.json"] if "tsv" in formats else []
        names += spss.sav_names(table.stem, table.count) if "sav" in formats else []
    return [*names, *eaf, METHODS]


def _write_table(
    table: Table, formats: Sequence[Format], run: Committed, begin: Callable[[str], Path], made: Exported
) -> None:
    counts: list[int] = []
    for dialect in ("csv", "tsv"):
        if dialect in formats:
            stream = tables.regrouped(table.rows(), tables.BATCH_ROWS)
            counts.append(text.write_text(begin(f"{table.stem}.{dialect}"), table.columns, stream, dialect))
    if "tsv" in formats:
        text.write_sidecar(begin(f"{table.stem}.json"), table.columns, _tool(run.info))
    if "sav" in formats:
        paths = [begin(name) for name in spss.sav_names(table.stem, table.count)]
        spss.write_sav(paths, table.columns, table.rows(), _tool(run.info))
    if any(count != table.count for count in counts):
        raise StoppedError(
            f"the ledger names {table.count} rows of {table.stem} and the tables hold {counts[0]}: the run's folder "
            "was changed. If the run is going on, export again; else run again with --redo."
        )
    made.rows[table.stem] = table.count


def _tool(info: dict[str, Any]) -> str:
    model = info["model"]
    return (
        f"{citation(str(info['fer_batch_version'] or 'unknown'))} Model {model['name'] or 'unknown'}, sha256 "
        f"{model['sha256'] or 'unknown'}; calibrated on FER2013 only. Apparent expression, not felt emotion."
    )


def _check_place(run: Run, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise RefusedError(f"--out {out} is a file; choose a folder")
    if out.resolve() == run.path.resolve():
        raise RefusedError(f"--out {out} is the run's own folder; choose another one, such as {out / 'export'}")


def _check_free(out: Path, names: Sequence[str], overwrite: bool) -> None:
    there = [name for name in names if (out / name).exists()]
    if blocked := [name for name in there if (out / name).is_dir()]:
        raise RefusedError(
            f"{out / blocked[0]} is a folder and stands where a file is to be written; choose another --out"
        )
    if there and not overwrite:
        more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        raise RefusedError(
            f"{out} holds {', '.join(there[:_SHOWN])}{more} already; choose another --out, or replace them with "
            "--overwrite"
        )
