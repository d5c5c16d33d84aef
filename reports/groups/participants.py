"""The participants table: who is who in a run, what they were watching and when. Checked in full before any work."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fer_batch.errors import RefusedError
from fer_batch.store import Run
from reports.groups.conflicts import check_conditions, check_duplicates, check_overlaps
from reports.groups.ledger import Ledger
from reports.groups.person import FORMS, Person
from reports.groups.spreadsheet import Sheet, read_sheet
from reports.groups.trials import COLUMNS, REQUIRED, Trial

ROUNDING_MS: Final = 1_000
"""A row may end this much after its video: people note lengths in whole seconds."""

MOST_PROBLEMS: Final = 20
"""Problems that one message lists."""

_YES, _NO = {"yes", "y", "true", "1", "x", "ja", "oui", "si", "wahr", "vrai"}, {"", "no", "n", "false", "0", "nein"}


@dataclass(frozen=True)
class Participants:
    """A participants table that fits its run.

    Attributes:
        path: the file.
        trials: its rows.
        unused: columns that mean nothing here.
    """

    path: Path
    trials: tuple[Trial, ...]
    unused: tuple[str, ...]


def read_participants(path: Path, run: Run, *, conditions: bool = True) -> Participants:
    """Read a participants table and check it against its run.

    Args:
        path: CSV or TSV, see :func:`reports.groups.spreadsheet.read_sheet`. Columns are :data:`COLUMNS`;
            :data:`REQUIRED` must be there. `video` is a path as in the ledger, the end of one if it is unique, or a
            `video_id`; `person` see :class:`reports.groups.person.Person`. An empty `start_ms` is the video's start, an
            empty `end_ms` its end. `run` is the run's id, and must be given where `person` names tracks.
        run: the run.
        conditions: whether conditions that are no groups are wrong too.

    Raises:
        RefusedError: something in it is wrong; the message names each row and column and says what to do.
    """
    sheet = read_sheet(path, COLUMNS)
    unused = _check_columns(sheet)
    if not sheet.rows:
        raise RefusedError(f"{path}: the table has no rows; fer-batch participants RUN --out TABLE fills one in")
    problems: list[str] = []
    _check_run(sheet, run, problems)
    ledger = Ledger(run)
    trials = [trial for number, cells in sheet.rows if (trial := _trial(number, cells, ledger, problems)) is not None]
    counted = [trial for trial in trials if trial.excluded is None]
    check_duplicates(counted, problems)
    check_overlaps(counted, problems)
    if conditions and not problems:
        check_conditions(counted, problems)
    if problems:
        problems.sort(key=lambda text: int(text.split()[1].rstrip(",")))
        raise _refusal(path, problems)
    return Participants(path, tuple(trials), unused)


def _refusal(path: Path, problems: list[str]) -> RefusedError:
    count = len(problems)
    shown = problems[:MOST_PROBLEMS] + ([f"and {count - MOST_PROBLEMS} more"] if count > MOST_PROBLEMS else [])
    return RefusedError(f"{path}: {count} problem{'s' if count > 1 else ''} in the table:\n  " + "\n  ".join(shown))


def _check_columns(sheet: Sheet) -> tuple[str, ...]:
    """The columns that are not used.

    Raises:
        RefusedError: one is missing, or nearly named like one that is.
    """
    absent = [name for name in COLUMNS if name not in sheet.columns]
    unused = tuple(name for name in sheet.columns if name and name not in COLUMNS)
    for name in unused:
        if near := difflib.get_close_matches(name, absent, 1, 0.8):
            raise RefusedError(f"{sheet.path}: row 1: there is no column {name!r}; did you mean {near[0]!r}?")
    if missing := [name for name in absent if name in REQUIRED]:
        raise RefusedError(
            f"{sheet.path}: row 1: the column{'s' if len(missing) > 1 else ''} {', '.join(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} missing (found: {', '.join(sheet.columns) or 'none'}). "
            "fer-batch participants RUN --out TABLE writes a table with all columns"
        )
    return unused


def _check_run(sheet: Sheet, run: Run, problems: list[str]) -> None:
    """A table that names tracks, or a run, is about that run only: another numbers its tracks differently."""
    for number, cells in sheet.rows:
        named = cells.get("run", "")
        if named and named != run.id:
            problems.append(
                f"row {number}, column run: the table was made for the run {named}, not for {run.path} ({run.id}); "
                "tracks are numbered anew in each run. Make a table for this run with fer-batch participants"
            )
        elif not named and cells["person"].lower().startswith("track"):
            problems.append(
                f"row {number}, column run: is empty, but column person names a track, and tracks are numbered anew in "
                f"each run; write {run.id} there if the tracks are those of {run.path}"
            )


def _trial(number: int, cells: dict[str, str], ledger: Ledger, problems: list[str]) -> Trial | None:
    def checked(name: str, read: Callable[[str], Any]) -> Any:
        try:
            return read(cells.get(name, ""))
        except ValueError as error:
            problems.append(f"row {number}, column {name}: {error}")
            return None

    before = len(problems)
    excluded = checked("exclude", _excluded)
    participant, stimulus = checked("participant", _given), checked("stimulus", _given)
    video = checked("video", lambda text: ledger.find(_given(text)))
    person = checked("person", _person)
    start = checked("start_ms", _milliseconds)
    end = checked("end_ms", _milliseconds)
    order = checked("order", _order)
    reason = cells.get("exclude_reason", "")
    if reason and not excluded:
        problems.append(
            f"row {number}, column exclude_reason: is given, but column exclude is not 'yes'; write yes, or empty "
            "the cell"
        )
    if len(problems) > before:
        return None
    length = video["duration_ms"]
    start = start or 0
    if end is None:
        end = length if length is not None else start + 1
    if end <= start:
        problems.append(f"row {number}, column end_ms: {end} is not after start_ms ({start}); are they swapped?")
    elif length is not None and start >= length:
        problems.append(f"row {number}, column start_ms: {start} lies after the video's end ({length} ms)")
    elif length is not None and end > length + ROUNDING_MS:
        problems.append(f"row {number}, column end_ms: {end} lies after the video's end ({length} ms)")
    last = video["n_tracks"] or 0
    if video["part"] is not None and person.tracks and person.tracks[-1] > last:
        problems.append(f"row {number}, column person: {person} is not in the video: its tracks are 1 to {last}"
                        if last else f"row {number}, column person: {person}: the video has no tracks")  # fmt: skip
    if len(problems) > before:
        return None
    return Trial(
        number, participant, cells.get("session") or "1", video["path"], video["video_id"], person, stimulus, start,
        end if length is None else min(end, max(length, start + 1)), cells.get("condition") or None, order,
        (reason or "no reason given") if excluded else None,
        None if video["part"] is not None else f"video failed: {video['error_code'] or video['status']}",
    )  # fmt: skip


def _given(text: str) -> str:
    if not text:
        raise ValueError("is empty; fill it in, or remove the row")
    return text


def _person(text: str) -> Person:
    try:
        return Person.parse(text)
    except ValueError as error:
        raise ValueError(f"{error}. Write {FORMS}") from error


def _milliseconds(text: str) -> int | None:
    """Whole milliseconds, or None where nothing stands.

    Raises:
        ValueError: it is no such number. What may be a thousands separator is not guessed at.
    """
    if not text:
        return None
    number = re.fullmatch(r"(-?\d{1,12})(?:[.,](0{1,2}|0{4,}))?", text)
    if number is None:
        raise ValueError(f"{text!r} is no whole number of milliseconds; write 1500 for 1.5 s, with no separators")
    value = int(number[1])
    if value < 0:
        raise ValueError(f"{text} is negative; times are from the start of the video")
    return value


def _order(text: str) -> int | None:
    if not text:
        return None
    number = re.fullmatch(r"(\d{1,6})(?:[.,]0+)?", text)
    if number is None or int(number[1]) < 1:
        raise ValueError(f"{text!r} is no position; write 1, 2, 3, ...")
    return int(number[1])


def _excluded(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError(f"{text!r} is neither yes nor no; the reason goes into exclude_reason")
