"""Rows of a participants table that do not go together: duplicates, overlaps, and conditions that are no groups.

Each check adds to the problems, as text that begins with the row.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from reports.groups.trials import Trial


def check_duplicates(trials: list[Trial], problems: list[str]) -> None:
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


def check_overlaps(trials: list[Trial], problems: list[str]) -> None:
    """One participant at two places at once, or two participants with one face."""
    of_video: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        of_video[trial.video_id or trial.video].append(trial)
    for inside in of_video.values():
        inside.sort(key=lambda trial: (trial.start_ms, trial.row))
        told: set[frozenset[int]] = set()
        for key in ("participant", "face"):
            latest: dict[Any, Trial] = {}
            for trial in inside:
                for mine in _keys(trial, key):
                    before = latest.get(mine)
                    if before is not None and trial.start_ms < before.end_ms and _stretch(trial) != _stretch(before):
                        if (pair := frozenset((trial.row, before.row))) not in told:
                            problems.append(_overlap(trial, before, key))
                        told.add(pair)
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


def check_conditions(trials: list[Trial], problems: list[str]) -> None:
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
