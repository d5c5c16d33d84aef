"""A run on paper: the driver's own planning and ledger for many videos, none of which exists.

    python -m benchmarks.paper_run --videos 1000000

The driver, schedule and ledger are the real ones; only the workers are made up: they find every file to be a video and
every unit to succeed, and write the ledger's files as real ones do. Prints, as JSON, the time that the driver itself
took and its memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from fer_batch.commit import Counts, create_folders
from fer_batch.config import RunConfig
from fer_batch.discover import Discovery
from fer_batch.driver import Driver, Join, Outcome, Probe, Task
from fer_batch.ledger import join
from fer_batch.probe import Cut, VideoInfo
from fer_batch.process import CropSpec, RunContext, Seconds
from fer_batch.schedule import Schedule
from fer_batch.schema import VIDEOS, with_metadata
from fer_batch.store import PARQUET, Run, write_json
from fer_batch.tables import file_columns, ledger_table
from fer_batch.todo import ToDo
from fer_batch.worker import Probed, UnitDone


class PaperWorkers:
    """Workers that take no time, so that all of it is the driver's; see :class:`fer_batch.driver.Workers`.

    Attributes:
        away_s: time spent here, which in a real run is the workers'.
    """

    def __init__(self, size: int, out: Path, seconds: int) -> None:
        self.size = size
        self.away_s = 0.0
        self.n_tasks = self.n_units = 0
        self._out, self._seconds = out, seconds
        self._running: list[Task] = []
        self._schema = with_metadata(VIDEOS, {})

    def expect(self, units: int) -> None:
        """Nobody asks for more."""

    def start(self, task: Task) -> None:
        """Take it on."""
        self._running.append(task)

    def running(self) -> Collection[Task]:
        """What was taken on."""
        return self._running

    def finished(self) -> list[tuple[Task, Outcome]]:
        """The oldest task, done."""
        before = time.process_time()
        task = self._running.pop(0)
        self.n_tasks += 1
        outcome = self._outcome(task)
        self.away_s += time.process_time() - before
        return [(task, outcome)]

    def cancel(self) -> None:
        """Nothing is left behind."""

    def _outcome(self, task: Task) -> Outcome:
        if isinstance(task, Probe):
            return Probed([video(path, self._seconds) for path in task.paths], Counts(), [])
        if isinstance(task, Join):
            return Counts(ok=1)
        self.n_units += 1
        part = f"part-{task.unit_id}.parquet"
        rows = [row(segment.video, part) for segment in task.segments]
        name = f"{time.time_ns():020d}-{task.unit_id}.parquet"
        pq.write_table(ledger_table(rows, self._schema), self._out / "work" / "ledger" / name, **PARQUET)
        samples = 2 * self._seconds * len(rows)
        return UnitDone(Counts(ok=len(rows), frames=samples, faces=samples), Seconds(), samples, samples, [], [])


def video(path: Path, seconds: int) -> VideoInfo:
    """What probing a video would tell: 720p, 30 frames a second."""
    return VideoInfo(
        path=path, video_id=f"v{hash(path) & 0xFFFFFFFFFFFFFFFF:020x}", size_bytes=seconds * 500_000, mtime_ns=1,
        container="mov", codec="h264", stream_index=0, width=1280, height=720, rotation=0, sample_aspect=Fraction(1),
        time_base=Fraction(1, 30), start_pts=0, end_pts=30 * seconds, n_frames=30 * seconds, is_vfr=False,
        timing="packets", broken_at_ms=None, cuts=(Cut(0, 0, None),),
    )  # fmt: skip


def row(found: VideoInfo, part: str) -> dict[str, Any]:
    """The ledger's row of a video that went well."""
    samples = 2 * found.duration_ms // 1000
    return {
        **file_columns(found), "video_id": found.video_id, "status": "ok", "container": found.container,
        "codec": found.codec, "width": found.width, "height": found.height, "rotation": 0,
        "duration_ms": found.duration_ms, "avg_fps": 30.0, "is_vfr": False, "n_frames": found.n_frames,
        "n_decoded": samples, "n_sampled": samples, "n_with_face": samples, "n_faces": samples, "n_tracks": 1,
        "sampled_ms": found.duration_ms, "with_face_ms": found.duration_ms, "wall_s": 1.0, "part": part,
    }  # fmt: skip


def files(count: int) -> Iterator[Path]:
    """Names as an archive has them."""
    return (Path(f"/archive/{number // 1000:04d}/recording {number:07d}.mp4") for number in range(count))


def peak_mb() -> float:
    """Most memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def paper_run(folder: Path, count: int, workers: int, seconds: int) -> dict[str, float]:
    """Drive the run into an empty folder; times in seconds of CPU, memory in MB."""
    create_folders(folder)
    write_json(folder / "run.json", {})
    template = np.zeros((5, 2), np.float32)
    context = RunContext(folder, RunConfig(), Path("none"), CropSpec(template, 48, 1), {})
    found = {"imports_mb": peak_mb()}

    paper = PaperWorkers(workers, folder, seconds)
    schedule = Schedule(context.config, workers, lambda _video_id: [])
    driver = Driver(context, paper, schedule, files(count), Counts(), lambda _progress: None, dict)
    start = time.process_time()
    driver.run()
    if driver.counts.ok != count:
        raise RuntimeError(f"the driver counted {driver.counts.ok} of {count} videos")
    found |= {
        "tasks": paper.n_tasks, "units": paper.n_units, "drive_mb": peak_mb(),
        "drive_s": time.process_time() - start - paper.away_s,
    }  # fmt: skip

    start = time.process_time()
    run = Run(folder)
    join(run, {})
    found |= {"join_s": time.process_time() - start, "join_mb": peak_mb(),
              "ledger_mb": run.ledger.stat().st_size / 1e6}  # fmt: skip

    start = time.process_time()
    again = ToDo(Discovery([]), run, retry_failed=False)
    if len(again.done_ids) != count:
        raise RuntimeError(f"{len(again.done_ids)} of {count} videos are known again")
    return found | {"again_s": time.process_time() - start, "again_mb": peak_mb()}


def main() -> None:
    """Drive, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=10, help="length of each video")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(paper_run(Path(folder), asked.videos, asked.workers, asked.seconds)))


if __name__ == "__main__":
    main()
