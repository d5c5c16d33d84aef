"""What is measured: each part runs commands and gives plain figures, of which page, table and goals are made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from benchmarks.clips import Clip, repeated
from benchmarks.floors import Floors
from benchmarks.usage import Usage, used

FER_BATCH = Path(sys.executable).with_name("fer-batch")

TAKE_S, TAKES = 12, 5
"""A minute is made of so many copies of so many seconds, where key frames allow it: encoding takes long."""

CLIPS = (
    *(Clip(faces=faces, seconds=TAKE_S) for faces in (1, 0, 4, 20)),
    Clip(height=480, seconds=TAKE_S),
    Clip(height=1080, seconds=TAKE_S),
    Clip(gop=250, seconds=TAKES * TAKE_S),  # as libx264 does by itself
    Clip(codec="hevc", seconds=TAKE_S),
)
"""What the stages are measured on."""

PEERS_CLIPS = (CLIPS[0], CLIPS[6])
"""What peers are measured on too: they differ in how far it is from key frame to key frame."""

LONG = 30
"""How much longer the clip is that tells what a second worker gains."""

LONGER = 6
"""How much longer the clip is that tells what each further minute takes."""

FIRST_RESULT = ("faces/*.parquet", "work/units/*/*.parquet")
"""Files of a run's folder of which the first is the first result."""


WORKER = """
import ray, time
import fer_batch.engine.workers
from fer_batch.config import Detection
from fer_batch.detect import FaceDetector, default_detector
import fer_batch.worker
FaceDetector(default_detector(), Detection())
print(time.process_time())
"""
"""What a worker's process does before its first unit, but for what Ray adds of its own when it joins."""


@dataclass(frozen=True)
class Bench:
    """Where clips are, where runs go, and how often each is run.

    Attributes:
        clips: folder; clips stay there.
        work: folder for runs.
        takes: a clip is made so many times :data:`TAKE_S` seconds long.
        repeats: how often each run is measured; figures are the least: what else the machine does only
            adds to them.
    """

    clips: Path
    work: Path
    takes: int = TAKES
    repeats: int = 3

    def clip(self, clip: Clip, takes: int = 0) -> Path:
        """The file of a clip, as long as so many takes, or as all clips are."""
        return repeated(clip.make(self.clips), (takes or self.takes) * TAKE_S // clip.seconds)

    def run(self, *arguments: str | Path, repeats: int = 0) -> Measured:
        """Measure `fer-batch run` with these arguments, each time in a new folder."""
        found = []
        for _ in range(repeats or self.repeats):
            out = self.work / "run"
            shutil.rmtree(out, ignore_errors=True)
            found.append(used([FER_BATCH, "run", *arguments, "--out", out], (out, FIRST_RESULT)))
        info = json.loads((out / "run.json").read_text())
        return Measured.of(found, info)

    def command(self, *arguments: str | Path) -> float:
        """Wall time of another command."""
        return min(used([FER_BATCH, *arguments]).wall_s for _ in range(self.repeats))


@dataclass(frozen=True)
class Measured:
    """A run, measured some times over: the least of each figure, and what its ``run.json`` says of the last time.

    Attributes:
        wall_s, cpu_s, first_s, driver_cpu_s, peak_mb: see :class:`benchmarks.usage.Usage`.
        timings: seconds of the stages, summed over workers.
        samples, faces: counts.
    """

    wall_s: float
    cpu_s: float
    first_s: float | None
    driver_cpu_s: float
    peak_mb: float
    timings: dict[str, float]
    samples: int
    faces: int

    @classmethod
    def of(cls, found: Sequence[Usage], info: dict[str, Any]) -> Measured:
        """The least of some measurements, but the most memory."""
        firsts = [usage.first_s for usage in found if usage.first_s is not None]
        return cls(
            min(usage.wall_s for usage in found),
            min(usage.cpu_s for usage in found),
            min(firsts) if firsts else None,
            min(usage.driver_cpu_s for usage in found),
            max(usage.peak_bytes for usage in found) / 1e6,
            info["timings"],
            info["counts"]["frames"],
            info["counts"]["faces"],
        )


def start_up(bench: Bench) -> dict[str, Any]:
    """A one-second clip with one face, as users run it and without its report; commands that run nothing; and CPU
    seconds of a worker's start.
    """
    clip = Clip(seconds=1).make(bench.clips)
    bare = bench.run(clip, "--report", "none")
    whole = bench.run(clip)
    out = bench.work / "run"
    picture = bench.work / "face.png"
    with av.open(clip) as container:
        next(container.decode(video=0)).to_image().save(picture)
    commands = {
        "--help": bench.command("--help"),
        "status RUN": bench.command("status", out),
        "report RUN": bench.command("report", out),
        "predict IMAGE": bench.command("predict", picture),
    }
    starts = [subprocess.run([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, check=True).stdout
              for _ in range(bench.repeats)]  # fmt: skip
    return {
        "bare": vars(bare),
        "whole": vars(whole),
        "commands": commands,
        "worker_cpu_s": min(map(float, starts)),
    }


def stages(bench: Bench, clip: Clip, start: dict[str, Any]) -> dict[str, Any]:
    """A clip of a minute: the floors of its stages, our run, what it takes beyond the start-up, and what each further
    minute takes.
    """
    path = bench.clip(clip)
    longer = bench.run(bench.clip(clip, LONGER * bench.takes), "--report", "none")
    ours = bench.run(path, "--report", "none")  # last, as its tables are written again
    told = [
        json.loads(
            subprocess.run(
                [sys.executable, "-m", "benchmarks.floors", path, "2", bench.work / "run"],
                stdout=subprocess.PIPE,
                check=True,
            ).stdout
        )
        for _ in range(bench.repeats)
    ]
    names = told[0].keys()
    floors = Floors(**{name: min(one[name] for one in told) for name in names})
    cpu_s, wall_s = ours.cpu_s - start["bare"]["cpu_s"], ours.wall_s - start["bare"]["wall_s"]
    more_workers = len(os.sched_getaffinity(0)) - 1  # a one-second clip needs one
    more_cpu_s, more_wall_s = ((longer.cpu_s - ours.cpu_s) / (LONGER - 1), (longer.wall_s - ours.wall_s) / (LONGER - 1))
    return {
        "clip": path.stem,
        "floors": {**vars(floors), "total_s": floors.total_s},
        "ours": vars(ours),
        "beyond_cpu_s": cpu_s,
        "beyond_wall_s": wall_s,
        "cpu_ratio": cpu_s / floors.total_s,
        "started_cpu_ratio": (cpu_s - more_workers * start["worker_cpu_s"]) / floors.total_s,
        "wall_ratio": wall_s / floors.total_s,
        "further": {
            "cpu_s": more_cpu_s,
            "wall_s": more_wall_s,
            "cpu_ratio": more_cpu_s / floors.total_s,
            "wall_ratio": more_wall_s / floors.total_s,
        },
    }


def scaling(bench: Bench, start: dict[str, Any]) -> dict[str, Any]:
    """By workers, on a long clip without faces; by length, on the clip with one face."""
    empty = bench.clip(Clip(faces=0, seconds=TAKE_S), LONG * bench.takes)
    by_workers = {n: vars(bench.run(empty, "--report", "none", "--workers", str(n), repeats=1)) for n in (1, 2)}
    one, two = (by_workers[n]["wall_s"] - start["bare"]["wall_s"] for n in (1, 2))
    by_length = {}
    for times in (1, 10):
        path = bench.clip(Clip(seconds=TAKE_S), times * bench.takes)
        by_length[times * bench.takes * TAKE_S] = vars(bench.run(path, "--report", "none", "--workers", "2", repeats=1))
    last = by_length[10 * bench.takes * TAKE_S]
    return {
        "by_workers": by_workers,
        "by_workers_s": LONG * bench.takes * TAKE_S,
        "gain": one / two,
        "gain_with_start": by_workers[1]["wall_s"] / by_workers[2]["wall_s"],
        "by_length": by_length,
        "driver_share": last["driver_cpu_s"] / last["cpu_s"],
        "driver_share_of_wall": (last["driver_cpu_s"] - start["bare"]["driver_cpu_s"]) / last["wall_s"],
    }


def short_clips(bench: Bench, start: dict[str, Any], number: int) -> dict[str, Any]:
    """Many clips of one second, alike but for their title; then the same command again, with nothing to do."""
    clip = Clip(height=480, seconds=1)
    source, folder = clip.make(bench.clips), bench.clips / f"short_{number}"
    folder.mkdir(exist_ok=True)
    for index in range(number):
        path = folder / f"{index:04d}.mp4"
        if not path.exists():
            _titled(source, path, f"take {index}")
    ours = bench.run(folder, "--report", "none", repeats=1)
    again = used([FER_BATCH, "run", folder, "--report", "none", "--out", bench.work / "run"])
    told = subprocess.run([sys.executable, "-m", "benchmarks.floors", source, "2", bench.work / "run"],
                          stdout=subprocess.PIPE, check=True)  # fmt: skip
    floor = Floors(**json.loads(told.stdout))
    floor_s = floor.total_s - floor.write_s  # it wrote the rows of all
    cpu_s = (ours.cpu_s - start["bare"]["cpu_s"]) / number
    return {
        "number": number,
        "ours": vars(ours),
        "cpu_ms": 1000 * cpu_s,
        "floor_ms": 1000 * floor_s,
        "overhead_ms": 1000 * (cpu_s - floor_s),
        "wall_ms": 1000 * (ours.wall_s - start["bare"]["wall_s"]) / number,
        "again_wall_s": again.wall_s,
        "again_cpu_s": again.cpu_s,
    }


def _titled(source: Path, path: Path, title: str) -> None:
    unfinished = path.with_suffix(".part")
    with av.open(source) as given, av.open(unfinished, "w", format="mp4") as made:
        film = given.streams.video[0]
        stream = made.add_stream_from_template(film)
        made.metadata["title"] = title
        for packet in given.demux(film):  # type: ignore[union-attr]
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    unfinished.replace(path)


def peer(bench: Bench, python: Path) -> list[dict[str, Any]] | None:
    """The package `fer` on some clips, on the same frames; None where this Python does not have it."""
    try:
        has = subprocess.run([python, "-c", "import fer.fer"], capture_output=True, check=False)
    except OSError:
        return None
    if b"No module named 'fer'" in has.stderr:
        return None
    return [_peer(bench, python, clip) for clip in PEERS_CLIPS]


def _peer(bench: Bench, python: Path, clip: Clip) -> dict[str, Any]:
    path, script = bench.clip(clip), Path(__file__).with_name("peer.py")
    usages: list[Usage] = []
    told: list[dict[str, Any]] = []
    for _ in range(bench.repeats):
        usages.append(used([python, script, path, "12", bench.work / "peer.json"]))
        told.append(json.loads((bench.work / "peer.json").read_text()))
    return {
        "clip": path.stem,
        **{name: min(one[name] for one in told) for name in told[0]},
        "wall_s": min(usage.wall_s for usage in usages),
        "cpu_s": min(usage.cpu_s for usage in usages),
        "peak_mb": max(usage.peak_bytes for usage in usages) / 1e6,
    }
