"""A small study in a folder: recordings of a person alone and with others, a table of who is who, a run, an export."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fer_batch.bundle import ModelBundle
from fer_batch.driver import Task
from fer_batch.purged import STARTED
from fer_batch.score import Scorer
from tests.clips import Clips
from tests.faults.inline import Inline, Scores, on
from tests.jobs.command import fer_batch

PERSON = "anna77"

ROWS = """\
participant,video,person,stimulus,start_ms,end_ms,run
anna77,anna77.mp4,largest,song,0,2000,
anna77,with-anna77.mp4,track:1,talk,0,1000,{run}
ben,with-anna77.mp4,track:2,talk,0,1000,{run}
carl,carl.mp4,largest,song,0,,
anna77,anna77-torn.mp4,largest,hum,0,,
"""


@contextmanager
def without_ray(tiny: ModelBundle, dies_of: Callable[[Task], bool] = lambda _: False) -> Iterator[pytest.MonkeyPatch]:
    """Inside, the commands that run do so in this process, whose workers die of some tasks."""
    with on(Inline(Scores(Scorer(tiny, threads=1)), dies_of=dies_of)) as patch:
        yield patch


def write_recordings(folder: Path, clips: Clips) -> None:
    """Anna alone, with Ben, and in a file that is no video; Carl alone."""
    folder.mkdir(parents=True)
    for name, clip in (("anna77", clips.one_face), ("with-anna77", clips.two_faces), ("carl", clips.crossing)):
        shutil.copy(clip.path, folder / f"{name}.mp4")
    shutil.copy(clips.two_faces.path, folder / "copy-with-anna77.mp4")
    (folder / "anna77-torn.mp4").write_bytes(b"no video")


def run_command(folder: Path, tiny: ModelBundle, *more: str | Path) -> list[str | Path]:
    """The command that makes the run."""
    return ["run", folder / "recordings", "--out", folder / "out", "--model", tiny.path, *more]


def write_table(folder: Path) -> Path:
    """The participants table, as Excel saves it."""
    run_id = json.loads((folder / "out" / "run.json").read_bytes())["id"]
    table = folder / "people.csv"
    table.write_bytes(ROWS.format(run=run_id).replace("\n", "\r\n").encode("utf-8-sig"))
    return table


def study(folder: Path, clips: Clips, tiny: ModelBundle) -> None:
    """All of it, with pages, an export inside the run's folder, a drawn sample, and a part that was set aside."""
    write_recordings(folder / "recordings", clips)
    out = folder / "out"
    with without_ray(tiny) as patch:
        assert fer_batch(patch, *run_command(folder, tiny)) == 3
        table = write_table(folder)
        assert fer_batch(patch, "export", out, "--out", out / "export", "--groups", table) == 0
        assert fer_batch(patch, "validate", out, "--out", folder / "coding", "--n", "20") == 0
    (out / "damaged" / "faces").mkdir(parents=True)
    part = next((out / "faces").iterdir())
    shutil.copy(part, out / "damaged" / "faces" / part.name)


def naming(folder: Path, text: str) -> list[str]:
    """Files in a folder whose bytes, rows or name hold a text."""
    found = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = file.read_bytes()
        if file.suffix == ".parquet":
            table = pq.read_table(file)
            data += repr(table.to_pylist()).encode() + repr(table.schema.metadata).encode()
        if text in str(file.relative_to(folder)) or text.encode() in data:
            found.append(str(file.relative_to(folder)))
    return found


def dated(folder: Path, file: str, days: int) -> None:
    """Make believe that a table was written so many days ago."""
    path = folder / file
    table = pq.read_table(path)
    metadata = table.schema.metadata | {STARTED.encode(): days_ago(days).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def days_ago(days: int) -> str:
    """That time, as a run writes it."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")


def edit_info(run: Path, **changes: Any) -> None:
    """Change what ``run.json`` says."""
    file = run / "run.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | changes))
