"""The driver: hands out tasks, keeps count of what came of them, enters in the ledger what is given up.

It holds ids, counts and the videos that wait for a worker, and knows nothing of where tasks are done: that is a
:class:`Workers`, on Ray (:mod:`fer_batch.engine`) or, in tests, in this very process.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, Protocol

from fer_batch.commit import Counts, commit_rows, committed_rows, forget_segments
from fer_batch.errors import VideoError
from fer_batch.names import printable
from fer_batch.object_path import AnyPath
from fer_batch.plan import Unit
from fer_batch.probe import VideoInfo
from fer_batch.process import RunContext, Seconds
from fer_batch.progress import Progress
from fer_batch.schedule import MAX_ATTEMPTS, Schedule
from fer_batch.tables import failed_row, path_text
from fer_batch.watchdog import ended
from fer_batch.worker import Probed, UnitDone, committed_before

log = logging.getLogger("fer_batch")

PROBE_CHUNK = 16
"""Files probed by one task."""

MAX_MOVES = 10
"""How often a task is begun again because its node was lost, before it is taken to be the reason."""


@dataclass(frozen=True)
class Probe:
    """The task to look into some files; its outcome is a :class:`fer_batch.worker.Probed`.

    Attributes:
        paths: the files.
        attempt: how often this was tried before.
    """

    paths: tuple[AnyPath, ...]
    attempt: int = 0


@dataclass(frozen=True)
class Join:
    """The task to join a long video's committed segments; its outcome is the :class:`fer_batch.commit.Counts`.

    Attributes:
        video: all of whose segments are committed.
        attempt: how often this was tried before.
    """

    video: VideoInfo
    attempt: int = 0


Task = Probe | Unit | Join
"""What a worker does at a time; a unit's outcome is a :class:`fer_batch.worker.UnitDone`."""


@dataclass(frozen=True)
class Lost:
    """The outcome of a task that came to nothing.

    Attributes:
        code: ``worker_died``, ``internal_error``, or ``node_lost`` where the task is not to blame.
        reason: for the ledger.
    """

    code: Literal["worker_died", "internal_error", "node_lost"]
    reason: str


def task_key(task: Task) -> str:
    """A name that stays when a task is begun again."""
    if isinstance(task, Probe):
        return path_text(task.paths[0])
    return task.unit_id if isinstance(task, Unit) else task.video.video_id


Outcome = Probed | UnitDone | Counts | Lost


class Workers(Protocol):
    """Where tasks are done.

    They may become more and fewer in the course of a run.
    """

    @property
    def size(self) -> int:
        """How many tasks are worked on at the same time; it is given no more."""

    def expect(self, units: int) -> None:
        """Hear how many units could be worked on at the same time, were there enough workers."""

    def start(self, task: Task) -> None:
        """Take on a task; returns at once."""

    def running(self) -> Collection[Task]:
        """The tasks that were taken on and whose outcome was not given yet."""

    def finished(self) -> list[tuple[Task, Outcome]]:
        """Wait a moment; the tasks that finished, none perhaps.

        Raises:
            StoppedError: no task can succeed any more: the disk is full, the model does not load.
        """

    def cancel(self) -> None:
        """Let go of all tasks."""


class Driver:
    """Carries out a run.

    Args:
        context: of the run.
        workers: do the work.
        schedule: what is to be done.
        files: the files to probe; those that were done before are already left out.
        counts: of the ledger so far.
        on_progress: hears of progress, about twice a second.
        snapshot: gives the parts of :class:`Progress` that discovery knows.
    """

    def __init__(
        self,
        context: RunContext,
        workers: Workers,
        schedule: Schedule,
        files: Iterator[AnyPath],
        counts: Counts,
        on_progress: Callable[[Progress], None],
        snapshot: Callable[[], dict[str, Any]],
    ) -> None:
        self.context = context
        self.schedule = schedule
        self.counts = counts
        self.seconds = Seconds()
        self.n_frames = self.n_faces = self.n_units = self.done_ms = 0
        self._workers = workers
        self._files = files
        self._all_found = False
        self._again: list[Task] = []
        self._moves: Counter[str] = Counter()
        self._report, self._snapshot = on_progress, snapshot
        self._start, self._began_ns = time.monotonic(), time.time_ns()
        self._before = counts.videos

    def run(self) -> None:
        """Do all there is to do.

        Raises:
            StoppedError: the disk is full, the model does not load, or no progress is possible.
            KeyboardInterrupt: as it comes; what is committed stays.
        """
        try:
            while self._fill():
                for task, outcome in self._workers.finished():
                    self._collect(task, outcome)
                self._tell("running")
            self._tell("finishing")
        finally:
            self._workers.cancel()

    def _fill(self) -> bool:
        """Start what can be started; tells whether anything is running."""
        workers = self._workers
        self.schedule.workers = workers.size
        while len(workers.running()) < workers.size:
            if self._again:
                workers.start(self._again.pop())
                continue
            if (video := self.schedule.next_complete()) is not None:
                workers.start(Join(video))
                continue
            probing = any(isinstance(task, Probe) for task in workers.running())
            unit = self.schedule.next_unit(self._all_found and not probing)
            if unit is not None:
                workers.start(unit)
                continue
            if (video := self.schedule.next_complete()) is not None:  # cutting found that all of it was done before
                workers.start(Join(video))
                continue
            chunk = () if self._all_found else tuple(islice(self._files, PROBE_CHUNK))
            if not chunk:
                if self._all_found:
                    break
                self._all_found = True  # and look again: what waits can be cut now
                continue
            workers.start(Probe(chunk))
        workers.expect(self.schedule.backlog() + len(workers.running()))
        return bool(workers.running())

    def _collect(self, task: Task, outcome: Outcome) -> None:
        if isinstance(outcome, Lost):
            self._lost(task, outcome)
        elif isinstance(outcome, Probed):
            self._failures(outcome.failures, outcome.failed)
            for video in outcome.videos:
                self.schedule.add(video)
        elif isinstance(outcome, UnitDone):
            assert isinstance(task, Unit)  # noqa: S101 - for mypy
            self._unit_done(task, outcome)
        else:
            assert isinstance(task, Join)  # noqa: S101 - for mypy
            self._joined(task.video, outcome)

    def _joined(self, video: VideoInfo, counts: Counts) -> None:
        self.counts += counts
        forget_segments(self.context.path, video.video_id)

    def _unit_done(self, unit: Unit, done: UnitDone) -> None:
        self._failures(done.failures, done.counts)
        for stage, value in vars(done.seconds).items():
            setattr(self.seconds, stage, getattr(self.seconds, stage) + value)
        self.n_units += 1
        self.n_frames += done.n_frames
        self.n_faces += done.n_faces
        self.done_ms += unit.media_ms
        for segment in done.dropped:
            self.schedule.drop(segment)
        self.schedule.done(unit)

    def _lost(self, task: Task, lost: Lost) -> None:
        """A task came to nothing: unless it was committed all the same, try again, or enter in the ledger that not."""
        if lost.code == "node_lost":
            key = task_key(task)
            self._moves[key] += 1
            if self._moves[key] <= MAX_MOVES:
                self._again.append(task)
                return
            lost = Lost("worker_died", lost.reason)
        if isinstance(task, Unit):
            done = committed_before(task, self.context, self._began_ns)
            if done is not None:
                self._unit_done(task, done)
            else:
                self._give_up([(video.path, video) for video in self.schedule.lost(task)], lost)
        elif isinstance(task, Probe):
            if len(task.paths) > 1 or task.attempt + 1 < MAX_ATTEMPTS:
                for path in task.paths:  # each on its own, so that only the guilty one fails
                    self._workers.start(Probe((path,), task.attempt + 1))
            else:
                self._give_up([(task.paths[0], None)], lost)
        else:
            rows = committed_rows(self.context.path, task.video.video_id, self._began_ns)
            if rows is not None:
                self._joined(task.video, Counts.of(rows))
            elif task.attempt + 1 < MAX_ATTEMPTS:
                self._workers.start(Join(task.video, task.attempt + 1))
            else:
                self._give_up([(task.video.path, task.video)], lost)

    def _give_up(self, given_up: list[tuple[AnyPath, VideoInfo | None]], lost: Lost) -> None:
        if not given_up:
            return
        noted = ended(self.context.stalled)
        rows, said = [], []
        for path, video in given_up:
            code, reason = noted.get(self.context.names.text(path), (lost.code, lost.reason))
            error = VideoError(code, f"{reason}; see run.log, and try again with --retry-failed")
            rows.append(self.context.names.row(failed_row(path, error, video)))
            said.append((path, reason))
        self._failures(said, commit_rows(self.context.path, "driver", rows, self.context.metadata))

    def _failures(self, failures: list[tuple[AnyPath, str]], counts: Counts) -> None:
        self.counts += counts
        for path, reason in failures:
            names = self.context.names
            told = names.text(path) if names.key else str(path)
            log.warning("%s: %s", printable(told), printable(names.hidden(reason, path)))

    def _tell(self, phase: Literal["running", "finishing"]) -> None:
        self._report(
            Progress(
                phase=phase,
                counts=self.counts,
                n_videos=self.counts.videos - self._before,
                all_found=self._all_found,
                media_ms=self.schedule.media_ms,
                done_ms=self.done_ms,
                kept_ms=self.schedule.kept_ms,
                n_units=self.n_units,
                n_frames=self.n_frames,
                n_faces=None if self.context.config.privacy.level == "aggregate" else self.n_faces,
                elapsed_s=time.monotonic() - self._start,
                seconds=self.seconds,
                **self._snapshot(),
            )
        )
