"""The state of a run's folder: may this run use it, what ``run.json`` says, where the log goes."""

from __future__ import annotations

import io
import json
import logging
import os
import platform
import re
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fer_batch.bundle import ModelBundle
from fer_batch.commit import Counts, create_folders
from fer_batch.config import RunConfig
from fer_batch.discover import Discovery
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.mend import DAMAGED, known
from fer_batch.object_lease import lease_of
from fer_batch.object_path import AnyPath, ObjectPath, as_path, is_there, remove_all
from fer_batch.path_names import PathNames
from fer_batch.progress import Progress
from fer_batch.purged import FILE, INPUTS_NOT_KEPT, Purged, check_goes_on
from fer_batch.schema import FOLDERS, SCHEMA_VERSION
from fer_batch.store import run_id, write_json

log = logging.getLogger("fer_batch")

FOLLOW_S = 5.0
"""How often ``run.json`` says how far a run is."""

_PACKAGES = ("fer-batch", "ai-edge-litert", "tensorflow", "ray", "av", "onnxruntime", "opencv-python-headless", "numpy",
             "pyarrow")  # fmt: skip


class RunState:
    """Keeps ``run.json``: what was asked, with which model, and how far it is."""

    def __init__(
        self,
        path: AnyPath,
        config: RunConfig,
        bundle: ModelBundle,
        discovery: Discovery,
        purpose: dict[str, Any] | None = None,
        job: dict[str, Any] | None = None,
        names: PathNames | None = None,
    ) -> None:
        self._file = path / "run.json"
        earlier = known(path)
        self._discovery = discovery
        self.info: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "id": run_id(earlier) if earlier else f"r{uuid.uuid4().hex[:11]}",
            "fer_batch_version": version("fer-batch"),
            "state": "running",
            "created": earlier.get("created", _now()),
            "completed": earlier.get("completed"),
            "inputs": [INPUTS_NOT_KEPT]
            if Purged.of(path).has_no_inputs
            else [(names or PathNames()).text(as_path(item)) for item in discovery.inputs],
            "config": config.to_json(),
            "model": {
                "name": bundle.name,
                "sha256": bundle.sha256,
                "input_size": bundle.input_size,
                "figures": dict(bundle.figures_in(config.precision)),
                "provenance": dict(bundle.provenance),  # its limits stand on every report
            },
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
            "purpose": purpose or earlier.get("purpose"),
            "job": job or earlier.get("job"),
            "host": socket.gethostname(),
            "counts": earlier.get("counts", {}),
            "all_found": False,
            "timings": {},
        }
        self.write("running")

    def write(self, state: str) -> None:
        """Replace the file, with the time and the counts so far."""
        self.info |= {"state": state, "updated": _now()}
        if state == "complete":
            self.info["completed"] = self.info["updated"]
        write_json(self._file, self.info)
        self._written_s = time.monotonic()

    def essence(self) -> str:
        """What every table's metadata keeps of the run, as JSON: from it a ``run.json`` that is lost is made anew."""
        return json.dumps({name: self.info[name] for name in ("id", "created", "config", "purpose", "job")})

    def write_if_possible(self, state: str) -> None:
        """As :meth:`write`, when the disk itself may be the trouble."""
        try:
            self.write(state)
        except StoppedError as error:
            log.error("%s", error)

    def follow(self, progress: Progress) -> None:
        """Take over how far the run is, now and then, for those who look at it from outside."""
        if progress.phase == "running" and time.monotonic() - self._written_s >= FOLLOW_S:
            self.count(progress.counts, progress.found)
            self.info["all_found"] = progress.all_found
            self.write("running")

    def count(self, counts: Counts, n_files: int) -> None:
        """Take over the totals."""
        totals = {name: getattr(counts, name) for name in ("ok", "partial", "failed", "frames", "faces", "tracks")}
        if self.info["config"]["privacy"]["level"] == "aggregate":
            totals |= {"faces": None, "tracks": None}  # not counted, which is not the same as none
        self.info["counts"] = {"files": n_files, "passed_over": self._discovery.passed_over, **totals}


def open_folder(path: AnyPath, config: RunConfig, redo: bool) -> None:
    """Make the run's folder, or check that the one there has the same configuration.

    Raises:
        RefusedError: it holds something else, a run with another configuration, or one that was removed.
        StoppedError: it cannot be made.
    """
    is_there(path)  # asks an object store whether it can be used at all
    check_goes_on(path)
    if earlier := known(path):
        differences = config.differences(RunConfig.from_json(earlier["config"]))
        if differences and not redo:
            raise RefusedError(
                f"{path} holds a run with another configuration:\n  " + "\n  ".join(differences) + "\n"
                "Choose another --out, ask for the same, or throw the old tables away with --redo"
            )
        if differences:
            with lease_of(path / "work" / "lease.json"):
                for name in (*FOLDERS, "report", DAMAGED, "videos.parquet", "run.json"):
                    remove_all(path / name)
            remove_all(path / "work")
    elif path.is_dir() and any(path.iterdir()):
        ours = {*FOLDERS, "report", "work", "run.log", "run.json", FILE}
        if not {item.name for item in path.iterdir()} <= ours:
            raise RefusedError(f"{path} is not empty and holds no run; choose another --out")
    elif path.exists() and not path.is_dir():
        raise RefusedError(f"{path} is a file; choose a folder for --out")
    create_folders(path, config.privacy.level)


@contextmanager
def log_file(file: AnyPath, names: PathNames | None = None, roots: Sequence[str] = ()) -> Iterator[None]:
    """Send this project's log, and what libraries warn of, to the run's log file and nowhere else.

    Args:
        file: of the log.
        names: how paths are written; None for as they are.
        roots: files, folders and patterns that the run reads.
    """
    try:
        handler = _LogObject(file) if isinstance(file, ObjectPath) else _LogFile(file, encoding="utf-8")
    except OSError as error:
        raise StoppedError(f"cannot write {file}: {error.strerror}; choose another --out") from error
    handler.setFormatter(_Lines(names or PathNames(), roots))
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
        with suppress(OSError):  # what is not yet written finds no room
            handler.close()


class _Lines(logging.Formatter):
    """Lines of the log, with paths as the run writes them."""

    def __init__(self, names: PathNames, roots: Sequence[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._names = names
        plain = [re.split(r"[*?\[]", root)[0] for root in roots]
        self._roots = [root if "://" in root else os.path.abspath(root) for root in plain]

    def format(self, record: logging.LogRecord) -> str:
        return self._names.scrubbed(super().format(record), self._roots)


class _LogFile(logging.FileHandler):
    """A log that gives up a line when the disk is full; the run's own writes say so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        pass


class _LogObject(logging.StreamHandler[io.StringIO]):
    """A log on an object store, which cannot be appended to: it is put as a whole, now and then and at the end."""

    def __init__(self, path: ObjectPath) -> None:
        super().__init__(io.StringIO())
        self._path = path
        with suppress(FileNotFoundError):
            self.stream.write(path.read_text())
        self._put_s = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if time.monotonic() - self._put_s > FOLLOW_S:
            self._put()

    def close(self) -> None:
        self._put()
        super().close()

    def _put(self) -> None:
        self._put_s = time.monotonic()
        with suppress(OSError, StoppedError):  # the run's own writes say so
            self._path.write_bytes(self.stream.getvalue().encode("utf-8", "backslashreplace"))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
