"""Run the stages on Ray: model actors, workers, a bounded number of units in flight, retries. All of Ray is here.

The driver holds ids and counts only. Workers send crops to the actors, write the tables and tell the driver what came
of a unit. A local run starts an embedded Ray that listens on loopback only and leaves nothing behind.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal

# Read by Ray when it is imported. The first keeps every socket of a local Ray on loopback (an address alone does not,
# in Ray 2.60; whoever means to join a cluster sets it to 1 first); the second keeps it from reporting its use.
if os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0") == "0":
    # A secret of this process' own, or Ray would leave one in the user's home folder.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # what matters is in our own log
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from fer_batch.commit import Counts, commit_long_video, commit_rows
from fer_batch.errors import FerBatchError, RefusedError, StoppedError, VideoError
from fer_batch.plan import Unit
from fer_batch.probe import VideoInfo
from fer_batch.process import RunContext, Seconds
from fer_batch.progress import Progress
from fer_batch.resources import Placement
from fer_batch.schedule import Schedule
from fer_batch.scratch import scratch_folder
from fer_batch.tables import failed_row, path_text
from fer_batch.watchdog import stalled
from fer_batch.worker import Probed, UnitDone, do_unit, probe_files

log = logging.getLogger("fer_batch")

PROBE_CHUNK = 16
"""Files probed by one task."""

POLL_S = 0.5
"""How often progress is shown while nothing finishes."""


class EmotionActor:
    """Holds a model and scores batches of crops."""

    def __init__(self, bundle: Path, threads: int, precision: str, on_gpu: bool) -> None:
        if on_gpu:
            self.require_gpu()
        from fer_batch.bundle import ModelBundle
        from fer_batch.score import Scorer

        self._scorer = Scorer(ModelBundle.load(bundle), threads=threads, precision=precision)  # type: ignore[arg-type]
        self._scorer.warm_up()
        self._busy_s = 0.0

    def require_gpu(self) -> None:
        """Rather stop than score on the CPU what was meant for the GPU.

        Raises:
            RuntimeError: TensorFlow sees no GPU.
        """
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            raise RuntimeError("TensorFlow sees no GPU: pip install 'fer-batch[gpu]', or run with --gpus 0")

    def score(self, crops: np.ndarray) -> np.ndarray:
        """Probabilities, float32 (n, 7), of crops, uint8 (n, size, size, channels)."""
        start = time.perf_counter()
        scores: np.ndarray = self._scorer(crops)
        self._busy_s += time.perf_counter() - start
        return scores

    def busy_s(self) -> float:
        """Time spent scoring so far; answers once the model is ready."""
        return self._busy_s


class ActorScores:
    """Sends a worker's crops to the actors in turn (the `Scores` of :mod:`fer_batch.process`)."""

    def __init__(self, actors: list[Any], first: int) -> None:
        self._actors = actors
        self._next = first

    def submit(self, crops: np.ndarray) -> Any:
        """Send crops to the next actor."""
        self._next += 1
        return self._actors[self._next % len(self._actors)].score.remote(crops)

    def result(self, ticket: Any) -> np.ndarray:
        """Wait for the scores of crops that were sent."""
        scores: np.ndarray = ray.get(ticket)
        return scores


def _unit_task(unit: Unit, context: RunContext, actors: list[Any], first: int) -> UnitDone:
    return do_unit(unit, context, ActorScores(actors, first))


@contextmanager
def cluster(address: str | None, placement: Placement | None) -> Iterator[None]:
    """Ray for the time of the `with` block: the one that runs already, that at `address`, or an embedded one.

    Args:
        address: of a cluster; None for this process' own.
        placement: how large the embedded Ray must be; only used without an address.

    Raises:
        RefusedError: there is no cluster at `address`.
        StoppedError: Ray does not start.
    """
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
    }  # what matters is in our own log
    if address is not None or placement is None:
        _check_reachable(address or "auto")
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise RefusedError(f"cannot reach a Ray cluster at {address}: {error}") from error
        try:
            yield
        finally:
            ray.shutdown()
        return
    with scratch_folder() as folder:
        try:
            ray.init(
                address="local",
                num_cpus=placement.cpus,
                num_gpus=math.ceil(placement.actors * placement.actor_gpus),
                object_store_memory=placement.store_bytes,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(folder),
                _system_config={"automatic_object_spilling_enabled": False},  # crops never reach a disk
                **quiet,
            )
            yield
        except (RayError, TimeoutError, ConnectionError) as error:
            raise StoppedError(f"Ray did not start or broke down: {error}. See run.log in the run's folder") from error
        finally:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself would try for many minutes.

    Raises:
        RefusedError: nothing answers at ``host:port``.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return  # not host:port, such as "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise RefusedError(f"cannot reach a Ray cluster at {address}: {error.strerror or error}") from error


class Driver:
    """Carries out a run on the Ray that is there.

    Args:
        context: of the run.
        bundle: the ModelBundle's folder.
        placement: how many workers and actors, and their shares.
        schedule: what is to be done.
        files: the files to probe; those that were done before are already left out.
        counts: of the ledger so far.
        on_progress: hears of progress, about twice a second.
        snapshot: gives the parts of :class:`Progress` that discovery knows.
    """

    def __init__(
        self,
        context: RunContext,
        bundle: Path,
        placement: Placement,
        schedule: Schedule,
        files: Iterator[Path],
        counts: Counts,
        on_progress: Callable[[Progress], None],
        snapshot: Callable[[], dict[str, Any]],
    ) -> None:
        self.context = context
        self.schedule = schedule
        self.counts = counts
        self.seconds = Seconds()
        self.n_frames = self.n_faces = self.n_units = self.done_ms = 0
        self._placement = placement
        self._files = files
        self._all_found = False
        self._report, self._snapshot = on_progress, snapshot
        self._start = time.monotonic()
        self._before = counts.videos
        self.model_ready_s: float | None = None
        self._running: dict[Any, tuple[str, Any]] = {}
        self._context_ref = ray.put(context)
        worker = {"num_cpus": placement.worker_cpus, "max_retries": 0}
        self._probe = ray.remote(probe_files).options(**worker)
        self._unit = ray.remote(_unit_task).options(**worker)
        self._join = ray.remote(commit_long_video).options(**worker)
        self._bundle = bundle
        self._actors: list[Any] = []
        self._ready: Any = None

    def run(self) -> None:
        """Do all there is to do.

        Raises:
            StoppedError: the disk is full, the model does not load, or no progress is possible.
            KeyboardInterrupt: as it comes; what is committed stays.
        """
        try:
            while self._fill():
                waiting = list(self._running)
                if self._ready is not None and self.model_ready_s is None:
                    waiting.append(self._ready)
                finished, _ = ray.wait(waiting, num_returns=1, timeout=POLL_S)
                for reference in finished:
                    if reference == self._ready:
                        self.model_ready_s = time.monotonic() - self._start
                        continue
                    kind, subject = self._running.pop(reference)
                    self._collect(kind, subject, reference)
                self._tell("running")
            self._tell("finishing")
        finally:
            for reference in self._running:
                ray.cancel(reference, force=True)

    def scoring_s(self) -> float:
        """Time that the actors spent scoring, summed; what an actor that no longer answers spent is not known."""
        total = 0.0
        for actor in self._actors:
            try:
                total += ray.get(actor.busy_s.remote(), timeout=10)
            except RayError as error:
                log.warning("an actor no longer answers: %s", error)
        return total

    def close(self) -> None:
        """Let the actors go."""
        for actor in self._actors:
            ray.kill(actor)

    def _fill(self) -> bool:
        """Start what can be started; tells whether anything is running."""
        limit = self._placement.workers + 2  # two wait, so that no worker waits for the driver
        while len(self._running) < limit:
            if (video := self.schedule.next_complete()) is not None:
                self._begin("join", video, self._join.remote(self._context_ref, video))
                continue
            probing = any(kind == "probe" for kind, _ in self._running.values())
            unit = self.schedule.next_unit(self._all_found and not probing)
            if unit is not None:
                self._begin("unit", unit, self._unit.remote(unit, self._context_ref, self._actors, self.n_units))
                continue
            chunk = [] if self._all_found else list(islice(self._files, PROBE_CHUNK))
            if not chunk:
                if self._all_found:
                    break
                self._all_found = True  # and look again: what waits can be cut now
                continue
            self._start_actors()  # while files are probed; a run with nothing new to do needs none
            self._begin("probe", chunk, self._probe.remote(chunk, self._context_ref))
        return bool(self._running)

    def _start_actors(self) -> None:
        if self._actors:
            return
        placed, precision = self._placement, self.context.config.precision
        actor = ray.remote(EmotionActor).options(
            num_cpus=placed.actor_cpus, num_gpus=placed.actor_gpus, max_restarts=-1, max_task_retries=3
        )
        self._actors = [
            actor.remote(self._bundle, placed.actor_threads, precision, placed.actor_gpus > 0)
            for _ in range(placed.actors)
        ]
        self._ready = self._actors[0].busy_s.remote()  # answered, or broken, once the first actor has its model

    def _begin(self, kind: str, subject: Any, reference: Any) -> None:
        self._running[reference] = (kind, subject)

    def _collect(self, kind: str, subject: Any, reference: Any) -> None:
        try:
            result = ray.get(reference)
        except RayTaskError as error:
            if isinstance(error.cause, FerBatchError) and not isinstance(error.cause, VideoError):
                raise error.cause from error
            if isinstance(error.cause, ActorDiedError) and "creation task" in str(error.cause):
                reason = str(error.cause).strip().splitlines()[-1]
                raise StoppedError(f"the model cannot be loaded in its actor: {reason}. See run.log") from error
            log.error("%s failed: %s", kind, error)
            self._lost(kind, subject, "internal_error", f"{type(error.cause).__name__}: {error.cause}")
        except RayError as error:
            log.error("the worker of a %s died: %s", kind, error)
            self._lost(kind, subject, "worker_died", "its worker process died each time it was tried")
        else:
            self._done(kind, subject, result)

    def _done(self, kind: str, subject: Any, result: Any) -> None:
        if kind == "probe":
            probed: Probed = result
            self._failures(probed.failures, probed.failed)
            for video in probed.videos:
                self.schedule.add(video)
        elif kind == "join":
            self.counts += result
        else:
            done: UnitDone = result
            self.counts += done.counts
            for path, reason in done.failures:
                log.warning("%s: %s", path, reason)
            for stage, value in vars(done.seconds).items():
                setattr(self.seconds, stage, getattr(self.seconds, stage) + value)
            self.n_units += 1
            self.n_frames += done.n_frames
            self.n_faces += done.n_faces
            self.done_ms += subject.media_ms
            for segment in done.dropped:
                self.schedule.drop(segment)
            self.schedule.done(subject)

    def _lost(self, kind: str, subject: Any, code: str, reason: str) -> None:
        """A task came to nothing: try again what can be tried again, enter the rest in the ledger."""
        advice = "see run.log, and try again with --retry-failed"
        stuck = stalled(self.context.stalled)
        given_up: list[tuple[Path, VideoInfo | None]]
        if kind == "unit":
            given_up = [(video.path, video) for video in self.schedule.lost(subject)]
        elif kind == "probe" and len(subject) > 1:
            for path in subject:  # each on its own, so that only the guilty one fails
                self._begin("probe", [path], self._probe.remote([path], self._context_ref))
            return
        else:
            given_up = [(subject[0], None) if kind == "probe" else (subject.path, subject)]
        if given_up:
            rows, said = [], []
            for path, video in given_up:
                why = (code, reason)
                if path_text(path) in stuck:
                    why = ("timed_out", f"no progress for {self.context.stall_s:g} s, each time it was tried")
                rows.append(failed_row(path, VideoError(why[0], f"{why[1]}; {advice}"), video))
                said.append((path, why[1]))
            self._failures(said, commit_rows(self.context.path, "driver", rows, self.context.metadata))

    def _failures(self, failures: list[tuple[Path, str]], counts: Counts) -> None:
        self.counts += counts
        for path, reason in failures:
            log.warning("%s: %s", path, reason)

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
                n_faces=self.n_faces,
                elapsed_s=time.monotonic() - self._start,
                seconds=self.seconds,
                **self._snapshot(),
            )
        )


def available() -> tuple[int, float]:
    """CPUs and GPUs of the Ray that is there."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(resources.get("CPU", 0)), float(resources.get("GPU", 0))
