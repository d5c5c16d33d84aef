"""What a run at privacy level `tracks` has of each trial: means of the participant's tracks in bins of time.

A bin's means cannot be divided, so only bins that lie wholly in a trial count. Where in a bin the face was seen is not
known: it stands at the bin's beginning, which no sum over whole bins depends on.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_batch.errors import RefusedError
from fer_batch.store import Run
from reports.groups.person import Person
from reports.groups.samples import VALUES, Samples, by_video, times
from reports.groups.trials import Trial
from reports.load import RunTables, TrackTables

Row = dict[str, Any]
"""A row of the table `tracks` or `track_bins`."""


def read_binned(run: Run, trials: Sequence[Trial], table: Path) -> dict[int, Samples]:
    """As :func:`reports.groups.samples.read_samples`, each bin as a stretch with the face and one without.

    Raises:
        RefusedError: two participants are the same track in a bin, a selector does not fit or needs boxes, or a file of
            the run is damaged.
    """
    of_video = by_video(trials)
    for trial in (one for mine in of_video.values() for one in mine):
        if trial.person.kind == "region":
            raise RefusedError(
                f"{table}: row {trial.row}, column person: {trial.person} needs the boxes of faces, and at "
                "privacy.level 'tracks' none are kept; name the track (track:3), or write largest"
            )
    tables = RunTables(run)
    bin_ms = 1000 * int(tables.info["config"]["privacy"]["bin_s"])
    lengths = {row["video_id"]: row["duration_ms"] for row in tables.rows()}
    found: dict[int, Samples] = {}
    for video in tables.tracks():
        if video.video_id in of_video:
            found |= _of_video(video, of_video[video.video_id], lengths[video.video_id], bin_ms, table)
    return found


def _of_video(
    video: TrackTables, trials: list[Trial], length_ms: int | None, bin_ms: int, table: Path
) -> dict[int, Samples]:
    start, end = times(video.frames)
    sampled = np.bincount(start // bin_ms, weights=end - start).astype(np.int64) if len(start) else np.zeros(0, int)
    tracks = {row["track_id"]: row for row in video.tracks.to_pylist()}
    in_bin: dict[int, list[Row]] = {}
    for row in video.bins.to_pylist():
        in_bin.setdefault(row["start_ms"] // bin_ms, []).append(row)
    owner: dict[tuple[int, int], Trial] = {}
    found = {}
    for trial in trials:
        try:
            _check_apart(trial.person, tracks)
        except ValueError as error:
            raise RefusedError(f"{table}: row {trial.row}, column person: {error}") from error
        stretches = []
        for number in np.flatnonzero(sampled):
            begin = int(number) * bin_ms
            finish = begin + bin_ms if length_ms is None else min(begin + bin_ms, length_ms)
            if begin < trial.start_ms or finish > trial.end_ms:
                continue
            mine = _of_person(trial.person, in_bin.get(int(number), []), tracks)
            for row in mine:
                other = owner.setdefault((int(number), row["track_id"]), trial)
                if other is not trial:
                    raise RefusedError(
                        f"{table}: row {trial.row}, column person: {trial.person} takes the same track "
                        f"({row['track_id']}) as row {other.row} ({other.participant}, {other.person}) from {begin} "
                        f"to {finish} ms; make the two differ"
                    )
            stretches.append((int(sampled[number]), mine))
        found[trial.row] = _samples(stretches, bin_ms)
    return found


def _check_apart(person: Person, tracks: dict[int, Row]) -> None:
    """One person's tracks follow each other.

    Raises:
        ValueError: two are in view at a time.
    """
    mine = sorted((tracks[n] for n in person.tracks if n in tracks), key=lambda row: row["start_ms"])
    for one, other in itertools.pairwise(mine):
        if other["start_ms"] < one["end_ms"]:
            raise ValueError(f"{person}: two of these tracks are in the picture at {other['start_ms']} ms, so they are "
                             "two people")  # fmt: skip


def _of_person(person: Person, rows: list[Row], tracks: dict[int, Row]) -> list[Row]:
    """The rows of a bin that are a participant's: those of the named tracks; or of the largest face on average, and of
    the next largest that are in view only when the larger ones are not.
    """
    if person.tracks:
        return [row for row in rows if row["track_id"] in person.tracks]
    taken: list[Row] = []
    for row in sorted(rows, key=lambda row: (-(row["face_size"] or 0), row["track_id"])):
        span = tracks[row["track_id"]]
        others = [tracks[one["track_id"]] for one in taken]
        if all(span["end_ms"] <= one["start_ms"] or span["start_ms"] >= one["end_ms"] for one in others):
            taken.append(row)
    return taken


def _samples(bins: list[tuple[int, list[Row]]], bin_ms: int) -> Samples:
    """A trial's bins, one after the other from 0: each the time with the face and its means, then the rest."""
    starts, ends, seen, counts, values = [], [], [], [], []
    nothing = [np.nan] * len(VALUES)
    at = 0
    for sampled_ms, rows in bins:
        told = [row for row in rows if row["valence"] is not None and row["seen_ms"]]
        weights = [row["seen_ms"] for row in told]
        with_face = min(sum(weights), sampled_ms)
        means = np.average([[row[name] for name in VALUES] for row in told], axis=0, weights=weights) if told else None
        starts += [at, at + with_face]
        ends += [at + with_face, at + sampled_ms]
        seen += [told != [], False]
        counts += [sum(row["n_samples"] for row in told), 0]
        values += [nothing if means is None else means.tolist(), nothing]
        at += sampled_ms

    def whole(numbers: list[int]) -> NDArray[np.int64]:
        return np.array(numbers, np.int64)

    return Samples(
        whole(starts), whole(ends), np.array(seen, bool), np.array(values, np.float64).reshape(-1, len(VALUES)),
        whole(counts), bin_ms,
    )  # fmt: skip
