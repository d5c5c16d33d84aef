"""How a run's progress is shown: one live line at a terminal, plain lines elsewhere, nothing for programs."""

from __future__ import annotations

from rich.console import Console
from rich.progress import TextColumn
from rich.table import Column

from fer_batch.page import counted
from fer_batch.progress import Progress
from jobs.live_line import LiveLine
from jobs.values import clock


class Display(LiveLine):
    """A run's; call it with each :class:`fer_batch.progress.Progress`.

    Attributes:
        withheld: how many files were left out so far, as a person in them was removed from the run.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # what comes last is cut off first
        super().__init__(console, quiet, TextColumn("{task.fields[detail]}", table_column=rest))
        self._phase = ""
        self.withheld = 0
        self._task = self._bar.add_task("starting", total=None, detail="")

    def __call__(self, progress: Progress) -> None:
        """Show it."""
        self.withheld = progress.withheld
        text = describe(progress)
        if self._live:
            total = progress.media_ms if progress.all_found and progress.media_ms else None
            self._bar.update(
                self._task,
                description=progress.phase,
                total=total,
                completed=progress.kept_ms + progress.done_ms,
                detail=text,
            )
            return
        self._plainly(f"{progress.phase}: {text}" if text else progress.phase, progress.phase != self._phase)
        self._phase = progress.phase


def describe(progress: Progress) -> str:
    """One line: videos, failures, time left, speed, most wanted first."""
    if progress.phase == "starting":
        return "workers and model"
    found = f"{progress.found}" if progress.all_found else f"{progress.found}+"
    failed = progress.counts.failed + progress.counts.partial
    noun = "video" if found == "1" else "videos"
    parts = [f"{progress.kept + progress.withheld + progress.n_videos}/{found} {noun}"]
    speed = progress.done_ms / 1000 / progress.elapsed_s if progress.elapsed_s > 0 else 0.0
    if failed:
        parts.append(f"{failed} failed or partial")
    if progress.all_found and speed > 0 and progress.phase == "running":
        parts.append(f"{clock(int((progress.media_ms - progress.kept_ms - progress.done_ms) / speed))} left")
    if progress.kept:
        parts.append(f"{progress.kept} kept")
    if progress.withheld:
        parts.append(f"{progress.withheld} left out")
    if progress.kept_ms:
        parts.append(f"{clock(progress.kept_ms)} of unfinished ones kept")
    parts.append(counted(progress.n_units, "unit"))
    if progress.n_faces is not None:
        parts.append(counted(progress.n_faces, "face"))
    if progress.elapsed_s > 0 and progress.n_frames:
        parts.append(f"{progress.n_frames / progress.elapsed_s:.0f} frames/s")
        parts.append(f"{speed:.1f}x real time")
    return ", ".join(parts)
