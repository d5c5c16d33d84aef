"""Go back to frames that a run has looked at: find the video again, and decode just those frames, as the run did.

For whoever must see what the tables speak of. Nothing is sought by index or frame rate: the same probe, cuts, sampling
rule and reader lead to a frame's exact time, so the picture is the one that was scored.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from fer_batch.config import Sampling
from fer_batch.container import check_readable
from fer_batch.decode import FrameSample, SegmentReader
from fer_batch.errors import VideoError
from fer_batch.object_path import as_path
from fer_batch.path_names import is_pseudonym
from fer_batch.plan import Segment
from fer_batch.probe import VideoInfo, fingerprint, probe


def find_again(rows: Iterable[Mapping[str, Any]]) -> VideoInfo:
    """Probe a video that is in the ledger, if it is still the same file.

    Args:
        rows: ledger rows that share one `video_id`: the file and its copies. The first that is unchanged is taken.

    Raises:
        VideoError: none is there any more (``vanished``), or each holds something else by now (``changed``), or what
            probing raises.
    """
    reasons: list[VideoError] = []
    for row in rows:
        path = as_path(row["path"] if row["path_bytes"] is None else os.fsdecode(row["path_bytes"]))
        try:
            status = check_readable(path)
            if fingerprint(path, status.st_size) == row["video_id"]:
                return probe(path)
            reasons.append(VideoError("changed", "the file has another content than when it was run"))
        except VideoError as error:
            where = "the file is not where it was when it was run; put it back there"
            if is_pseudonym(row["path"]):
                where = "the run has pseudonyms in the place of paths, so that nobody can go back to its files"
            gone = VideoError("vanished", where)
            reasons.append(gone if error.code == "vanished" else error)
        except OSError as error:
            reasons.append(VideoError("unreadable", f"cannot be read: {error.strerror}"))
    if not reasons:
        raise VideoError("vanished", "the ledger does not name the video's file")
    raise reasons[0]


def frames_again(video: VideoInfo, sampling: Sampling, frames: Mapping[int, int]) -> Iterator[FrameSample]:
    """Decode some of the frames that `sampling` chose from a video, in display order.

    Args:
        video: from :func:`find_again`.
        sampling: the run's.
        frames: `frame_index` to `timestamp_ms`, as the tables have them.

    Yields:
        Each frame's sample; its image is None where the data is damaged.

    Raises:
        VideoError: ``changed`` if a frame has another time than the tables say or is not there.
    """
    starts = [cut.frame_index for cut in video.cuts]
    ends = [*(cut.pts for cut in video.cuts[1:]), video.end_pts]
    wanted: dict[int, dict[int, int]] = defaultdict(dict)
    for frame_index in sorted(frames):
        wanted[bisect_right(starts, frame_index) - 1][frame_index] = frames[frame_index]
    bare = replace(video, cuts=())
    for cut, inside in wanted.items():
        segment = Segment(bare, video.cuts[cut], ends[cut], is_whole=False)
        # Nothing after the last wanted frame need be decoded.
        until = replace(sampling, end_ms=max(inside.values()) + 1)
        for sample in SegmentReader(segment, until):
            if inside.get(sample.frame_index) == sample.timestamp_ms:
                del inside[sample.frame_index]
                yield sample
            if not inside:
                break
        if inside:
            raise VideoError("changed", f"no frame was found at {min(inside.values())} ms, where the run had one")
