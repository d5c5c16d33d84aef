"""Measures of one video as a whole: its summary, its expressions, its tracks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_batch.schema import EMOTIONS, PROBABILITIES
from reports.measures.columns import Floats, column, probabilities, weighted
from reports.measures.stretches import NOT_SEEN, conditions


def _strongest(means: Floats | None) -> tuple[str | None, float | None]:
    if means is None:
        return None, None
    best = int(np.argmax(means))
    return EMOTIONS[best], float(means[best])


def expressions(frames: pa.Table) -> pa.Table:
    """A row an emotion: the mean over the time with a face, and the highest sample with its time; null without one."""
    seen = frames.filter(pa.array(column(frames, "n_faces") > 0))
    if seen.num_rows == 0:
        unknown = pa.nulls(len(EMOTIONS), pa.float64())
        times = unknown.cast(pa.int64())
        return pa.table({"emotion": EMOTIONS, "mean": unknown, "highest": unknown, "highest_ms": times})
    values = probabilities(seen)
    at = values.argmax(axis=0)
    return pa.table(
        {
            "emotion": EMOTIONS,
            "mean": weighted(values, column(seen, "duration_ms")),
            "highest": values.max(axis=0),
            "highest_ms": seen["timestamp_ms"].to_numpy()[at],
        }
    )


def samples_of(one: pa.Table) -> pa.Table:
    """One track's rows of the table `faces`, with the columns that a table of samples has."""
    count = one.num_rows
    columns = {name: one[name] for name in ("timestamp_ms", "duration_ms", *PROBABILITIES)}
    columns["n_faces"] = pa.array(np.ones(count, np.int16))
    columns["reason"] = pa.nulls(count, pa.string())
    return pa.table(columns)


def of_track(frames: pa.Table, faces: pa.Table, track_id: int) -> pa.Table:
    """The video's samples as they are for one track: `n_faces` is 1 where it is seen, the probabilities are its own.

    Where it is not seen the reason is the frame's own, or :data:`reports.measures.NOT_SEEN` where others are.
    """
    of_frames = pc.is_in(faces["timestamp_ms"], value_set=frames["timestamp_ms"].combine_chunks())
    mine = faces.filter(pc.and_(pc.equal(faces["track_id"], track_id), of_frames))
    time = frames["timestamp_ms"].to_numpy()
    at = np.searchsorted(time, mine["timestamp_ms"].to_numpy())
    values = np.full((frames.num_rows, len(PROBABILITIES)), np.nan)
    values[at] = probabilities(mine)
    seen = np.zeros(frames.num_rows, dtype=bool)
    seen[at] = True
    reasons = [None if s else r or NOT_SEEN for s, r in zip(seen, frames["reason"].to_pylist(), strict=True)]
    return pa.table(
        {
            "timestamp_ms": frames["timestamp_ms"],
            "duration_ms": frames["duration_ms"],
            "n_faces": pa.array(seen.astype(np.int16)),
            **{
                name: pa.array(values[:, i].astype(np.float32), from_pandas=True)
                for i, name in enumerate(PROBABILITIES)
            },
            "reason": pa.array(reasons, pa.string()),
        }
    )


def tracks(faces: pa.Table, sampled_ms: int | None) -> pa.Table:
    """A row a track: when it was seen, in how many samples, for which share of the sampled time, and its means."""
    means_of = ("valence", "expressiveness", "face_size", "det_score", "sharpness")
    names = ("track_id", "first_ms", "last_ms", "samples", "seen_ms", "coverage", *PROBABILITIES, "emotion", "share",
             *means_of)  # fmt: skip
    rows: list[dict[str, Any]] = []
    ids = faces["track_id"].to_numpy()
    for track_id in np.unique(ids):
        one = faces.filter(pa.array(ids == track_id))
        start, length = one["timestamp_ms"].to_numpy(), column(one, "duration_ms")
        means = weighted(probabilities(one), length)
        emotion, share = _strongest(means)
        seen = int(length.sum())
        rows.append(
            {
                "track_id": int(track_id),
                "first_ms": int(start[0]),
                "last_ms": int(start[-1] + length[-1]),
                "samples": one.num_rows,
                "seen_ms": seen,
                "coverage": seen / sampled_ms if sampled_ms else None,
                **{name: float(value) for name, value in zip(PROBABILITIES, means, strict=True)},
                "emotion": emotion,
                "share": share,
                **{name: float(weighted(column(one, name), length)) for name in means_of},
            }
        )
    return pa.Table.from_pylist(rows) if rows else pa.table({name: pa.nulls(0) for name in names})


def summary(frames: pa.Table, faces: pa.Table) -> pa.Table:
    """One row for one video: its times by condition, and the mean of each probability by time and by face."""
    means = expressions(frames)["mean"].to_pylist()
    by_time = None if means[0] is None else np.array(means)
    by_face = probabilities(faces).mean(axis=0) if faces.num_rows else None
    stretches = conditions(frames)
    length = column(stretches, "end_ms") - column(stretches, "start_ms")
    names = stretches["condition"].to_pylist()
    without = [(float(ms), i) for i, (ms, name) in enumerate(zip(length, names, strict=True)) if name == "no_face"]
    longest = max(without, key=lambda pair: pair[0], default=None)
    weights = column(frames, "duration_ms")
    seen = column(frames, "n_faces") > 0
    reasons = np.array(["" if r is None else r for r in frames["reason"].to_pylist()], dtype=object)
    emotion, share = _strongest(by_time)
    row: dict[str, Any] = {
        "n_sampled": frames.num_rows,
        "n_faces": faces.num_rows,
        "most_faces": int(column(frames, "n_faces").max()) if frames.num_rows else 0,
        "sampled_ms": int(weights.sum()),
        "with_face_ms": int(weights[seen].sum()),
        **{f"{name}_ms": int(weights[~seen & (reasons == name)].sum()) for name in ("too_small", "decode_error")},
        "longest_gap_ms": None if longest is None else int(longest[0]),
        "longest_gap_at_ms": None if longest is None else stretches["start_ms"][longest[1]].as_py(),
        "emotion": emotion,
        "share": share,
    }
    row["no_face_ms"] = row["sampled_ms"] - row["with_face_ms"] - row["too_small_ms"] - row["decode_error_ms"]
    for index, name in enumerate(EMOTIONS):
        row[f"time_{name}"] = None if by_time is None else float(by_time[index])
        row[f"face_{name}"] = None if by_face is None else float(by_face[index])
    return pa.Table.from_pylist([row])
