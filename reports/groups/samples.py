"""What a run has of each trial: its samples, with the participant's face where it was seen; or at privacy level
`tracks` its bins of time, see :mod:`reports.groups.binned`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_batch.errors import RefusedError
from fer_batch.schema import PROBABILITIES
from fer_batch.store import Run
from reports.groups.trials import Trial
from reports.load import RunTables, VideoTables
from reports.measures.columns import Floats, column

VALUES: Final = (*PROBABILITIES, "valence", "expressiveness")
"""Columns of a sample's values."""

OF_SAMPLES: Final = ("time_positive", "peak_valence")
"""Measures that can be made of single samples only, not of means of bins."""


@dataclass(frozen=True, slots=True)
class Samples:
    """A trial's samples: those taken from its start until before its end, in order of time.

    Attributes:
        start_ms: int64 (n,), from the trial's start.
        end_ms: int64 (n,), until when the sample stands: its `duration_ms` later, or the next sample or the trial's end
            if they come first.
        seen: bool (n,), whether the participant's face was seen.
        values: float64 (n, 9), :data:`VALUES`; NaN where it was not.
        counts: int64 (n,), samples with the face that each row is the mean of; None where each is a sample.
        bin_ms: length of the bins of time that rows are means of; None where they are samples.
    """

    start_ms: NDArray[np.int64]
    end_ms: NDArray[np.int64]
    seen: NDArray[np.bool_]
    values: Floats
    counts: NDArray[np.int64] | None = None
    bin_ms: int | None = None

    @property
    def n_seen(self) -> int:
        """Samples with the face."""
        return int(self.seen.sum() if self.counts is None else self.counts.sum())

    @property
    def seen_ms(self) -> int:
        """Time with the face."""
        return int((self.end_ms - self.start_ms)[self.seen].sum())

    @property
    def sampled_ms(self) -> int:
        """Time that was looked at."""
        return int((self.end_ms - self.start_ms).sum())


def read_samples(run: Run, trials: Sequence[Trial], table: Path) -> dict[int, Samples]:
    """The samples of the trials that count, by row of the table, in one pass over the run's files.

    Args:
        run: the run.
        trials: rows of its participants table; those excluded or unread are passed over.
        table: the participants table's file, for messages.

    Raises:
        RefusedError: two participants are the same face in a frame, a selector does not fit, or a file of the run is
            damaged.
    """
    if run.level == "tracks":
        from reports.groups.binned import read_binned

        return read_binned(run, trials, table)
    run.check_holds("faces")
    of_video = by_video(trials)
    tables = RunTables(run)
    sizes = {row["video_id"]: (row["width"], row["height"]) for row in tables.rows()}
    found: dict[int, Samples] = {}
    for video in tables.videos():
        if video.video_id in of_video:
            if video.problem is not None:
                raise RefusedError(f"{run.path}: {video.problem} Restore it, or exclude {video.video_id} in {table}")
            found |= _of_video(video, of_video[video.video_id], sizes[video.video_id], table)
    return found


def by_video(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """The trials that count, by the content that they are of."""
    found: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.excluded is None and trial.unread is None and trial.video_id is not None:
            found[trial.video_id].append(trial)
    return found


def times(frames: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When each of a video's samples begins and ends, int64 (n,)."""
    start = frames["timestamp_ms"].to_numpy().astype(np.int64)
    end = start + frames["duration_ms"].to_numpy()
    end[:-1] = np.minimum(end[:-1], start[1:])  # times are rounded down: two samples never share a moment
    return start, end


def _of_video(video: VideoTables, trials: list[Trial], size: tuple[Any, Any], table: Path) -> dict[int, Samples]:
    frames, faces = video.frames, video.faces
    assert frames is not None  # noqa: S101 - read_samples has looked
    assert faces is not None  # noqa: S101
    start, end = times(frames)
    face_time = faces["timestamp_ms"].to_numpy().astype(np.int64)
    values = np.stack([column(faces, name) for name in VALUES], axis=1)
    owner = np.full(faces.num_rows, -1)
    chosen: dict[Any, NDArray[np.int64]] = {}
    found = {}
    for trial in trials:
        if trial.person not in chosen:
            try:
                chosen[trial.person] = trial.person.choose(faces, *size)
            except ValueError as error:
                raise RefusedError(f"{table}: row {trial.row}, column person: {error}") from error
        mine = chosen[trial.person]
        mine = mine[(face_time[mine] >= trial.start_ms) & (face_time[mine] < trial.end_ms)]
        taken = mine[owner[mine] >= 0]
        if len(taken):
            other = next(one for one in trials if one.row == owner[taken[0]])
            raise RefusedError(
                f"{table}: row {trial.row}, column person: {trial.person} takes the same face as row {other.row} "
                f"({other.participant}, {other.person}) at {face_time[taken[0]]} ms; make the two differ"
            )
        owner[mine] = trial.row
        low, high = np.searchsorted(start, (trial.start_ms, trial.end_ms))
        at = np.searchsorted(start[low:high], face_time[mine])
        rows = np.full((high - low, len(VALUES)), np.nan)
        rows[at] = values[mine]
        found[trial.row] = Samples(
            start[low:high] - trial.start_ms,
            np.minimum(end[low:high], trial.end_ms) - trial.start_ms,
            np.isfinite(rows[:, 0]),
            rows,
        )
    return found
