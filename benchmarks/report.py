"""What the report costs: pages of one-hour videos with five people, and an index of ten thousand videos.

    python -m benchmarks.report [--videos 100] [--files 10000] [--folder FOLDER]

Writes the tables of made-up runs with the project's schemas, builds their reports in processes of their own and prints
time, peak memory and the weights of the pages. The videos have two samples a second; the people come and go, their
expressions wander and rise to peaks as real ones do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fer_batch.config import RunConfig
from fer_batch.schema import EMOTIONS, FACES, FRAMES, PROBABILITIES, VIDEOS
from fer_batch.store import write_json, write_table

STEP_MS = 500
PEOPLE = 5

_CHILD = """
import json, resource, sys, time
from pathlib import Path
import reports
from fer_batch.store import Run
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
index = reports.build(Run(sys.argv[1]), pages=sys.argv[2])
print(json.dumps({"cpu_s": time.process_time() - started, "before_kb": before,
                  "peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def hour(seed: int, samples: int = 7200, people: int = PEOPLE) -> tuple[pa.Table, pa.Table]:
    """The rows of the tables `faces` and `frames` of a made-up video, without its id."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples, dtype=np.int64) * STEP_MS
    logits = np.zeros((people, samples, 7))
    logits[..., 6] = 1.5
    for person in range(people):
        for emotion in range(7):
            wander = np.convolve(rng.normal(size=samples + 59), np.hanning(60) / 5, "valid")
            logits[person, :, emotion] += wander
        for at in rng.integers(0, samples, max(1, samples // 150)):
            rise = np.exp(-(((np.arange(samples) - at) / rng.uniform(3, 15)) ** 2))
            logits[person, :, rng.integers(0, 6)] += 5 * rise
    logits += rng.normal(scale=0.4, size=logits.shape)
    p = np.exp(logits)
    p /= p.sum(axis=2, keepdims=True)
    seen = np.ones((people, samples), bool)
    for person in range(people):  # each is away for a third of the time, and now and then nobody is there
        for start in rng.integers(0, samples, max(1, samples // 400)):
            seen[person, start : start + int(rng.integers(20, 250))] = False
    for start in rng.integers(0, samples, max(1, samples // 1500)):
        seen[:, start : start + 60] = False
    return _faces(time, p, seen, rng), _frames(time, p, seen)


def _faces(time: Any, p: Any, seen: Any, rng: np.random.Generator) -> pa.Table:
    at, person = np.nonzero(seen.T)
    values = p[person, at].astype(np.float32)
    count = len(at)
    first = np.searchsorted(at, at)
    size = (90 + 25 * person + rng.normal(scale=6, size=count)).astype(np.float32)
    columns: dict[str, Any] = {name: np.zeros(count, np.float32) for name in FACES.names}
    columns |= {
        "video_id": np.full(count, "v"), "frame_index": at * 15, "timestamp_ms": time[at],
        "duration_ms": np.full(count, STEP_MS), "face_index": np.arange(count) - first, "track_id": person + 1,
        "w": size, "h": size, "face_size": size, "det_score": rng.uniform(0.8, 0.95, count).astype(np.float32),
        "sharpness": rng.gamma(4, 60, count).astype(np.float32), "emotion": np.array(EMOTIONS)[values.argmax(axis=1)],
        "confidence": values.max(axis=1), "valence": values[:, 3] - values[:, [0, 1, 2, 4]].max(axis=1),
        "expressiveness": 1 - values[:, 6], **{name: values[:, i] for i, name in enumerate(PROBABILITIES)},
    }  # fmt: skip
    return pa.table({field.name: pa.array(columns[field.name]).cast(field.type) for field in FACES}, schema=FACES)


def _frames(time: Any, p: Any, seen: Any) -> pa.Table:
    counts = seen.sum(axis=0)
    with np.errstate(invalid="ignore"):
        means = (p * seen[..., None]).sum(axis=0) / counts[:, None]
    columns: dict[str, Any] = {
        "video_id": np.full(len(time), "v"), "frame_index": np.arange(len(time)) * 15, "timestamp_ms": time,
        "duration_ms": np.full(len(time), STEP_MS), "n_faces": counts,
        "reason": pa.array([None if n else "no_face" for n in counts], pa.string()),
    }  # fmt: skip
    columns |= {name: pa.array(means[:, i], from_pandas=True) for i, name in enumerate(PROBABILITIES)}
    arrays = {name: value if isinstance(value, pa.Array) else pa.array(value) for name, value in columns.items()}
    return pa.table({field.name: arrays[field.name].cast(field.type) for field in FRAMES}, schema=FRAMES)


def row(number: int, faces: pa.Table, frames: pa.Table, part: str) -> dict[str, Any]:
    """The ledger's row of a made-up video."""
    seen = int((frames["n_faces"].to_numpy() > 0).sum())
    return {
        "video_id": f"v{number:08d}", "path": f"/archive/series {number % 37:02d}/recording {number:05d}.mp4",
        "size_bytes": 10**9, "status": "ok", "container": "mp4", "codec": "h264", "width": 1280, "height": 720,
        "rotation": 0, "duration_ms": len(frames) * STEP_MS, "avg_fps": 30.0, "is_vfr": False,
        "n_frames": len(frames) * 15, "n_decoded": len(frames) * 15, "n_sampled": len(frames), "n_with_face": seen,
        "n_faces": len(faces), "n_tracks": PEOPLE, "sampled_ms": len(frames) * STEP_MS,
        "with_face_ms": seen * STEP_MS, "wall_s": 60.0, "part": part,
    }  # fmt: skip


def write_run(folder: Path, videos: int, samples: int, a_part: int) -> None:
    """A complete run of `videos` made-up videos, `a_part` to a part file; a few kinds of content take turns."""
    for name in ("faces", "frames"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_json(folder / "run.json", {"schema_version": "1", "state": "complete", "config": RunConfig().to_json()})
    contents = [hour(seed, samples) for seed in range(min(videos, 7))]
    rows = []
    for first in range(0, videos, a_part):
        part = f"part-{first:06d}.parquet"
        faces: list[pa.Table] = []
        frames: list[pa.Table] = []
        for number in range(first, min(videos, first + a_part)):
            found = contents[number % len(contents)]
            rows.append(row(number, *found, part))
            for kept, table in zip((faces, frames), found, strict=True):
                ids = pa.array(np.full(len(table), rows[-1]["video_id"]))
                kept.append(table.set_column(0, table.schema.field(0), ids))
        write_table(folder / "faces" / part, pa.concat_tables(faces))
        write_table(folder / "frames" / part, pa.concat_tables(frames))
    for number in range(210, videos, 211):  # a few that failed
        keep = {name: rows[number][name] for name in ("path", "size_bytes")}
        rows[number] = {**keep, "status": "failed", "error_code": "not_a_video", "error": "not a video"}
    ledger = {name: [found.get(name) for found in rows] for name in VIDEOS.names}
    write_table(folder / "videos.parquet", pa.table(ledger, schema=VIDEOS))


def measured(folder: Path, pages: str) -> dict[str, float]:
    """Build a report in a process of its own: CPU seconds, and memory before and at most, in kB."""
    done = subprocess.run([sys.executable, "-c", _CHILD, folder, pages], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def weights(folder: Path, pattern: str) -> str:
    """Smallest, median and largest file, in kB."""
    sizes = sorted(path.stat().st_size for path in (folder / "report").glob(pattern))
    return " / ".join(f"{sizes[at] / 1000:.0f}" for at in (0, len(sizes) // 2, -1)) + " kB"


def main() -> None:
    """Write, build, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=100, help="one-hour videos")
    parser.add_argument("--files", type=int, default=10_000, help="videos of the run with the long index")
    parser.add_argument("--folder", type=Path, help="keep the runs here")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        for name, videos, samples, a_part, pages in (
            ("hours", asked.videos, 7200, 1, "full"),
            ("many", asked.files, 60, 500, "index"),
        ):
            write_run(folder / name, videos, samples, a_part)
            found = measured(folder / name, pages)
            table_bytes = sum(path.stat().st_size for path in (folder / name).glob("f*/*.parquet"))
            minutes = videos * samples * STEP_MS / 60_000
            lines = [
                f"{name}: {videos} videos, {minutes:.0f} min, {table_bytes / 1e6:.0f} MB of tables, pages: {pages}",
                f"CPU time {found['cpu_s']:.1f} s, {found['cpu_s'] / videos * 1000:.0f} ms a video",
                f"peak memory {found['peak_kb'] / 1000:.0f} MB, of it after imports {found['before_kb'] / 1000:.0f} MB",
                f"index {weights(folder / name, 'index.html')}",
            ]
            lines += [f"its further pages {weights(folder / name, 'index-*.html')}"] if videos > 100 else []
            lines += [f"video pages {weights(folder / name, 'videos/*.html')}"] if pages == "full" else []
            print("\n  ".join(lines), flush=True)


if __name__ == "__main__":
    main()
