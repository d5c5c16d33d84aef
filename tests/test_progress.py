from __future__ import annotations

import io
import re
from dataclasses import replace

from rich.console import Console

from fer_batch.commit import Counts
from fer_batch.progress import Progress
from jobs.progress import Display, describe

HALF = Progress(
    "running",
    counts=Counts(ok=3, failed=1),
    kept=1,
    n_videos=3,
    found=10,
    all_found=True,
    media_ms=120_000,
    done_ms=60_000,
    n_units=2,
    n_frames=120,
    n_faces=200,
    elapsed_s=10.0,
)


def test_one_line_says_videos_failures_speed_and_time_left() -> None:
    assert describe(HALF) == (
        "4/10 videos, 1 failed or partial, 0:10 left, 1 kept, 2 units, 200 faces, 12 frames/s, 6.0x real time"
    )


def test_what_an_earlier_start_committed_of_a_video_is_told_and_not_waited_for() -> None:
    resumed = replace(HALF, kept_ms=30_000, counts=Counts(ok=4))
    assert describe(resumed) == (
        "4/10 videos, 0:05 left, 1 kept, 0:30 of unfinished ones kept, 2 units, 200 faces, 12 frames/s, 6.0x real time"
    )


def test_what_is_not_known_yet_is_not_guessed() -> None:
    assert describe(Progress("running", found=3)) == "0/3+ videos, 0 units, 0 faces"


def shown(*, terminal: bool, quiet: bool = False, width: int = 120) -> str:
    out = io.StringIO()
    with Display(Console(file=out, force_terminal=terminal, width=width), quiet=quiet) as display:
        for progress in (
            Progress("starting"),
            HALF,
            HALF,
            Progress("finishing", counts=Counts(ok=10), n_videos=10, found=10),
        ):
            display(progress)
    return out.getvalue()


def test_a_narrow_terminal_shows_what_is_wanted_most() -> None:
    out = io.StringIO()
    with Display(Console(file=out, force_terminal=True, width=80)) as display:
        display(HALF)
    seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert re.search(r"running [━╺]{10}  50% 4/10 videos, 1 failed or partial, 0:10 left, .*…", seen)


def test_plain_lines_are_not_broken() -> None:
    assert len(shown(terminal=False, width=40).splitlines()) == 3


def test_plain_lines_where_there_is_no_terminal() -> None:
    lines = shown(terminal=False).splitlines()
    assert [line.split(":")[0] for line in lines] == ["starting", "running", "finishing"]
    assert "\x1b" not in shown(terminal=False)


def test_a_live_line_at_a_terminal_and_nothing_for_programs() -> None:
    assert "10/10+ videos" in shown(terminal=True)
    assert shown(terminal=False, quiet=True) == ""
