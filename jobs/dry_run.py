"""``fer-batch run --dry-run``: what would be done, how long it may take and how much disk it needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal

from fer_batch.bundle import ModelBundle
from fer_batch.config import Resources, RunConfig
from fer_batch.discover import Discovery
from fer_batch.errors import RefusedError, VideoError
from fer_batch.object_path import AnyPath
from fer_batch.page import counted
from fer_batch.plan import cost_s, n_samples
from fer_batch.precision import choose, sized
from fer_batch.probe import VideoInfo, probe
from fer_batch.resources import local_gpus, place, usable_cpus
from fer_batch.tables import path_text
from jobs.values import clock

START_S = 4.0
"""Seconds until workers and model are ready and after they are done, measured on two cores."""

FACE_ROW_BYTES = 180
"""Size of a row of the table faces on disk, compressed, measured."""

FRAME_ROW_BYTES = 50
"""The same for the table frames."""


def dry_run(
    inputs: Sequence[str],
    out: AnyPath,
    config: RunConfig,
    include: Sequence[str],
    exclude: Sequence[str],
    resources: Resources,
    model: Path | None,
    as_json: bool,
) -> None:
    """Probe all videos and print the estimate, with one face a frame assumed. Writes nothing.

    Raises:
        RefusedError: no video is found, or the resources can never fit.
        BundleError: there is no such model.
    """
    bundle = ModelBundle.load(model)
    placement = place(sized(resources, config.precision, bundle), usable_cpus(), local_gpus())
    config = replace(config, precision=choose(config.precision, bundle, on_gpu=placement.actor_gpus > 0)[0])
    discovery = Discovery(inputs, include, exclude, leave_out=out)
    with ThreadPoolExecutor(placement.cpus) as pool:
        probed = list(pool.map(_probe, discovery))
    videos = [item for item in probed if isinstance(item, VideoInfo)]
    failures = [item for item in probed if not isinstance(item, VideoInfo)]
    if not probed:
        named = ", ".join(discovery.shown)
        raise RefusedError(f"no video found in {named} ({counted(discovery.passed_over, 'other file')} passed over)")
    samples = sum(n_samples(video, config.sampling) for video in videos)
    seconds = START_S + sum(cost_s(video, config) for video in videos) / placement.cpus
    estimate = {
        "videos": len(videos),
        "unusable": [f"{path_text(path)}: {reason}" for path, reason in failures],
        "passed_over": discovery.passed_over,
        "media_hours": round(sum(video.duration_ms for video in videos) / 3_600_000, 3),
        "samples": round(samples),
        "seconds": round(seconds),
        "disk_bytes": round(samples * (FACE_ROW_BYTES + FRAME_ROW_BYTES)),
        "placement": placement.describe(),
    }
    if as_json:
        print(json.dumps(estimate))
        return
    console = Console()
    length = clock(sum(video.duration_ms for video in videos))
    found = f"{counted(len(videos), 'video')}, {length} in all, about {samples:.0f} samples"
    disk = decimal(round(samples * (FACE_ROW_BYTES + FRAME_ROW_BYTES)))
    lines = [
        f"{found} ({counted(discovery.passed_over, 'other file')} passed over)",
        f"about {clock(round(seconds * 1000))} and {disk} of tables with one face a frame, by {placement.describe()}",
        *(f"cannot be used: {path_text(path)}: {reason}" for path, reason in failures),
    ]
    for text in lines:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _probe(path: AnyPath) -> VideoInfo | tuple[AnyPath, str]:
    try:
        return probe(path)
    except VideoError as error:
        return path, f"{error.code}: {error}"
