"""``fer-batch doctor``: is everything there that a run needs, and what to do if not."""

from __future__ import annotations

import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fer_batch.errors import FerBatchError

PACKAGES = ("fer-batch", "ai-edge-litert", "tensorflow", "keras", "ray", "av", "onnxruntime",
            "opencv-python-headless", "numpy", "pyarrow", "plotly")  # fmt: skip

DECODERS = ("h264", "hevc", "vp9", "av1", "mpeg4", "mjpeg", "prores")

_STYLE = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@dataclass(frozen=True)
class Finding:
    """The outcome of one check; `remedy` says what to do unless all is well."""

    check: str
    state: Literal["ok", "warning", "problem"]
    detail: str
    remedy: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check this machine: versions, devices, codecs, model, detector, shared memory."""
    checks: tuple[Callable[[], Finding], ...] = (
        _python, _packages, _cores, _memory, _shared_memory, _temporary, _codecs, _detector, _model, _gpu
    )  # fmt: skip
    findings = [check() for check in checks]
    is_fit = all(finding.state != "problem" for finding in findings)
    if as_json:
        print(json.dumps({"ok": is_fit, "checks": [asdict(finding) for finding in findings]}))
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for finding in findings:
            advice = f"\n{finding.remedy}" if finding.remedy else ""
            state = f"[{_STYLE[finding.state]}]{finding.state}[/]"
            table.add_row(finding.check, state, escape(finding.detail + advice))
        Console().print(table)
    if not is_fit:
        sys.exit(1)


def _python() -> Finding:
    found = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("Python", "ok" if fits else "problem", found, "" if fits else "use Python 3.11, 3.12 or 3.13")


def _packages() -> Finding:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", "problem", f"missing: {', '.join(missing)}", "pip install fer-batch again")
    return Finding("packages", "ok", ", ".join(found))


def _cores() -> Finding:
    from fer_batch.config import Resources
    from fer_batch.resources import local_gpus, place, usable_cpus

    cpus = usable_cpus()
    detail = f"{cpus} usable; a run starts {place(Resources(), cpus, local_gpus()).describe()}"
    return Finding("cores", "ok" if cpus > 1 else "warning", detail, "" if cpus > 1 else "two or more are advisable")


def _memory() -> Finding:
    import psutil

    from fer_batch.bundle import ModelBundle
    from fer_batch.config import Resources
    from fer_batch.precision import sized
    from fer_batch.resources import ACTOR_BYTES, BASE_BYTES, GB, STORE_BYTES, WORKER_BYTES, usable_cpus

    free = psutil.virtual_memory().available
    try:
        model = sized(Resources(), "auto", ModelBundle.load()).actor_bytes or ACTOR_BYTES
    except FerBatchError:  # the line on the model tells it
        model = ACTOR_BYTES
    need = BASE_BYTES + STORE_BYTES + model + usable_cpus() * WORKER_BYTES
    detail = f"{free / GB:.1f} GB free, a run needs about {need / GB:.1f} GB"
    return Finding(
        "memory", "ok" if free > need else "warning", detail, "" if free > need else "use fewer --workers or --memory"
    )


def _shared_memory() -> Finding:
    from fer_batch.resources import MIN_STORE_BYTES, shared_memory_bytes

    size = shared_memory_bytes()
    if size is None:
        return Finding("shared memory", "ok", "not a file system here")
    detail = f"{size / 1e6:.0f} MB free"
    if size * 0.9 >= MIN_STORE_BYTES:
        return Finding("shared memory", "ok", detail)
    return Finding(
        "shared memory",
        "problem",
        f"{detail}, a run needs {MIN_STORE_BYTES / 0.9e6:.0f} MB, lest face crops be written to a disk",
        "in a container: docker run --shm-size=512m",
    )


def _temporary() -> Finding:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    detail = f"{tempfile.gettempdir()} has {free / 1e9:.1f} GB free"
    return Finding("temporary files", "ok" if free > 1e9 else "warning", detail, "" if free > 1e9 else "set TMPDIR")


def _codecs() -> Finding:
    import av.codec

    missing = [name for name in DECODERS if name not in av.codec.codecs_available]
    if missing:
        return Finding("decoders", "warning", f"not built in: {', '.join(missing)}", "install av from its wheel")
    return Finding("decoders", "ok", ", ".join(DECODERS))


def _detector() -> Finding:
    from fer_batch.config import Detection
    from fer_batch.detect import FaceDetector, check_detector

    try:
        file, digest = check_detector(None)
        FaceDetector(file, Detection())
    except FerBatchError as error:
        return Finding("face detector", "problem", str(error))
    return Finding("face detector", "ok", f"YuNet, sha256 {digest[:12]}")


def _model() -> Finding:
    import numpy as np

    from fer_batch.bundle import ModelBundle
    from fer_batch.precision import choose
    from fer_batch.score import Scorer

    try:
        bundle = ModelBundle.load()
        precision, backend = choose("auto", bundle, on_gpu=False)
        scorer = Scorer(bundle, precision=precision, batch_sizes=(1,))
        scores = scorer(np.zeros((1, *scorer.shape), np.uint8))
    except FerBatchError as error:
        return Finding("model", "problem", str(error))
    if not np.isclose(scores.sum(), 1, atol=1e-4):
        return Finding("model", "problem", f"probabilities sum to {scores.sum()}, not 1", "install fer-batch again")
    name = f"{bundle.name}, sha256 {bundle.sha256[:12]}"
    return Finding("model", "ok", f"{name}, {bundle.input_size} px, scores a face in {precision} ({backend})")


def _gpu() -> Finding:
    from fer_batch.resources import local_gpus

    count = local_gpus()
    if not count:
        return Finding("GPU", "ok", "none: the model runs on the CPU")
    import tensorflow as tf

    seen = len(tf.config.list_physical_devices("GPU"))
    if seen >= count:
        return Finding("GPU", "ok", f"{seen}, seen by TensorFlow")
    return Finding(
        "GPU", "warning", f"{count} in this machine, {seen} seen by TensorFlow", "pip install 'fer-batch[gpu]'"
    )
