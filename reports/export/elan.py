"""ELAN files (.eaf), one a video: a tier a track with its apparent expressions, and a tier for time without a face.

ELAN is the annotation tool of the Max Planck Institute for Psycholinguistics; pympi-ling writes its files. A track's
samples become segments by this rule, in this order:

1. Consecutive samples of the same emotion are one segment. Samples lie at most half a sample's time apart; where the
   track is not seen for longer, the segment ends.
2. Two segments of the same emotion with nothing between them but time in which the track is not seen, up to
   `max_gap_ms`, are one.
3. Segments shorter than `min_segment_ms` are left out.
4. Step 2 again, over what step 3 has left out.
"""

from __future__ import annotations

import mimetypes
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from fer_batch.schema import EMOTIONS
from fer_batch.store import atomic_write
from reports import measures
from reports.export.columns import LEVELS
from reports.export.needs import need
from reports.export.tables import Committed, Content

MIN_SEGMENT_MS: Final = 200
"""Shorter segments are left out: at 2 samples a second none is, at 25 those of up to four samples are."""

MAX_GAP_MS: Final = 500
"""Segments of one emotion up to this far apart are one."""

NO_FACE_TIER: Final = "no_face"

_NAME_BYTES: Final = 120
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)

_NEEDED: Final = ["timestamp_ms", "duration_ms", "track_id", "emotion"]


@dataclass(frozen=True)
class Segment:
    """A stretch of time with one label."""

    start_ms: int
    end_ms: int
    label: str


def need_pympi() -> None:
    """
    Raises:
        RefusedError: pympi-ling is not installed.
    """  # fmt: skip
    need("pympi", "--format elan")


def eaf_names(contents: Sequence[Content]) -> dict[str, str]:
    """The name of each content's file, by video_id: the video's own, with what file systems dislike replaced by ``_``.

    Where several contents would have the same name, whatever the case, each has its id's beginning added.
    """
    stems = {content.video_id: _plain(PurePosixPath(content.path).stem) for content in contents}
    count = Counter(stem.casefold() for stem in stems.values())
    found = {
        video_id: f"{stem}-{video_id[:10]}" if count[stem.casefold()] > 1 else stem for video_id, stem in stems.items()
    }
    # A name may end in another's id, and two ids may begin alike; whole ids differ.
    count = Counter(name.casefold() for name in found.values())
    return {
        video_id: f"{stems[video_id]}-{video_id}.eaf" if count[name.casefold()] > 1 else f"{name}.eaf"
        for video_id, name in found.items()
    }


def _plain(stem: str) -> str:
    normal = unicodedata.normalize("NFC", stem)
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in normal).strip("._-")
    kept = kept.encode()[:_NAME_BYTES].decode("utf-8", "ignore").rstrip("._-") or "video"
    return f"_{kept}" if _DEVICES.match(kept) else kept


def segments(
    start_ms: np.ndarray, duration_ms: np.ndarray, labels: Sequence[str], *, min_segment_ms: int, max_gap_ms: int
) -> list[Segment]:
    """The segments of one track by the rule above.

    Args:
        start_ms: int64 (samples,), ascending.
        duration_ms: int64 (samples,).
        labels: of each sample.
        min_segment_ms: from 0.
        max_gap_ms: from 0.
    """
    pieces: list[Segment] = []
    for index, label in enumerate(labels):
        start, end = int(start_ms[index]), int(start_ms[index] + duration_ms[index])
        if pieces:
            last = pieces[-1]
            slack = int(duration_ms[index - 1]) // 2
            if start <= last.end_ms + slack:
                # A sample comes up to a frame late: no slit, and no overlap with the next.
                pieces[-1] = Segment(last.start_ms, max(start, last.start_ms), last.label)
                if last.label == label:
                    pieces[-1] = Segment(last.start_ms, max(end, start), label)
                    continue
        pieces.append(Segment(start, end, label))
    joined = _bridged(pieces, max_gap_ms)
    kept = [s for s in joined if s.end_ms - s.start_ms >= max(min_segment_ms, 1)]
    return _bridged(kept, max_gap_ms)


def _bridged(pieces: list[Segment], max_gap_ms: int) -> list[Segment]:
    joined: list[Segment] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last and last.label == piece.label and piece.start_ms - last.end_ms <= max_gap_ms:
            joined[-1] = Segment(last.start_ms, piece.end_ms, last.label)
        else:
            joined.append(piece)
    return joined


def write_eaf(
    path: Path, run: Committed, content: Content, *, min_segment_ms: int = MIN_SEGMENT_MS, max_gap_ms: int = MAX_GAP_MS
) -> int:
    """Write a content's file, atomically.

    Returns:
        The number of segments on the tracks' tiers.

    Raises:
        RefusedError: pympi-ling is not installed.
        StoppedError: the tables cannot be read, or the file not be written.
    """
    elan = need("pympi.Elan", "--format elan")
    seen = pa.concat_tables([batch.select(_NEEDED) for batch in run.rows_of("faces", content)] or [_nothing()])
    frames = pa.concat_tables(run.rows_of("frames", content))
    made = _document(elan, run, content, path.parent)
    tracks, count = seen["track_id"].to_numpy(), 0
    for track in np.unique(tracks).tolist():
        one = seen.filter(pa.array(tracks == track))
        found = segments(
            one["timestamp_ms"].to_numpy().astype(np.int64),
            one["duration_ms"].to_numpy().astype(np.int64),
            one["emotion"].cast(pa.string()).to_pylist(),
            min_segment_ms=min_segment_ms,
            max_gap_ms=max_gap_ms,
        )
        found = _within(found, content.duration_ms)
        tier = f"track_{track}"
        made.add_tier(tier, ling="apparent_expression", part=f"track {track}", ann=_annotator(run))
        for segment in found:
            made.add_annotation(tier, segment.start_ms, segment.end_ms, segment.label)
        count += len(found)
    made.add_tier(NO_FACE_TIER, ling="reason", ann=_annotator(run))
    rows = [row for row in measures.conditions(frames).to_pylist() if row["condition"] != "face"]
    without = [Segment(row["start_ms"], row["end_ms"], row["condition"]) for row in rows]
    for segment in _within(without, content.duration_ms):
        made.add_annotation(NO_FACE_TIER, segment.start_ms, segment.end_ms, segment.label)
    made.add_property("fer-batch.rule", f"segments from {min_segment_ms} ms, gaps up to {max_gap_ms} ms bridged")
    made.add_property("fer-batch.video_id", content.video_id)
    with atomic_write(path) as file:
        file.write(elan.to_string(made, encoding="UTF-8"))
    return count


def _within(found: list[Segment], duration_ms: int | None) -> list[Segment]:
    """The segments without what lies after the video's end: the last sample may stand for more than is left of it."""
    cut = [replace(s, end_ms=s.end_ms if duration_ms is None else min(s.end_ms, duration_ms)) for s in found]
    return [s for s in cut if s.end_ms > s.start_ms]


def _document(elan: Any, run: Committed, content: Content, folder: Path) -> Any:
    """A document with the video, the vocabularies and no tier."""
    made = elan.Eaf(author="fer-batch")
    made.remove_tier("default")
    # When the tables were last written, so that the same tables make the same file.
    made.adocument["DATE"] = str(run.info["updated"] or run.info["created"] or made.adocument["DATE"])
    made.header |= {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"}
    url, relative = media_urls(content, folder)
    kind = mimetypes.guess_type(content.path)[0] or "unknown"
    made.add_linked_file(url, relpath=relative, mimetype=kind)
    made.add_language("eng", "http://cdb.iso.org/lg/CDB-00138502-001", "English (eng)")
    vocabularies = {
        "apparent_expression": tuple((emotion, None) for emotion in EMOTIONS),
        "reason": LEVELS["reason"],
    }
    for name, entries in vocabularies.items():
        made.add_controlled_vocabulary(name)
        made.add_cv_description(name, "eng", f"fer-batch: {name.replace('_', ' ')}")
        for value, meaning in entries:
            made.add_cv_entry(name, f"cve_{value}", [(value, "eng", meaning)])
        made.add_linguistic_type(name)
        made.linguistic_types[name]["CONTROLLED_VOCABULARY_REF"] = name
    made.linguistic_types.pop("default-lt")
    return made


def media_urls(content: Content, folder: Path) -> tuple[str, str | None]:
    """Where the video lies: as a URL, and relative to `folder`; bytes that are not plain are percent-encoded."""
    if re.match(r"[a-z][a-z0-9]+://", content.path):
        return content.path, None
    place = os.fsdecode(content.path_bytes) if content.path_bytes is not None else content.path
    absolute = os.path.abspath(place)
    relative = os.path.relpath(absolute, os.path.abspath(folder))
    if not relative.startswith("."):
        relative = f"./{relative}"
    return f"file://{quote(os.fsencode(absolute))}", quote(os.fsencode(relative))


def _annotator(run: Committed) -> str:
    return f"fer-batch {run.info['fer_batch_version'] or ''}".strip()


def _nothing() -> pa.Table:
    kinds = (pa.int64(), pa.int32(), pa.int32(), pa.string())
    return pa.schema(list(zip(_NEEDED, kinds, strict=True))).empty_table()
