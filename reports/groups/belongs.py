"""What of a run is one participant's, by the participants table: whole videos, or faces and tracks in shared ones.

In doubt more goes rather than less. A video in which the table names nobody else is theirs as a whole, whoever passes
through it. In a shared video a track in which they are chosen once is theirs from end to end, also outside their
trials, unless somebody else is chosen in it.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_batch.errors import RefusedError
from fer_batch.store import Run
from reports.groups.participants import read_participants
from reports.groups.trials import Trial


@dataclass(frozen=True)
class Belongings:
    """What is a participant's.

    Attributes:
        videos: contents that are theirs as a whole.
        paths: videos of theirs that the run could not read.
        faces: of shared videos, int64 (n, 2): `frame_index` and `face_index`.
        tracks: of shared videos of a run at privacy level ``tracks``: track numbers.
        rows: their rows of the table, as a spreadsheet numbers them.
        beside: rows of others in shared videos: path as in the ledger, and content.
    """

    videos: frozenset[str]
    paths: frozenset[str]
    faces: dict[str, NDArray[np.int64]]
    tracks: dict[str, frozenset[int]]
    rows: frozenset[int]
    beside: dict[int, tuple[str, str]]


def belongings(run: Run, table: Path, participant: str) -> Belongings:
    """Look up what is a participant's; rows that are excluded count too.

    Args:
        run: the run.
        table: its participants table.
        participant: as the table names them.

    Raises:
        RefusedError: the table does not fit the run or does not know them, or the privacy level cannot tell them apart.
    """
    trials = read_participants(table, run, conditions=False).trials
    mine = [trial for trial in trials if trial.participant == participant]
    if not mine:
        near = difflib.get_close_matches(participant, {trial.participant for trial in trials}, 1)
        hint = f"; is it {near[0]!r}?" if near else ""
        raise RefusedError(f"{table}: no row has the participant {participant!r}{hint}")
    of_video: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        of_video[trial.video_id or trial.video].append(trial)
    own = {key for key, inside in of_video.items() if all(trial.participant == participant for trial in inside)}
    videos = {trial.video_id for trial in mine if trial.video_id is not None and trial.video_id in own}
    paths = {trial.video for trial in mine if trial.video_id is None}
    shared = sorted({trial.video_id for trial in mine if trial.video_id is not None} - videos)
    faces: dict[str, NDArray[np.int64]] = {}
    tracks: dict[str, frozenset[int]] = {}
    sizes = {row["video_id"]: row for row in run.videos().select(["video_id", "width", "height", "part"]).to_pylist()}
    for video_id in shared:
        inside = of_video[video_id]
        if sizes[video_id]["part"] is None:
            faces[video_id] = np.empty((0, 2), np.int64)  # it failed, and must not be tried again
        elif run.level == "faces":
            size = (sizes[video_id]["width"], sizes[video_id]["height"])
            faces[video_id] = _faces(run, video_id, inside, participant, size, table)
        else:
            tracks[video_id] = _tracks(run, inside, participant, table)
    beside = {
        trial.row: (trial.video, video_id)
        for video_id in shared
        for trial in of_video[video_id]
        if trial.participant != participant
    }
    rows = frozenset(trial.row for trial in mine)
    return Belongings(frozenset(videos), frozenset(paths), faces, tracks, rows, beside)


def _faces(
    run: Run, video_id: str, trials: list[Trial], participant: str, size: tuple[int | None, int | None], table: Path
) -> NDArray[np.int64]:
    faces = run.faces(video_id)
    times, track = faces["timestamp_ms"].to_numpy(), faces["track_id"].to_numpy()
    mine, others = np.zeros(len(times), bool), np.zeros(len(times), bool)
    for trial in trials:
        try:
            chosen = trial.person.choose(faces, *size)
        except ValueError as error:
            raise RefusedError(f"{table}: row {trial.row}, column person: {error}") from error
        chosen = chosen[(times[chosen] >= trial.start_ms) & (times[chosen] < trial.end_ms)]
        (mine if trial.participant == participant else others)[chosen] = True
    wholly = np.setdiff1d(track[mine], track[others & ~mine])
    gone = mine | np.isin(track, wholly)
    return np.column_stack([faces[name].to_numpy()[gone].astype(np.int64) for name in ("frame_index", "face_index")])


def _tracks(run: Run, trials: list[Trial], participant: str, table: Path) -> frozenset[int]:
    found: set[int] = set()
    for trial in trials:
        if trial.participant != participant:
            continue
        if run.level == "aggregate":
            raise RefusedError(
                f"{run.path} is at privacy level 'aggregate', whose bins are over everybody in {trial.video}: nobody "
                "can be taken out of them. Take the recording away and run again on the rest, into another --out"
            )
        if not trial.person.tracks:
            raise RefusedError(
                f"{table}: row {trial.row}, column person: {trial.person} cannot be told apart from others in "
                f"{trial.video}: at privacy level 'tracks' no boxes are kept. Write the tracks, such as track:3+7"
            )
        found |= set(trial.person.tracks)
    return frozenset(found)
