"""Exported tables hold what the run's tables hold, row by row, in an order and a form that nothing else decides."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_batch.errors import StoppedError
from fer_batch.schema import EMOTIONS, FACES, FRAMES, PROBABILITIES
from fer_batch.store import Run
from reports.export import Format, export, spss, tables, text
from reports.export.columns import FACE_COLUMNS, FRAME_COLUMNS, VIDEO_COLUMNS, Column
from reports.export.tables import Committed
from tests.reports.synthetic import HAPPY, SAD, SyntheticRun

NEUTRAL = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)

Synthetic = Callable[..., SyntheticRun]


def a_run(synthetic: Synthetic) -> Run:
    """Three videos in an order that neither ids nor parts have, one of which failed, and a copy."""
    made = synthetic()
    made.video("b.mp4", [[(1, HAPPY)], [(1, HAPPY), (2, SAD)], "no_face", "decode_error"], video_id="v2")
    made.video("a.mp4", [[(1, NEUTRAL)], "too_small"], video_id="v9")
    made.failed("c.txt")
    made.ledger.append({**made.ledger[0], "path": "d.mp4"})
    return made.write()


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


def test_a_row_a_file_with_means_that_were_reckoned_by_hand(synthetic: Synthetic, tmp_path: Path) -> None:
    export(a_run(synthetic), tmp_path / "out")
    rows = read_csv(tmp_path / "out" / "videos.csv")
    assert [row["path"] for row in rows] == ["a.mp4", "b.mp4", "c.txt", "d.mp4"]
    assert list(rows[0]) == [column.name for column in VIDEO_COLUMNS]
    b = rows[1]
    # Two samples of 500 ms: a happy face (.8, neutral .2), then the mean of that and a sad one (.1 angry, .6, .3).
    means = {"p_angry": "0.025000", "p_happy": "0.600000", "p_sad": "0.150000", "p_neutral": "0.225000"}
    assert {name: b[name] for name in means} == means
    assert b["p_fear"] == b["p_disgust"] == b["p_surprise"] == "0.000000"
    # Valence .8, then the mean of .8 and -.6.
    assert b["valence"] == "0.450000"
    assert b["expressiveness"] == "0.775000"
    assert b["emotion"] == "happy"
    assert b["coverage"] == "0.500000"
    assert (b["sampled_ms"], b["with_face_ms"]) == ("2000", "1000")
    assert (b["no_face_ms"], b["too_small_ms"], b["decode_error_ms"]) == ("500", "0", "500")
    assert (b["n_faces"], b["n_tracks"], b["copy_of"]) == ("3", "2", "")
    assert rows[0]["too_small_ms"] == "500"
    assert (rows[2]["status"], rows[2]["error_code"], rows[2]["p_happy"], rows[2]["emotion"]) == (
        "failed", "not_a_video", "", "",
    )  # fmt: skip
    assert rows[3] == {**b, "path": "d.mp4", "copy_of": "b.mp4"}


def test_every_cell_of_faces_and_frames_is_the_runs_own(synthetic: Synthetic, tmp_path: Path) -> None:
    run = a_run(synthetic)
    export(run, tmp_path / "out")
    of = {"v2": "b.mp4", "v9": "a.mp4"}
    for name, columns in (("faces", FACE_COLUMNS), ("frames", FRAME_COLUMNS)):
        found = pd.read_csv(tmp_path / "out" / f"{name}.csv", keep_default_na=False, na_values=[""])
        expected = getattr(run, name)().to_pandas()
        expected["path"] = expected["video_id"].map(of)
        keys = ["path", "timestamp_ms", *(["face_index"] if name == "faces" else [])]
        expected = expected.sort_values(keys, ignore_index=True)[list(found.columns)]
        assert list(found.columns) == [column.name for column in columns]
        for column in columns:
            theirs = expected[column.name]
            if column.decimals is not None:
                close = pytest.approx(theirs.to_numpy(), abs=0.5000001 * 10**-column.decimals, nan_ok=True)
                assert found[column.name].to_numpy() == close
            else:
                assert found[column.name].fillna("-").tolist() == theirs.astype(object).fillna("-").tolist()


def test_the_columns_are_the_schemas_in_their_order() -> None:
    assert [c.name for c in FACE_COLUMNS] == ["video_id", "path", *FACES.names[1:]]
    assert [c.name for c in FRAME_COLUMNS] == ["video_id", "path", *FRAMES.names[1:]]
    assert all(c.description for c in (*FACE_COLUMNS, *FRAME_COLUMNS, *VIDEO_COLUMNS))


@pytest.mark.parametrize("rows", [1, 3])
def test_the_size_of_a_batch_changes_nothing(
    synthetic: Synthetic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    run = a_run(synthetic)
    formats: list[Format] = ["csv", "tsv"]
    export(run, tmp_path / "one", formats)
    monkeypatch.setattr(tables, "BATCH_ROWS", rows)
    read = []
    whole = tables.Committed._batches

    def watched(self: Committed, *arguments: Any) -> Any:
        for batch in whole(self, *arguments):
            read.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(tables.Committed, "_batches", watched)
    export(run, tmp_path / "two", formats)
    assert max(read) <= rows
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_how_the_run_was_cut_changes_nothing(synthetic: Synthetic, tmp_path: Path) -> None:
    run = a_run(synthetic)
    export(run, tmp_path / "one")
    ledger = pq.read_table(run.ledger)
    parts = [None if v is None else f"part-{v}.parquet" for v in ledger["video_id"].to_pylist()]
    at = ledger.schema.get_field_index("part")
    pq.write_table(ledger.set_column(at, ledger.schema.field(at), pa.array(parts, pa.string())), run.ledger)
    for name, schema in (("faces", FACES), ("frames", FRAMES)):
        whole = run.path / name / "part-00000.parquet"
        rows = pq.read_table(whole, schema=schema)
        for video_id in ("v2", "v9"):
            mine = rows.filter(pa.compute.equal(rows["video_id"], video_id))
            pq.write_table(mine, run.path / name / f"part-{video_id}.parquet")
        whole.unlink()
    export(run, tmp_path / "two")
    for name in ("videos.csv", "frames.csv", "faces.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("found", "csv_cell", "tsv_cell"),
    [
        ("plain", "plain", "plain"),
        ("=1+1", "'=1+1", "'=1+1"),
        ("+49 30", "'+49 30", "'+49 30"),
        ("-5", "'-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)", "'@SUM(A1)"),
        ("  =1+1", "'  =1+1", "'  =1+1"),
        (" x ", '" x "', " x "),
        ("\uff1d1", "'\uff1d1", "'\uff1d1"),
        ("'quoted", "''quoted", "''quoted"),
        ('=HYPERLINK("x","y")', '"\'=HYPERLINK(""x"",""y"")"', "'=HYPERLINK(\"x\",\"y\")"),
        ("a,b", '"a,b"', "a,b"),
        ("tab\there\nand\r", "tab\\there\\nand\\r", "tab\\there\\nand\\r"),
        ("\t=1", "\\t=1", "\\t=1"),
        ("bell\x07\u2028", "bell\\x07\\u2028", "bell\\x07\\u2028"),
        ("gr\u00fc\u00dfe \U0001f600", "gr\u00fc\u00dfe \U0001f600", "gr\u00fc\u00dfe \U0001f600"),
        (r"odd\xff.mp4", r"odd\xff.mp4", r"odd\xff.mp4"),
        ("", "", ""),
    ],
)  # fmt: skip
def test_text_that_a_spreadsheet_would_run_is_harmless(found: str, csv_cell: str, tsv_cell: str) -> None:
    assert text.cell(found, "csv") == csv_cell
    assert text.cell(found, "tsv") == tsv_cell
    if csv_cell:
        (back,) = next(csv.reader(io.StringIO(csv_cell, newline="")))
        assert back[:1] not in set("=+-@")


def test_hostile_names_stay_one_cell(synthetic: Synthetic, tmp_path: Path) -> None:
    names = ['=cmd|"/C calc"!A0.mp4', 'a,"b"\n\tc.mp4', r"odd\xff.mp4"]
    made = synthetic()
    for name in names:
        made.video(name, [[(1, HAPPY)]], path_bytes=b"odd\xff.mp4" if "xff" in name else None)
    export(made.write(), tmp_path / "out", ["csv", "tsv"])
    shown = ['\'=cmd|"/C calc"!A0.mp4', 'a,"b"\\n\\tc.mp4', r"odd\xff.mp4"]
    for name in ("videos", "frames", "faces"):
        rows = read_csv(tmp_path / "out" / f"{name}.csv")
        assert [row["path"] for row in rows] == shown
        assert all(None not in row and None not in row.values() for row in rows)
        lines = (tmp_path / "out" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        width = len(lines[0].split("\t"))
        assert [line.split("\t")[1] for line in lines[1:]] == shown
        assert {len(line.split("\t")) for line in lines} == {width}


def test_numbers_have_their_decimals_and_missing_cells_their_word(tmp_path: Path) -> None:
    columns = (
        Column("share", pa.float32(), "A share", "0..1", 6),
        Column("count", pa.int64(), "A count"),
        Column("yes", pa.bool_(), "Whether"),
        Column("word", pa.string(), "A word"),
    )
    schema = pa.schema([(c.name, c.kind) for c in columns])
    rows = [
        {"share": 1 / 3, "count": 2**53 + 1, "yes": True, "word": "x"},
        {"share": -1e-9, "count": None, "yes": None, "word": None},
        {"share": float("nan"), "count": -3, "yes": False, "word": ""},
        {"share": 0.9999999, "count": 0, "yes": False, "word": "y"},
    ]
    table = pa.Table.from_pylist(rows, schema=schema)
    for dialect, missing in (("csv", ""), ("tsv", "n/a")):
        path = tmp_path / f"t.{dialect}"
        assert text.write_text(path, columns, iter([table]), dialect) == 4  # type: ignore[arg-type]
        sign = "," if dialect == "csv" else "\t"
        lines = [line.split(sign) for line in path.read_text(encoding="utf-8").split("\n")]
        assert lines == [
            ["share", "count", "yes", "word"],
            ["0.333333", "9007199254740993", "true", "x"],
            ["0.000000", missing, missing, missing],
            [missing, "-3", "false", ""],
            ["1.000000", "0", "false", "y"],
            [""],
        ]


def test_the_sidecar_describes_every_column(synthetic: Synthetic, tmp_path: Path) -> None:
    export(a_run(synthetic), tmp_path / "out", ["tsv"])
    for name in ("videos", "frames", "faces"):
        found = json.loads((tmp_path / "out" / f"{name}.json").read_text(encoding="utf-8"))
        header = (tmp_path / "out" / f"{name}.tsv").read_text(encoding="utf-8").partition("\n")[0].split("\t")
        assert list(found) == [*header, "MeasurementToolMetadata"]
        for column in header:
            assert found[column]["LongName"]
            assert found[column]["Description"]
            assert column.endswith("_ms") == (found[column].get("Units") == "ms"), column
        assert found["p_happy"]["Units"] == "0..1"
        assert found["p_happy"]["Decimals"] == 6
    faces = json.loads((tmp_path / "out" / "faces.json").read_text(encoding="utf-8"))
    assert list(faces["emotion"]["Levels"]) == list(EMOTIONS)
    frames = pd.read_csv(tmp_path / "out" / "frames.tsv", sep="\t")
    described = json.loads((tmp_path / "out" / "frames.json").read_text(encoding="utf-8"))
    assert set(frames["reason"].dropna()) == set(described["reason"]["Levels"])
    assert frames[list(PROBABILITIES)].isna().any(axis=1).sum() == 3


def test_a_part_that_is_missing_or_damaged_is_named(synthetic: Synthetic, tmp_path: Path) -> None:
    run = a_run(synthetic)
    part = run.path / "faces" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(StoppedError, match=r"part-00000\.parquet, which holds the rows of a\.mp4, cannot be read"):
        export(run, tmp_path / "out")
    part.unlink()
    with pytest.raises(StoppedError, match="is missing"):
        export(run, tmp_path / "two")
    assert not list((tmp_path / "two").glob(".*"))
    assert not (tmp_path / "two" / "faces.csv").exists()


def test_rows_that_the_ledger_does_not_know_are_an_error(synthetic: Synthetic, tmp_path: Path) -> None:
    made = synthetic()
    made.video("a.mp4", [[(1, HAPPY)], [(1, SAD)]], n_faces=3)
    with pytest.raises(StoppedError, match="names 3 rows of faces and the tables hold 2"):
        export(made.write(), tmp_path / "out")


def test_regrouping_keeps_rows_and_their_order() -> None:
    sizes = ((0, 5), (5, 1), (6, 0), (6, 4))
    stream = (pa.table({"a": pa.array(range(start, start + size), pa.int64())}) for start, size in sizes)
    found = [table["a"].to_pylist() for table in tables.regrouped(stream, 3)]
    assert found == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert spss.sav_names("t", 0) == ["t.sav"]
