"""Draws a stratified sample of a run's faces, with each face's known chance of being drawn.

The strata are the classes that the model named, each with about the same number of faces, so that rare classes get
enough. Within a class the unit that is drawn is a *stretch*: the faces of one track that fall into the same
`STRETCH_MS` and have that class. A stretch is drawn with a probability in proportion to its faces, by systematic
sampling along videos, tracks and time (Madow 1949), which spreads the sample over all of them; one of its faces is
then drawn at random. So no two faces of one stretch, nearly the same picture, are ever both in the sample, and every
face has a chance ``p = min(1, c m) / m`` (m faces in its stretch, c one constant a class). Weights 1 / p make
estimates for the whole run unbiased (Horvitz & Thompson 1952; Särndal, Swensson & Wretman 1992, chapter 3).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_batch.errors import RefusedError
from fer_batch.schema import EMOTIONS, PROBABILITIES
from fer_batch.store import MEND, Run, read_table

STRETCH_MS: Final = 2000
"""Faces of one track that lie within this time and have the same class count as one stretch: an expression rarely
lasts longer, and pictures closer than this are much alike."""

COLUMNS: Final = (
    "video_id",
    "frame_index",
    "timestamp_ms",
    "face_index",
    "track_id",
    "x",
    "y",
    "w",
    "h",
    *PROBABILITIES,
    "emotion",
    "confidence",
)
"""Columns of the table `faces` that the sample keeps."""

_GROUPING: Final = ("video_id", "timestamp_ms", "track_id", "emotion")


@dataclass(frozen=True)
class Sample:
    """A sample of a run's faces.

    Attributes:
        sample_id: a letter and eight hexadecimal digits, from what was drawn; says nothing of it.
        faces: a row a face in random order: `item` (its id for coders), :data:`COLUMNS`, `inclusion` (its probability
            of being drawn).
        n_faces: faces of each class in the run, in the order of ``EMOTIONS``.
        n_stretches: stretches of each class in the run.
    """

    sample_id: str
    faces: pa.Table
    n_faces: tuple[int, ...]
    n_stretches: tuple[int, ...]


def draw(run: Run, n: int, seed: int) -> Sample:
    """Draw about `n` faces; fewer where the run has fewer stretches. Reads the faces twice, a file at a time.

    The same folder, `n` and `seed` give the same sample.

    Raises:
        RefusedError: the run has no face, or a file of its faces is missing.
    """
    sizes = [np.zeros(1, np.int64) for _ in EMOTIONS]  # how many stretches have 0, 1, 2, ... faces
    for rows in _parts(run, _GROUPING):
        found = _stretches(rows)
        for stratum, so_far in enumerate(sizes):
            more = np.bincount(found.length[found.stratum == stratum])
            longer, shorter = (more, so_far) if len(more) > len(so_far) else (so_far, more)
            sizes[stratum] = longer.copy()
            sizes[stratum][: len(shorter)] += shorter
    n_stretches = np.array([counts.sum() for counts in sizes])
    if not n_stretches.sum():
        raise RefusedError(f"{run.path} holds no face, so there is nothing to code")
    scales = [rate(counts, wanted) for counts, wanted in zip(sizes, allocate(n_stretches, n), strict=True)]
    random = np.random.default_rng(seed)
    selector = _Selector(scales, random)
    chosen = pa.concat_tables([selector.choose(rows) for rows in _parts(run, COLUMNS)])
    chosen = chosen.take(random.permutation(len(chosen)))
    sample_id = _sample_id(chosen, seed)
    items = [f"{sample_id}-{number:04d}" for number in range(1, len(chosen) + 1)]
    return Sample(
        sample_id,
        chosen.add_column(0, "item", pa.array(items)),
        tuple(int(np.arange(len(counts)) @ counts) for counts in sizes),
        tuple(int(count) for count in n_stretches),
    )


def allocate(available: NDArray[Any], n: int) -> list[int]:
    """Share `n` equally among strata; what one cannot use goes to the others.

    Args:
        available: int (strata,), how many units each has.
        n: how many to draw in all.

    Returns:
        How many to draw of each, at most what it has; the sum is `n` or all there is.
    """
    shares = np.zeros(len(available), np.int64)
    left = min(n, int(available.sum()))
    while left:
        open_strata = np.flatnonzero(shares < available)
        each, extra = divmod(left, len(open_strata))
        more = np.full(len(open_strata), each)
        more[:extra] += 1
        more = np.minimum(more, (available - shares)[open_strata])
        shares[open_strata] += more
        left -= int(more.sum())
    return [int(share) for share in shares]


def rate(counts: NDArray[Any], wanted: int) -> float:
    """The constant c with which ``min(1, c m)``, summed over stretches of m faces, is `wanted`.

    Args:
        counts: ``counts[m]`` stretches have m faces.
        wanted: how many stretches to draw.

    Returns:
        c; infinite where all are drawn, 0 where none is.
    """
    if wanted >= counts.sum():
        return float("inf") if wanted else 0.0
    length = np.arange(len(counts))
    certain = np.zeros(len(counts), bool)
    while True:
        scale = (wanted - counts[certain].sum()) / (counts * length)[~certain].sum()
        sure = ~certain & (counts > 0) & (scale * length >= 1)
        if not sure.any():
            return float(scale)
        certain |= sure


@dataclass(frozen=True)
class _Stretches:
    """A table's stretches, ordered by stratum, video, track and time. `order[start : start + length]` are the rows."""

    order: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    stratum: NDArray[np.int64]


def _stretches(rows: pa.Table) -> _Stretches:
    stratum = pc.index_in(pc.cast(rows["emotion"], pa.string()), pa.array(EMOTIONS)).to_numpy().astype(np.int64)
    video = pc.index_in(rows["video_id"], rows["video_id"].unique()).to_numpy().astype(np.int64)
    time = rows["timestamp_ms"].to_numpy()
    keys = np.stack([stratum, video, rows["track_id"].to_numpy(), time // STRETCH_MS])
    order = np.lexsort((time, *keys[::-1]))
    ordered = keys[:, order]
    is_start = np.r_[True, (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)][: len(order)]
    start = np.flatnonzero(is_start)
    return _Stretches(order, start, np.diff(np.r_[start, len(order)]), ordered[0, start])


class _Selector:
    """Systematic sampling along all parts: a point is laid at u, u + 1, ... on the line of summed probabilities."""

    def __init__(self, scales: list[float], random: np.random.Generator) -> None:
        self._scales = np.array(scales)
        self._random = random
        self._offset = random.random(len(scales))
        self._reached = np.zeros(len(scales))

    def choose(self, rows: pa.Table) -> pa.Table:
        """The rows of the faces drawn from one part, with their inclusion probability."""
        found = _stretches(rows)
        chance = np.minimum(1.0, self._scales[found.stratum] * found.length)
        picks: list[NDArray[np.int64]] = []
        for stratum, offset in enumerate(self._offset):
            mine = np.flatnonzero(found.stratum == stratum)
            if not len(mine):
                continue
            line = np.cumsum(np.r_[self._reached[stratum], chance[mine]])
            points = np.ceil(line - offset)
            picks.append(mine[points[1:] > points[:-1]])
            self._reached[stratum] = line[-1]
        picked = np.concatenate(picks) if picks else np.zeros(0, np.int64)
        within = self._random.integers(0, found.length[picked])
        faces = rows.take(found.order[found.start[picked] + within])
        return faces.append_column("inclusion", pa.array(chance[picked] / found.length[picked], pa.float64()))


def _parts(run: Run, columns: tuple[str, ...]) -> Iterator[pa.Table]:
    """The run's faces, a file at a time; only rows of which the ledger says that they lie there."""
    ledger = run.videos()
    ids: dict[str, str] = dict(zip(ledger["video_id"].to_pylist(), ledger["part"].to_pylist(), strict=True))
    parts: dict[str, list[str]] = defaultdict(list)
    for video_id, part in ids.items():
        if video_id is not None and part is not None:
            parts[part].append(video_id)
    for part in sorted(parts):
        file = run.faces_dir / part
        if not file.is_file():
            raise RefusedError(f"{file} is missing, which the ledger names; {MEND}")
        rows = read_table(file, list(columns)).filter(pc.field("video_id").isin(parts[part]))
        if len(rows):
            yield rows


def _sample_id(chosen: pa.Table, seed: int) -> str:
    digest = hashlib.blake2b(str(seed).encode(), digest_size=4)
    for row in chosen.select(["video_id", "frame_index", "face_index", "emotion", "confidence"]).to_pylist():
        digest.update(repr(tuple(row.values())).encode())
    return "s" + digest.hexdigest()
