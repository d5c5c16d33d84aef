"""A run at privacy level `faces` made into what the engine would have kept of it at `tracks`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from fer_batch.config import Privacy, RunConfig
from fer_batch.schema import TABLES, TRACKS
from fer_batch.store import Run, write_table
from fer_batch.tables import FinalVideo
from fer_batch.track_tables import without_faces


def as_tracks(run: Run, folder: Path, bin_s: int = 30) -> Run:
    """Write the run anew, by the engine's own means.

    Args:
        run: it, complete.
        folder: of the new run.
        bin_s: length of its bins.
    """
    config = replace(RunConfig(), privacy=Privacy("tracks", bin_s=bin_s))
    faces, frames, ledger = run.faces(), run.frames(), run.videos()
    made: dict[str, list[pa.Table]] = {name: [] for name in TABLES["tracks"]}
    for row in sorted((row for row in ledger.to_pylist() if row["part"]), key=lambda row: str(row["video_id"])):
        mine = {name: table.filter(pa.compute.equal(table["video_id"], row["video_id"])) for name, table in
                (("faces", faces), ("frames", frames))}  # fmt: skip
        for name, table in without_faces(FinalVideo(mine, row), config).tables.items():
            made[name].append(table)
    folder.mkdir()
    info = run.info
    info["config"] |= {"privacy": config.to_json()["privacy"]}
    (folder / "run.json").write_text(json.dumps(info))
    write_table(folder / "videos.parquet", ledger)
    for name, tables in made.items():
        (folder / name).mkdir()
        write_table(folder / name / "part-00000.parquet", pa.concat_tables(tables))
    assert Run(folder).tracks().schema.equals(TRACKS)
    return Run(folder)
