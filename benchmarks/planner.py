"""What a fleet would do: videos an hour, cost and the first bottleneck for 10, 100 and 1,000 workers.

    python -m benchmarks.planner                          # with the project's measured costs
    python -m benchmarks.planner --measure CLIPS          # with those of a short run on clips of yours, made now
    python -m benchmarks.planner --run RUN                # with those of a run of yours, from its run.json and ledger
    python -m benchmarks.planner --cores 16 --price 0.60 --gpus 1 --workers 64 512
    python -m benchmarks.planner --simulate 1000000       # and the driver itself, really run, see benchmarks.paper_run

A plan is arithmetic on measured figures: an hour of video costs seconds of CPU and of the model; each resource (cores,
GPUs, the storage's bandwidth, its writes, the driver) then has a rate that it cannot exceed, and the least is the
fleet's. Stages that wait are counted as work, so figures of a run on a busy machine are too high.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from fer_batch import plan
from fer_batch.driver import PROBE_CHUNK
from fer_batch.errors import FerBatchError
from fer_batch.process import BATCH, MAX_IN_FLIGHT
from fer_batch.resources import CPUS_PER_ACTOR, STORE_BYTES
from fer_batch.store import Run
from fer_batch.unit_size import UNIT_COST_S

HOUR_S = 3600.0

DRIVER_S = 0.0005
"""CPU seconds of the driver for a task, planning and counting, measured by :mod:`benchmarks.paper_run`."""

RAY_S = 0.001
"""CPU seconds of the driver's process in Ray for a task: measured 0.55 ms with ten in flight, 0.9 ms with 1,000."""

BUSY = 0.25
"""Load for each core before a measurement above which its figures are not to be trusted."""

FILES_A_UNIT = 3
"""Faces, frames and ledger."""


@dataclass(frozen=True)
class Costs:
    """What an hour of video costs.

    Attributes:
        cpu_s: seconds of one core, the model left out: decoding, detection, alignment, writing.
        score_s: seconds of one core for the model.
        gpu_s: seconds of a GPU for the model instead.
        read_gb: how much is read: every file twice, as probing reads all its packets.
        source: where the figures come from.
    """

    cpu_s: float
    score_s: float
    gpu_s: float
    read_gb: float
    source: str


@dataclass(frozen=True)
class Kind:
    """A kind of node, and what it shares with others.

    Attributes:
        cores, gpus: of a node.
        price: of a node, an hour, in whatever currency.
        storage_gbps: gigabits a second that the shared storage gives in all.
        writes: files a second that it takes in all.
    """

    cores: int
    gpus: int
    price: float
    storage_gbps: float
    writes: float


@dataclass(frozen=True)
class Plan:
    """What so many workers do.

    Attributes:
        workers, nodes: how many.
        limits: hours of video an hour that each resource could do at most.
    """

    workers: int
    nodes: int
    limits: dict[str, float]

    @property
    def first(self) -> str:
        """The resource that is exhausted first."""
        return min(self.limits, key=self.limits.__getitem__)

    @property
    def rate(self) -> float:
        """Hours of video an hour."""
        return self.limits[self.first]


def known_costs(height: int, faces: float, gpu_faces_s: float) -> Costs:
    """From the constants by which the engine itself plans.

    Args:
        height: of the video, 16:9, 30 frames a second.
        faces: in a sample, on average, at two samples a second.
        gpu_faces_s: faces that a GPU scores in a second.
    """
    samples = HOUR_S * 2
    frames = HOUR_S * 30
    megapixels = height * height * 16 / 9 / 1e6
    cpu = frames * megapixels * plan.DECODE_S_PER_FRAME_MP + samples * plan.DETECT_S
    bits = 5e6 * megapixels / (1280 * 720 / 1e6)  # 5 Mbit/s at 720p
    return Costs(cpu, samples * faces * plan.SCORE_INT8_S, samples * faces / gpu_faces_s, 2 * bits * HOUR_S / 8e9,
                 f"{height}p at 30 frames a second, {faces:g} faces in each of 2 samples a second; constants of "
                 "fer_batch.plan")  # fmt: skip


def measured_costs(run: Run, gpu_faces_s: float) -> Costs:
    """From a run that was made, by its workers' clocks.

    Raises:
        ValueError: it holds no measured video.
    """
    timings, ledger = run.info["timings"], run.videos()
    hours = sum(value or 0 for value in ledger["duration_ms"].to_pylist()) / 1000 / HOUR_S
    if not hours or "decode_s" not in timings:
        raise ValueError(f"{run.path} tells no timings: make a run anew, of a few minutes of video at least")
    cpu = sum(timings[f"{stage}_s"] for stage in ("decode", "detect", "align", "write"))
    faces = sum(value or 0 for value in ledger["n_faces"].to_pylist())
    size = sum(value or 0 for value in ledger["size_bytes"].to_pylist())
    return Costs(cpu / hours, timings.get("score_s", 0.0) / hours, faces / gpu_faces_s / hours, 2 * size / 1e9 / hours,
                 f"{run.path}: {hours:.2f} hours of {len(ledger)} videos")  # fmt: skip


def measured_here(clips: Sequence[Path], gpu_faces_s: float) -> Costs:
    """From a run on these clips, made now and thrown away: one worker and one model, each with a core of its own.

    Minutes of video like those that are planned for are enough; on a machine that does nothing else, or the figures are
    too high.

    Raises:
        RefusedError: there is no video in them.
        ValueError: none of them could be read.
    """
    import fer_batch

    busy = psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
    one = fer_batch.Resources(cpus=2, workers=1, actors=1, gpus=0)
    with tempfile.TemporaryDirectory(prefix="fer-plan-") as folder:
        run = fer_batch.run(list(clips), Path(folder) / "run", resources=one)
        costs = measured_costs(run, gpu_faces_s)
        minutes = sum(value or 0 for value in run.videos()["duration_ms"].to_pylist()) / 60_000
    note = "" if busy < BUSY else f"; the machine was busy before ({busy:.0%}), so take them for too high"
    return replace(costs, source=f"measured now, on {minutes:.1f} minutes of {', '.join(map(str, clips))}{note}")


def unit_hours(costs: Costs, video_s: float) -> float:
    """Hours of video in a unit: short videos share one, of a long one it is a part."""
    a_unit = UNIT_COST_S / (costs.cpu_s + costs.score_s)
    return min(max(a_unit, min(video_s / HOUR_S, 1.5 * a_unit)), plan.MAX_UNIT_VIDEOS * video_s / HOUR_S)


def planned(costs: Costs, kind: Kind, workers: int, video_s: float) -> Plan:
    """The rates that so many workers, one a core, cannot exceed."""
    nodes = -(-workers // kind.cores)
    cores = nodes * kind.cores
    on_gpu = kind.gpus > 0
    units = 1 / unit_hours(costs, video_s)
    probes = HOUR_S / video_s / PROBE_CHUNK
    limits = {
        "cores": cores * HOUR_S / (costs.cpu_s + (0 if on_gpu else costs.score_s)),
        "storage, reading": kind.storage_gbps / 8 * HOUR_S / costs.read_gb,
        "storage, writing": kind.writes * HOUR_S / (FILES_A_UNIT * units),
        "driver": HOUR_S / ((units + probes) * (DRIVER_S + RAY_S)),
    }
    if on_gpu:
        limits["GPUs"] = nodes * kind.gpus * HOUR_S / costs.gpu_s
    return Plan(workers, nodes, limits)


def table(costs: Costs, kind: Kind, sizes: Sequence[int], video_s: float) -> list[str]:
    """The plans as lines, a row each."""
    head = (
        f"{'workers':>8} {'nodes':>6} {'videos/h':>10} {'hours/h':>9} {'price of 1,000 h':>17} {'first bottleneck':>18}"
    )
    lines = [head + "  how busy the others are"]
    for workers in sizes:
        found = planned(costs, kind, workers, video_s)
        price = found.nodes * kind.price / found.rate * 1000
        others = {name: most for name, most in found.limits.items() if name != found.first}
        busy = ", ".join(f"{name} {found.rate / most:.1%}" for name, most in others.items())
        videos = found.rate * HOUR_S / video_s
        row = f"{workers:>8} {found.nodes:>6} {videos:>10,.0f} {found.rate:>9,.0f} {price:>17,.2f} {found.first:>18}"
        lines.append(f"{row}  {busy}")
    return lines


def what_then(costs: Costs, kind: Kind, workers: int, video_s: float, input_size: int, videos: int) -> list[str]:
    """What Ray's object store, the driver and the ledger do then."""
    found = planned(costs, kind, workers, video_s)
    crops = kind.cores * BATCH * (MAX_IN_FLIGHT + 1) * input_size**2 * 3 / 1e6
    actors = kind.gpus or -(-kind.cores // CPUS_PER_ACTOR)
    units = videos * video_s / HOUR_S / unit_hours(costs, video_s)
    a_second = found.rate / unit_hours(costs, video_s) / HOUR_S
    busy = found.rate / found.limits["driver"]
    hours = videos * video_s / HOUR_S / found.rate
    store = f"{kind.cores} workers and {actors} models keep at most {crops:.0f} MB of crops in it"
    return [
        f"object store of a node: {store}, of {STORE_BYTES / 1e6:.0f} MB",
        f"driver at {workers} workers: {a_second:.1f} units a second, busy {busy:.1%}",
        f"{videos:,} videos: {hours:,.1f} hours; {units:,.0f} units, {FILES_A_UNIT * units:,.0f} files while it runs",
    ]


def simulated(videos: int, workers: int) -> list[str]:
    """The driver's own planning and ledger, really run, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.paper_run", "--videos", str(videos), "--workers", str(workers)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    each = found["drive_s"] / found["tasks"] * 1e6
    joined = (
        f"{found['units']:,} files of the ledger joined in {found['join_s']:.0f} s CPU to {found['ledger_mb']:.0f} MB"
    )
    return [
        f"the driver, for {videos:,} videos of 10 s and {workers} workers, really run:",
        f"  {found['tasks']:,} tasks driven in {found['drive_s']:.0f} s CPU, {each:.0f} us each",
        f"  memory {found['drive_mb']:.0f} MB, of it {found['imports_mb']:.0f} MB before it began",
        f"  {joined}; memory {found['join_mb']:.0f} MB",
        f"  started again, it knows all after {found['again_s']:.0f} s CPU; memory {found['again_mb']:.0f} MB",
    ]


def parser() -> argparse.ArgumentParser:
    """What may be asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    costs = parser.add_mutually_exclusive_group()
    costs.add_argument("--run", type=Path, help="take the costs from this run")
    costs.add_argument("--measure", type=Path, nargs="+", metavar="CLIPS", help="measure them now, by a run on these")
    parser.add_argument("--height", type=int, default=720, help="of the videos, where nothing is measured")
    parser.add_argument("--faces", type=float, default=1.0, help="in a sample, where nothing is measured")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of a video")
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--cores", type=int, default=8, help="of a node")
    parser.add_argument("--gpus", type=int, default=0, help="of a node")
    parser.add_argument(
        "--gpu-faces", type=float, default=2000.0, help="faces that a GPU scores in a second: measure yours"
    )
    parser.add_argument("--price", type=float, default=0.40, help="of a node, an hour")
    parser.add_argument("--storage", type=float, default=10.0, help="gigabits a second of the shared storage in all")
    parser.add_argument("--writes", type=float, default=1000.0, help="files a second that the storage takes in all")
    parser.add_argument("--videos", type=int, default=1_000_000, help="of the whole run, for the ledger")
    parser.add_argument("--input-size", type=int, default=48, help="pixels of the model's input")
    parser.add_argument("--simulate", type=int, metavar="VIDEOS", help="also run the driver on so many made-up videos")
    return parser


def costs_of(asked: argparse.Namespace) -> Costs:
    """The costs that are asked for, see :func:`known_costs`, :func:`measured_costs` and :func:`measured_here`."""
    if asked.measure is not None:
        return measured_here(asked.measure, asked.gpu_faces)
    if asked.run is not None:
        return measured_costs(Run(asked.run), asked.gpu_faces)
    return known_costs(asked.height, asked.faces, asked.gpu_faces)


def main() -> None:
    """Plan, print."""
    asked = parser().parse_args()
    try:
        costs = costs_of(asked)
    except (FerBatchError, ValueError) as error:
        parser().error(str(error))
    kind = Kind(asked.cores, asked.gpus, asked.price, asked.storage, asked.writes)
    video_s = asked.minutes * 60
    model = f"{costs.score_s:,.0f} s more for the model ({costs.gpu_s:,.1f} s of a GPU instead)"
    lines = [
        f"costs: {costs.source}",
        f"an hour of video: {costs.cpu_s:,.0f} s of a core, {model}, {costs.read_gb:.2f} GB read",
        f"a node: {kind.cores} cores, {kind.gpus} GPUs, {kind.price:g} an hour; videos of {asked.minutes:g} minutes",
        *table(costs, kind, asked.workers, video_s),
        *what_then(costs, kind, max(asked.workers), video_s, asked.input_size, asked.videos),
    ]
    if asked.simulate:
        lines += simulated(asked.simulate, max(asked.workers))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
