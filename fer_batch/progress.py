"""How far a run is: what the engine tells whoever watches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fer_batch.commit import Counts
from fer_batch.process import Seconds


@dataclass(frozen=True)
class Progress:
    """How far a run is, as told to `on_progress`.

    Attributes:
        phase: what is going on.
        counts: of all videos in the ledger, those kept from earlier starts included.
        kept: videos that were done before this start.
        withheld: files left out, as a person in them was removed from the run.
        n_videos: videos done in this start, well or not.
        found: videos found so far; all of them once `all_found`.
        passed_over: files that are no videos.
        media_ms, done_ms: length of the videos to do in this start, as far as known, and how much of it is done.
        kept_ms: length of those parts of unfinished videos that an earlier start committed.
        n_units: units done in this start.
        n_frames, n_faces: sampled in this start; at privacy level ``aggregate`` faces are not counted: None.
        elapsed_s: since the start.
        seconds: workers' time by stage.
    """

    phase: Literal["starting", "running", "finishing"]
    counts: Counts = field(default_factory=Counts)
    kept: int = 0
    withheld: int = 0
    n_videos: int = 0
    found: int = 0
    all_found: bool = False
    passed_over: int = 0
    media_ms: int = 0
    done_ms: int = 0
    kept_ms: int = 0
    n_units: int = 0
    n_frames: int = 0
    n_faces: int | None = 0
    elapsed_s: float = 0.0
    seconds: Seconds = field(default_factory=Seconds)
