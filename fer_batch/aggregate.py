"""Privacy level `aggregate`: from what a worker saw, in memory, to bins of time over everybody, before anything is
written.

Nothing about few people leaves this module. A bin in which no frame shows `min_people` faces says only that it is one;
means are taken over the faces of frames that show at least five, so that nobody makes up more than a fifth of one;
numbers of people are rounded, and nothing is summed over bins, so that no bin can be worked out from a total.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_batch.bins import Bins
from fer_batch.config import Privacy, RunConfig
from fer_batch.errors import VideoError
from fer_batch.probe import VideoInfo
from fer_batch.process import SampledFrame, SegmentResult
from fer_batch.schema import BINS, PROBABILITIES
from fer_batch.tables import FinalVideo, SegmentTables, ledger_row, length_ms, valence

FEWEST: Final = 5
"""No bin of fewer people is ever shown, and no frame of fewer faces counts in a mean."""

LEAST_MS: Final = 30_000
"""A bin of which less could be decoded is not shown: what is left of it would be finer than bins are."""

PRESENCE_STEP: Final = 0.05
"""With the share exact, and the number of frames known, faces could be counted."""


def binned(result: SegmentResult, config: RunConfig) -> SegmentTables:
    """The whole bins of one segment. Its time is 0: that which faces took would tell how many there were."""
    bins = Bins.of(config)
    assert bins is not None  # noqa: S101 - only runs with bins come here
    video, held = result.segment.video, result.segment.bins
    numbers = (
        range(held.first, held.end)
        if held is not None
        else range(bins.whole(video.duration_ms if result.end_ms is None else result.end_ms))
    )
    of_sample = np.array([(s.timestamp_ms - bins.start_ms) // bins.length_ms for s in result.samples], np.int64)
    ends = np.cumsum([0, *(len(sample.faces) for sample in result.samples)])
    rows = []
    for number in numbers:
        first, last = np.searchsorted(of_sample, [number, number + 1])
        samples = result.samples[first:last]
        about = {
            "video_id": video.video_id,
            "bin": number,
            "start_ms": bins.border_ms(number),
            "duration_ms": bins.length_ms,
        }
        rows.append(about | summary(samples, result.probabilities[ends[first] : ends[last]], config.privacy))
    table = pa.Table.from_pylist(rows, schema=BINS)
    return SegmentTables({"bins": table}, result.n_frames, result.n_decoded, result.broken_at_ms, 0.0, result.end_ms)


def summary(samples: list[SampledFrame], probabilities: np.ndarray, privacy: Privacy) -> dict[str, Any]:
    """What may be told of a bin: the columns of :data:`fer_batch.schema.BINS` from `n_sampled` on.

    Args:
        samples: the frames that were sampled in it.
        probabilities: float32 (their faces, 7), in the order of the faces.
        privacy: how many people there must be, and how their number is rounded.
    """
    lost = np.array([sample.reason == "decode_error" for sample in samples], bool)
    counts = np.array([len(sample.faces) for sample in samples], np.int64)
    most = int(counts.max(initial=0))
    told: dict[str, Any] = {"n_sampled": len(samples), "n_lost": int(lost.sum())}
    if not len(samples):
        return told | {"status": "not_sampled"}
    if 1000 * privacy.bin_s * (1 - lost.mean()) < LEAST_MS:
        return told | {"status": "damaged"}
    if most < max(FEWEST, privacy.min_people):
        return told | {"status": "too_few"}
    counted = probabilities[np.repeat(counts >= FEWEST, counts)].astype(np.float64)
    means = counted.mean(axis=0).round(3)
    return told | {
        "status": "shown",
        "people": (most + privacy.round_to // 2) // privacy.round_to * privacy.round_to,
        "presence": round(float(counts[~lost].mean()) / most / PRESENCE_STEP) * PRESENCE_STEP,
        **dict(zip(PROBABILITIES, means.tolist(), strict=True)),
        "valence": round(float(valence(counted).mean()), 3),
        "expressiveness": round(1 - float(means[-1]), 3),
    }


def binned_video(video: VideoInfo, parts: Sequence[SegmentTables], config: RunConfig, part_name: str) -> FinalVideo:
    """A video's bins and its ledger row, which counts no faces.

    Args:
        video: the video.
        parts: all of its segments' bins, by time.
        config: of the run.
        part_name: file that the rows will be written to.

    Raises:
        VideoError: bins are missing.
    """
    bins = Bins.of(config)
    assert bins is not None  # noqa: S101 - as above
    table = pa.concat_tables([part.tables["bins"] for part in parts])
    if table["bin"].to_pylist() != list(range(len(table))):
        raise VideoError("internal_error", "bins that were committed do not follow each other")
    row = ledger_row(
        video,
        parts,
        part_name,
        length_ms(video, parts),
        {
            "n_sampled": pc.sum(table["n_sampled"]).as_py() or 0,
            "sampled_ms": len(table) * bins.length_ms,
            "wall_s": None,
        },
        pc.sum(table["n_lost"]).as_py() or 0,
    )
    return FinalVideo({"bins": table}, row)
