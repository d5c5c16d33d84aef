"""The participants table: who is who in a run, what they were watching and when. Checked in full before any work."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fer_batch.errors import RefusedError
from fer_batch.store import Run
from reports.groups.person import FORMS, Person
from reports.groups.spreadsheet import Sheet, read_sheet

REQUIRED: Final = ("participant", "video", "person", "stimulus", "start_ms", "end_ms")
OPTIONAL: Final = ("session", "condition", "order", "exclude", "exclude_reason", "run")
COLUMNS: Final = ("participant", "session", "video", "person", "stimulus", "start_ms", "end_ms", "condition", "order",
                  "exclude", "exclude_reason", "run")  # fmt: skip
"""All columns, in the order in which they are written. Other columns may stand beside them and are not used."""

ROUNDING_MS: Final = 1_000
"""A row may end this much after its video: people note lengths in whole seconds."""

MOST_PROBLEMS: Final = 20
"""Problems that one message lists."""

_YES, _NO = {"yes", "y", "true", "1", "x", "ja", "oui", "si", "wahr", "vrai"}, {"", "no", "n", "false", "0", "nein"}


@dataclass(frozen=True, slots=True)
class Trial:
    """A row of the participants table: one person watching one stimulus.

    Attributes:
        row: its number as a spreadsheet shows it.
        participant: who; the same code in all rows of the person.
        session: which visit; ``1`` where the table does not say.
        video: path as in the ledger.
        video_id: the content; None where the run could not read the file.
        person: which face is the participant's.
        stimulus: what was watched.
        start_ms, end_ms: when, in the video's time. Time zero of the stimulus is `start_ms`.
        condition: of the participant or of the trial; None where the table has none.
        order: position of the stimulus in the session, from 1; None where the table does not say.
        excluded: why the table leaves the row out; None for a row that counts.
        unread: why the run has nothing of the video; None where it has.
    """

    row: int
    participant: str
    session: str
    video: str
    video_id: str | None
    person: Person
    stimulus: str
    start_ms: int
    end_ms: int
    condition: str | None
    order: int | None
    excluded: str | None
    unread: str | None


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


def read_participants(path: Path, run: Run) -> Participants:
    """Read a participants table and check it against its run.

    Args:
        path: CSV or TSV, see :func:`reports.groups.spreadsheet.read_sheet`. Columns are :data:`COLUMNS`;
            :data:`REQUIRED` must be there. `video` is a path as in the ledger, the end of one if it is unique, or a
            `video_id`; `person` see :class:`reports.groups.person.Person`. An empty `start_ms` is the video's start, an
            empty `end_ms` its end. `run` is the run's id, and must be given where `person` names tracks.
        run: the run.

    Raises:
        RefusedError: something in it is wrong; the message names each row and column and says what to do.
    """
    sheet = read_sheet(path, COLUMNS)
    unused = _check_columns(sheet)
    if not sheet.rows:
        raise RefusedError(f"{path}: the table has no rows; fer-batch participants RUN --out TABLE fills one in")
    problems: list[str] = []
    _check_run(sheet, run, problems)
    ledger = _Ledger(run)
    trials = [trial for number, cells in sheet.rows if (trial := _trial(number, cells, ledger, problems)) is not None]
    counted = [trial for trial in trials if trial.excluded is None]
    _check_duplicates(counted, problems)
    _check_overlaps(counted, problems)
    if not problems:
        _check_conditions(counted, problems)
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


class _Ledger:
    """Finds a video by what people write of it."""

    def __init__(self, run: Run) -> None:
        wanted = ("video_id", "path", "status", "error_code", "duration_ms", "part", "n_tracks")
        self._rows: list[dict[str, Any]] = run.videos().select(wanted).to_pylist()
        self._by: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in self._rows:
            parts = row["path"].split("/")
            for start in range(len(parts)):
                self._by["/".join(parts[start:])].append(row)
            if row["video_id"] is not None:
                self._by[row["video_id"]].append(row)

    def find(self, text: str) -> dict[str, Any]:
        """The ledger's row.

        Raises:
            ValueError: there is none, or several with different content.
        """
        asked = text.replace("\\", "/") if text not in self._by else text
        asked = asked.removeprefix("./")
        found = self._by.get(text) or self._by.get(asked) or []
        whole = [row for row in found if row["path"] == asked]
        found = whole or found
        if not found:
            names = {row["path"].rpartition("/")[2] for row in self._rows}
            near = difflib.get_close_matches(asked.rpartition("/")[2], names, 1)
            hint = f"; is it {near[0]!r}?" if near else "; status RUN lists its videos"
            raise ValueError(f"the run has no video {text!r}{hint}")
        contents = {row["video_id"] or row["path"] for row in found}
        if len(contents) > 1:
            paths = sorted(row["path"] for row in found)[:3]
            raise ValueError(f"{len(found)} videos are named {text!r} ({', '.join(paths)}); write the whole path")
        return max(found, key=lambda row: row["part"] is not None)


def _trial(number: int, cells: dict[str, str], ledger: _Ledger, problems: list[str]) -> Trial | None:
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


def _check_duplicates(trials: list[Trial], problems: list[str]) -> None:
    """The same stretch of the same face twice, or the same stimulus twice without telling the repeats apart."""
    seen: dict[tuple[Any, ...], Trial] = {}
    for trial in trials:
        content = trial.video_id or trial.video
        stretch = ("stretch", content, trial.person, trial.start_ms, trial.end_ms)
        repeat = ("repeat", trial.participant, trial.session, trial.stimulus, trial.order)
        if (first := seen.setdefault(stretch, trial)) is not trial:
            problems.append(
                f"row {trial.row}, columns video, person, start_ms and end_ms: the same as row {first.row}; remove one"
            )
        elif (first := seen.setdefault(repeat, trial)) is not trial:
            problems.append(
                f"row {trial.row}, columns participant, session, stimulus and order: the same as row {first.row}; "
                "number repeats in column order, or remove one"
            )


def _check_overlaps(trials: list[Trial], problems: list[str]) -> None:
    """One participant at two places at once, or two participants with one face."""
    of_video: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        of_video[trial.video_id or trial.video].append(trial)
    for inside in of_video.values():
        inside.sort(key=lambda trial: (trial.start_ms, trial.row))
        for key in ("participant", "face"):
            latest: dict[Any, Trial] = {}
            for trial in inside:
                for mine in _keys(trial, key):
                    before = latest.get(mine)
                    if before is not None and trial.start_ms < before.end_ms and _stretch(trial) != _stretch(before):
                        problems.append(_overlap(trial, before, key))
                    if before is None or trial.end_ms > before.end_ms:
                        latest[mine] = trial


def _keys(trial: Trial, key: str) -> Iterable[Any]:
    if key == "participant":
        return [trial.participant]
    return [("track", track) for track in trial.person.tracks] or [trial.person]


def _stretch(trial: Trial) -> tuple[Any, ...]:
    return trial.person, trial.start_ms, trial.end_ms


def _overlap(trial: Trial, before: Trial, key: str) -> str:
    first, second = sorted((before, trial), key=lambda one: one.row)
    what = f"{first.start_ms} to {first.end_ms} and {second.start_ms} to {second.end_ms} ms overlap in the same video"
    if key == "participant":
        remedy = (
            "a person watches one thing at a time; correct the times, or join one person's tracks in one row "
            "(track:3+7)"
        )
    else:
        remedy = f"and both take the face {second.person}; correct the times or column person"
    return f"row {second.row}, columns start_ms and end_ms: overlaps row {first.row} ({what}); {remedy}"


def _check_conditions(trials: list[Trial], problems: list[str]) -> None:
    """All rows have a condition or none has, and each has at least two participants."""
    without = [trial for trial in trials if trial.condition is None]
    if 0 < len(without) < len(trials):
        problems.extend(f"row {trial.row}, column condition: is empty, but other rows have one" for trial in without)
    people: dict[str, set[str]] = defaultdict(set)
    first: dict[str, Trial] = {}
    for trial in trials:
        if trial.condition is not None:
            people[trial.condition].add(trial.participant)
            first.setdefault(trial.condition, trial)
    for name, members in people.items():
        if len(members) < 2:
            near = difflib.get_close_matches(name, [other for other in people if other != name], 1, 0.7)
            hint = f" (is it {near[0]!r}?)" if near else ""
            problems.append(
                f"row {first[name].row}, column condition: {name!r} has one participant only ({min(members)}){hint}; "
                "correct it, or exclude the row: one person is no group"
            )
