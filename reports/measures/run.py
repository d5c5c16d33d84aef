"""Measures of a whole run: over the ledger, and over the summaries of its videos."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from fer_batch.schema import EMOTIONS
from reports.measures.columns import column


def distribution(summaries: pa.Table) -> pa.Table:
    """A row an emotion over many videos' summaries: each video counting alike, and each face counting alike.

    Both means come with a 95 % interval (`_low`, `_high`; null below two videos) that treats the videos as a sample of
    more videos like them: Student's t for the mean of the videos' means, and for the mean over faces the same with the
    variance of a ratio over clusters, since the faces of a video are not independent of each other (Cochran, Sampling
    Techniques, 1977, section 2.11). `q05` to `q95` are quantiles of the videos' own means.
    """
    seen = summaries.filter(pa.array(~np.isnan(column(summaries, "time_angry"))))
    count = seen.num_rows
    faces = column(seen, "n_faces")
    columns: dict[str, list[float | None]] = {
        f"{kind}{end}": [] for kind in ("by_video", "by_face") for end in ("", "_low", "_high")
    }
    quantiles = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
    columns |= {name: [] for name in quantiles}
    margin = _t95(count - 1) if count > 1 else None
    for name in EMOTIONS:
        by_time, by_face = column(seen, f"time_{name}"), np.nan_to_num(column(seen, f"face_{name}"))
        for kind, mean, error in (("by_video", *_mean(by_time)), ("by_face", *_ratio(by_face, faces))):
            known = mean is not None and margin is not None and error is not None
            columns[kind].append(mean)
            columns[f"{kind}_low"].append(max(0.0, mean - margin * error) if known else None)  # type: ignore[operator]
            columns[f"{kind}_high"].append(min(1.0, mean + margin * error) if known else None)  # type: ignore[operator]
        for key, share in quantiles.items():
            columns[key].append(float(np.quantile(by_time, share)) if count else None)
    return pa.table({"emotion": EMOTIONS, **{key: pa.array(values, pa.float64()) for key, values in columns.items()}})


def _t95(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))


def _mean(values: np.ndarray) -> tuple[float | None, float | None]:
    """Mean and its standard error."""
    if not len(values):
        return None, None
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def _ratio(means: np.ndarray, sizes: np.ndarray) -> tuple[float | None, float | None]:
    """Mean over the members of clusters, given each cluster's mean and size, and its linearised standard error."""
    total = sizes.sum()
    if not total:
        return None, None
    mean = float((means * sizes).sum() / total)
    if len(means) < 2:
        return mean, None
    residuals = sizes * (means - mean)
    return mean, float(np.sqrt(len(means) / (len(means) - 1) * (residuals**2).sum()) / total)


def totals(ledger: pa.Table) -> pa.Table:
    """One row over a ledger: files by status; times and counts of distinct contents, so that a copy counts once."""
    rows = ledger.select(
        ["video_id", "status", "duration_ms", "n_sampled", "n_faces", "n_tracks", "sampled_ms", "with_face_ms"]
    ).to_pylist()
    distinct: dict[str, dict[str, Any]] = {}
    for found in rows:
        if found["video_id"] is not None and (found["video_id"] not in distinct or found["n_sampled"] is not None):
            distinct[found["video_id"]] = found
    row: dict[str, Any] = {"files": len(rows)}
    for status in ("ok", "partial", "failed"):
        row[status] = sum(r["status"] == status for r in rows)
    row["copies"] = sum(r["video_id"] is not None for r in rows) - len(distinct)
    for name in ("duration_ms", "n_sampled", "n_faces", "n_tracks", "sampled_ms", "with_face_ms"):
        row[name] = sum(r[name] or 0 for r in distinct.values())
    row["coverage"] = row["with_face_ms"] / row["sampled_ms"] if row["sampled_ms"] else None
    return pa.Table.from_pylist([row])
