"""SPSS files say what the tables say when pyreadstat reads them back: values, labels, levels, missing values."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyreadstat
import pytest

from fer_batch.errors import RefusedError, StoppedError
from fer_batch.schema import EMOTIONS, PROBABILITIES
from reports.export import export, needs, spss
from reports.export.columns import FACE_COLUMNS, Column
from tests.reports.synthetic import HAPPY, SAD, SyntheticRun

Synthetic = Callable[..., SyntheticRun]


def a_run(made: SyntheticRun) -> SyntheticRun:
    made.video("a.mp4", [[(1, HAPPY)], [(1, SAD), (2, HAPPY)], "no_face"])
    made.video("nobody \u00fc.mp4", ["no_face", "too_small"])
    return made.failed("c.txt")


def test_faces_are_read_back(synthetic: Synthetic, tmp_path: Path) -> None:
    run = a_run(synthetic()).write()
    export(run, tmp_path / "out", ["sav"])
    found, about = pyreadstat.read_sav(tmp_path / "out" / "faces.sav")
    expected = run.faces().to_pandas()
    assert list(found.columns) == [column.name for column in FACE_COLUMNS]
    for name in ("frame_index", "timestamp_ms", "track_id", *PROBABILITIES, "valence", "w"):
        assert found[name].tolist() == pytest.approx(expected[name].tolist())
    assert (
        [EMOTIONS[int(code)] for code in found["emotion"]] == expected["emotion"].tolist() == ["happy", "sad", "happy"]
    )
    assert about.variable_value_labels["emotion"] == dict(enumerate(EMOTIONS))
    assert about.column_names_to_labels["p_happy"] == "Probability of happy [0..1]"
    assert about.column_names_to_labels["timestamp_ms"] == "Timestamp [ms]"
    assert about.variable_measure["emotion"] == about.variable_measure["track_id"] == "nominal"
    assert about.variable_measure["p_happy"] == "scale"
    assert about.original_variable_types["p_happy"] == "F12.6"
    assert about.original_variable_types["timestamp_ms"] == "F12.0"
    assert "calibrated on FER2013 only" in " ".join(about.notes)
    decoded = pyreadstat.read_sav(tmp_path / "out" / "faces.sav", apply_value_formats=True)[0]
    assert decoded["emotion"].tolist() == ["happy", "sad", "happy"]


def test_missing_values_are_missing(synthetic: Synthetic, tmp_path: Path) -> None:
    export(a_run(synthetic()).write(), tmp_path / "out", ["sav"])
    path = tmp_path / "out" / "videos.sav"
    found, about = pyreadstat.read_sav(path)
    assert found["path"].tolist() == ["a.mp4", "c.txt", "nobody \u00fc.mp4"]
    assert found["p_happy"].isna().tolist() == [False, True, True]
    assert found["emotion"].isna().tolist() == [False, True, True]
    assert about.variable_value_labels["emotion"][99] == "no face, so nothing is known"
    coded, declared = pyreadstat.read_sav(path, user_missing=True)
    assert declared.missing_ranges == {"emotion": [{"lo": 99, "hi": 99}]}
    assert coded["emotion"].tolist() == [3, 99, 99]
    assert [about.variable_value_labels["status"][code] for code in found["status"]] == ["ok", "failed", "ok"]
    frames, about = pyreadstat.read_sav(tmp_path / "out" / "frames.sav")
    reasons = [about.variable_value_labels["reason"].get(code) for code in frames["reason"]]
    assert reasons == [None, None, "no_face", "no_face", "too_small"]
    assert math.isnan(frames["reason"][0])


def test_long_tables_are_several_files_with_the_same_variables(
    synthetic: Synthetic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(synthetic()).write()
    export(run, tmp_path / "one", ["sav"])
    monkeypatch.setattr(spss, "PIECE_ROWS", 2)
    made = export(run, tmp_path / "two", ["sav"])
    names = [path.name for path in made.files]
    assert [name for name in names if name.startswith("frames")] == [f"frames-00{n}.sav" for n in (1, 2, 3)]
    pieces = [pyreadstat.read_sav(tmp_path / "two" / f"frames-00{n}.sav")[0] for n in (1, 2, 3)]
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    whole = pyreadstat.read_sav(tmp_path / "one" / "frames.sav")[0]
    pd.testing.assert_frame_equal(pd.concat(pieces, ignore_index=True), whole)
    assert {path.name for path in (tmp_path / "two").iterdir()} == {*names, "export.json"}


def test_more_or_fewer_rows_than_announced_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (Column("a", pa.int64(), "A number"),)
    table = pa.table({"a": [1, 2]})
    paths = [tmp_path / "a-001.sav", tmp_path / "a-002.sav"]
    with pytest.raises(StoppedError, match="fewer rows"):
        spss.write_sav(paths, columns, iter([table]), "test")
    monkeypatch.setattr(spss, "PIECE_ROWS", 1)
    with pytest.raises(StoppedError, match="more rows"):
        spss.write_sav(paths[:1], columns, iter([table]), "test")


def test_a_table_without_rows_has_its_variables(synthetic: Synthetic, tmp_path: Path) -> None:
    made = synthetic()
    made.video("nobody.mp4", ["no_face"])
    export(made.write(), tmp_path / "out", ["sav"])
    found, about = pyreadstat.read_sav(tmp_path / "out" / "faces.sav")
    assert len(found) == 0
    assert about.column_names == [column.name for column in FACE_COLUMNS]


def test_names_that_spss_accepts() -> None:
    long = "p_happy_" + "a" * 80
    names = ["p_happy", "P_HAPPY", "with", "1st", "a b", "a-b", "a_b", "", "gr\u00fc\u00dfe", long, long + "b", "_x_"]
    given = spss.spss_names(names)
    assert list(given) == names
    assert given["p_happy"] == "p_happy"
    assert given["P_HAPPY"] == "P_HAPPY_2"
    assert given["with"] == "v_with"
    assert given["1st"] == "v_1st"
    assert [given[name] for name in ("a b", "a-b", "a_b")] == ["a_b", "a_b_2", "a_b_3"]
    assert given["gr\u00fc\u00dfe"] == "gr\u00fc\u00dfe"
    assert len(given[long]) == 64
    assert given[long + "b"] == given[long][:62] + "_2"
    assert len({name.casefold() for name in given.values()}) == len(names)
    assert all(len(name.encode()) <= 64 and name[0].isalpha() for name in given.values())


def test_long_labels_and_odd_names_are_written_and_read(tmp_path: Path) -> None:
    columns = (
        Column("p_" + "\u00fc" * 80, pa.float64(), "One", "0..1", 6, label="\u00fc" * 300),
        Column("p_" + "\u00fc" * 81, pa.float64(), "Two", "0..1", 6),
        Column("text", pa.string(), "Three"),
    )
    table = pa.table([[0.25, None], [0.5, 1.0], ["\u00fc" * 400, None]], names=[c.name for c in columns])
    spss.write_sav([tmp_path / "a.sav"], columns, iter([table]), "x" * 500)
    found, about = pyreadstat.read_sav(tmp_path / "a.sav")
    assert found.iloc[:, 0].tolist()[0] == 0.25
    assert math.isnan(found.iloc[1, 0])
    assert found["text"].tolist() == ["\u00fc" * 400, ""]
    assert about.column_labels[0] is not None
    assert set(about.column_labels[0].casefold()) == {"\u00fc"}


def test_without_the_package_the_refusal_names_the_command(
    synthetic: Synthetic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(needs, "import_module", absent)
    run = a_run(synthetic()).write()
    with pytest.raises(RefusedError, match=r"sav needs the package pyreadstat.*pip install 'fer-batch\[export\]'"):
        export(run, tmp_path / "out", ["csv", "sav"])
    with pytest.raises(RefusedError, match=r"elan needs the package pympi.*pip install 'fer-batch\[export\]'"):
        export(run, tmp_path / "out", ["elan"])
    assert not (tmp_path / "out").exists()
