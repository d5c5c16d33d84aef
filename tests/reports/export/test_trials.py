"""Trials and the wide table: who showed what during which stimulus, reckoned by hand."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyreadstat
import pytest

from fer_batch.errors import RefusedError
from reports.export import export
from reports.export.trials import TRIAL_COLUMNS
from reports.groups import Settings, compare
from tests.reports.synthetic import HAPPY, SAD, SyntheticRun

Synthetic = Callable[..., SyntheticRun]

HEADER = "participant,session,video,person,stimulus,start_ms,end_ms,condition,order,exclude,exclude_reason,run"


def table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join((HEADER, *rows)) + "\n", encoding="utf-8")
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def a_run(made: SyntheticRun) -> SyntheticRun:
    # Two faces of one size; track 1 is happy for 1 s, then sad for 1 s, track 2 the other way round, then nobody.
    made.video("one.mp4", [[(1, HAPPY), (2, SAD)]] * 2 + [[(1, SAD), (2, HAPPY)]] * 2 + ["no_face"] * 2)
    made.video("two.mp4", [[(1, SAD)], "no_face", [(1, SAD)], [(1, HAPPY)]])
    return made.failed("broken.mp4")


def test_a_row_a_trial_and_a_row_a_participant(synthetic: Synthetic, tmp_path: Path) -> None:
    run = a_run(synthetic()).write()
    groups = table(
        tmp_path / "t.csv",
        f"P1,1,one.mp4,track:1,clip A,0,1250,,1,,,{run.id}",
        f"P1,1,one.mp4,track:1,clip B,1250,3000,,2,,,{run.id}",
        f"=P2,1,one.mp4,track:2,clip A,0,1250,,1,,,{run.id}",
        "=P2,1,two.mp4,largest,clip B,,,,2,,,",
        "P3,1,two.mp4,largest,clip A,0,500,,1,yes,phone rang,",
        "P3,1,broken.mp4,largest,clip B,,,,2,,,",
    )
    made = export(run, tmp_path / "out", ["csv", "tsv", "sav"], groups=groups)
    assert made.rows == {"videos": 3, "frames": 10, "faces": 11, "trials": 6, "participants": 3}
    found = rows_of(tmp_path / "out" / "trials.csv")
    assert list(found[0]) == [column.name for column in TRIAL_COLUMNS]
    first = found[0]
    # 500 and 500 ms happy (.8, neutral .2), then 250 ms sad (.6, angry .1, neutral .3): the trial ends within a sample.
    assert (first["n_samples"], first["sampled_ms"], first["seen_ms"], first["coverage"]) == (
        "3", "1250", "1250", "1.000000",
    )  # fmt: skip
    assert (first["p_happy"], first["p_sad"], first["p_angry"], first["p_neutral"]) == (
        "0.640000", "0.120000", "0.020000", "0.220000",
    )  # fmt: skip
    assert (first["valence"], first["expressiveness"]) == (f"{0.8 * 0.8 - 0.2 * 0.6:.6f}", "0.780000")
    # Its samples are those timed from 1250 ms on: 1500 ms sad, then two without anybody.
    assert (found[1]["n_samples"], found[1]["coverage"], found[1]["p_sad"]) == ("1", "0.333333", "0.600000")
    assert (found[2]["participant_id"], found[2]["p_sad"]) == ("'=P2", "0.480000")
    assert (found[3]["n_samples"], found[3]["coverage"], found[3]["p_sad"]) == ("3", "0.750000", "0.400000")
    assert [row["excluded"] for row in found] == ["", "", "", "", "phone rang", "video failed: not_a_video"]
    assert found[4]["p_happy"] == found[5]["coverage"] == ""
    people = rows_of(tmp_path / "out" / "participants.csv")
    assert [row["participant_id"] for row in people] == ["'=P2", "P1", "P3"]
    assert [(row["n_trials"], row["n_excluded"]) for row in people] == [("2", "0"), ("2", "0"), ("0", "2")]
    assert people[1]["p_happy_clip_A"] == "0.640000"
    assert people[1]["coverage_clip_B"] == "0.333333"
    assert people[0]["n_samples_clip_B"] == "3"
    assert people[2]["p_happy_clip_A"] == people[2]["n_samples_clip_A"] == ""
    described = json.loads((tmp_path / "out" / "participants.json").read_text(encoding="utf-8"))
    assert list(described) == [*people[0], "MeasurementToolMetadata"]
    assert described["p_happy_clip_A"]["LongName"] == "Mean probability of happy: clip A"
    values, about = pyreadstat.read_sav(tmp_path / "out" / "participants.sav")
    assert values["p_happy_clip_A"].tolist()[:2] == pytest.approx([0.16, 0.64])
    assert values["p_happy_clip_A"].isna().tolist() == [False, False, True]
    assert about.column_names_to_labels["valence_clip_B"] == "Mean valence: clip B [-1..1]"
    words = (tmp_path / "out" / "methods.md").read_text(encoding="utf-8")
    assert (
        "names 3 participants in 6 trials, of which 2 are left out: phone rang (1), video failed: not_a_video (1)"
        in words
    )
    assert "Analysed are 2 participants in 4 trials." in words


def test_what_is_analysed_is_what_comparisons_analyse(synthetic: Synthetic, tmp_path: Path) -> None:
    made = a_run(synthetic()).video("empty.mp4", ["no_face"] * 4).write()
    groups = table(
        tmp_path / "t.csv",
        "P1,1,one.mp4,largest,A,0,1000,,1,,,",
        "P1,1,two.mp4,largest,B,0,2000,,2,,,",
        "P2,1,empty.mp4,largest,A,0,1000,,1,,,",
        "P2,1,empty.mp4,largest,B,1000,2000,,2,yes,left,",
        "P3,1,broken.mp4,largest,B,,,,2,,,",
    )
    export(made, tmp_path / "out", groups=groups)
    rows = rows_of(tmp_path / "out" / "trials.csv")
    assert [row["excluded"] for row in rows] == ["", "", "face never seen", "left", "video failed: not_a_video"]
    assert (rows[2]["coverage"], rows[2]["n_samples"], rows[2]["valence"]) == ("0.000000", "0", "")
    flow = compare(made, groups, Settings(min_group=2, resamples=999)).tables["flow"].to_pylist()
    analysed = next(row for row in flow if row["step"] == "analysed")
    people = rows_of(tmp_path / "out" / "participants.csv")
    assert analysed["trials"] == sum(int(row["n_trials"]) for row in people) == 2
    assert "Analysed are 1 participant in 2 trials." in (tmp_path / "out" / "methods.md").read_text(encoding="utf-8")


def test_repeats_are_taken_together_by_time(synthetic: Synthetic, tmp_path: Path) -> None:
    run = a_run(synthetic()).write()
    groups = table(
        tmp_path / "t.csv",
        "P1,1,two.mp4,largest,A,0,1000,,1,,,",  # 500 ms sad, 500 ms nobody
        "P1,1,two.mp4,largest,A,1000,2000,,2,,,",  # 500 ms sad, 500 ms happy
    )
    export(run, tmp_path / "out", groups=groups)
    (row,) = rows_of(tmp_path / "out" / "participants.csv")
    assert row["n_trials"] == "2"
    assert (row["p_sad_A"], row["p_happy_A"]) == ("0.400000", f"{0.8 / 3:.6f}")
    assert (row["coverage_A"], row["n_samples_A"]) == ("0.750000", "3")


def test_sessions_and_conditions_within_people_have_columns_of_their_own(synthetic: Synthetic, tmp_path: Path) -> None:
    run = a_run(synthetic()).write()
    rows = [
        f"{who},{visit},two.mp4,largest,A,{start},{start + 500},{condition},,,,"
        for start, (who, visit, condition) in zip(
            (0, 500, 1000, 1500),
            (("P1", "1", "loud"), ("P1", "2", "mute"), ("P2", "1", "mute"), ("P2", "2", "loud")),
            strict=True,
        )
    ]
    export(run, tmp_path / "out", groups=table(tmp_path / "t.csv", *rows))
    first, second = rows_of(tmp_path / "out" / "participants.csv")
    assert "condition" not in first
    assert first["p_sad_A_loud_1"] == "0.600000"
    assert first["coverage_A_mute_2"] == "0.000000"
    assert first["coverage_A_loud_2"] == ""
    assert second["p_happy_A_loud_2"] == "0.800000"


def test_conditions_between_people_are_one_column(synthetic: Synthetic, tmp_path: Path) -> None:
    run = a_run(synthetic()).write()
    rows = [
        f"P{n},1,two.mp4,largest,A,{500 * n},{500 * n + 500},{condition},,,,"
        for n, condition in enumerate(("x", "y", "x", "y"))
    ]
    export(run, tmp_path / "out", groups=table(tmp_path / "t.csv", *rows))
    found = rows_of(tmp_path / "out" / "participants.csv")
    assert [row["condition"] for row in found] == ["x", "y", "x", "y"]


def test_stimuli_whose_names_differ_in_signs_only_have_columns_of_their_own(
    synthetic: Synthetic, tmp_path: Path
) -> None:
    run = a_run(synthetic()).write()
    rows = [
        f'P1,1,two.mp4,largest,"{name}",{500 * n},{500 * n + 500},,,,,'
        for n, name in enumerate(("a b", "a-b", "A_B", "=1+1"))
    ]
    export(run, tmp_path / "out", ["csv", "sav"], groups=table(tmp_path / "t.csv", *rows))
    (row,) = rows_of(tmp_path / "out" / "participants.csv")
    names = [name.removeprefix("coverage_") for name in row if name.startswith("coverage_")]
    assert sorted(names) == ["1_1", "A_B", "a_b_2", "a_b_3"]
    assert len(row) == 3 + 4 * 11
    labels = pyreadstat.read_sav(tmp_path / "out" / "participants.sav")[1].column_names_to_labels
    assert "Coverage: =1+1 [0..1]" in labels.values()


def test_a_wrong_table_is_refused_before_anything_is_written(synthetic: Synthetic, tmp_path: Path) -> None:
    run = a_run(synthetic()).write()
    wrong = table(tmp_path / "t.csv", "P1,1,three.mp4,largest,A,0,500,,,,,")
    with pytest.raises(RefusedError, match="row 2, column video"):
        export(run, tmp_path / "out", groups=wrong)
    two = table(tmp_path / "u.csv", f"P1,1,one.mp4,track:1+2,A,0,500,,,,,{run.id}")
    with pytest.raises(RefusedError, match=r"row 2, column person.*two people"):
        export(run, tmp_path / "out", groups=two)
    assert not (tmp_path / "out").exists()
