"""A comparison from tables on disk to numbers that were worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_batch.errors import RefusedError
from fer_batch.store import Run
from reports.groups import Settings, Study, build_groups, compare
from reports.groups.grid import on_grid, step_ms
from reports.groups.samples import Samples
from reports.groups.small import shown_groups
from tests.reports.groups.people import Course, study, wandering
from tests.reports.synthetic import HAPPY, SAD, SyntheticRun

Start = Callable[..., SyntheticRun]

QUICK = 999


def compared(synthetic: Start, tmp_path: Path, courses: dict[tuple[str, str, str], Course], **settings: Any) -> Study:
    table = tmp_path / "people.csv"
    run = study(synthetic(), courses, table).write()
    return compare(run, table, Settings(**{"resamples": QUICK, "min_group": 2, **settings}))


def rows(made: Study, table: str, **where: Any) -> list[dict[str, Any]]:
    return [r for r in made.tables[table].to_pylist() if all(r[key] == value for key, value in where.items())]


def people(count: int) -> list[str]:
    return [f"P{i:02d}" for i in range(count)]


def test_each_persons_mean_comes_first_and_each_person_counts_once(synthetic: Start, tmp_path: Path) -> None:
    # One person watches ten times as long; that changes nothing.
    made = compared(
        synthetic, tmp_path, {("A", "ad", ""): [0.8] * 40, ("B", "ad", ""): [0.2, 0.2, None, None]}, min_coverage=0.5
    )
    (mean,) = rows(made, "means", measure="valence")
    assert mean["mean"] == pytest.approx(0.5)
    assert (mean["people"], mean["coverage"], mean["low"]) == (2, 0.75, None)
    assert [(r["participant"], round(r["valence"], 6), r["seen_ms"], r["sampled_ms"], r["samples"]) for r in
            rows(made, "people")] == [("A", 0.8, 20_000, 20_000, 40), ("B", 0.2, 1_000, 2_000, 2)]  # fmt: skip
    positive, neutral = rows(made, "means", measure="time_positive")[0], rows(made, "means", measure="p_neutral")[0]
    assert (positive["mean"], neutral["mean"]) == pytest.approx((1, 0.5))


def test_samples_weigh_by_the_time_they_stand_for(synthetic: Start, tmp_path: Path) -> None:
    made = synthetic()
    for name in ("A", "B"):
        made.video(f"/v/{name}.mp4", [[(1, HAPPY)], [(1, SAD)]])
    for frame in (*made.frames, *made.faces):
        if frame["timestamp_ms"] == 500:
            frame["duration_ms"] = 1500
    table = tmp_path / "t.csv"
    lines = [f"{name},{name}.mp4,largest,ad,0,2000" for name in ("A", "B")]
    table.write_text("\n".join(["participant,video,person,stimulus,start_ms,end_ms", *lines]))
    for row in made.ledger:
        row["duration_ms"] = 2000
    found = compare(made.write(), table, Settings(resamples=QUICK, min_group=2))
    (mean,) = rows(found, "means", measure="valence")
    assert mean["mean"] == pytest.approx((0.8 * 500 - 0.6 * 1500) / 2000)
    assert rows(found, "means", measure="time_positive")[0]["mean"] == 0.25


def test_the_grid_shares_a_samples_time_among_steps() -> None:
    samples = Samples(
        np.array([100, 600, 1100]), np.array([600, 1100, 1500]), np.array([True, False, True]), np.zeros((3, 9))
    )
    found = on_grid(samples, np.array([[1.0], [np.nan], [3.0]]), np.array([0, 500, 1000, 1500, 2000]))
    assert found.sampled_ms.tolist() == [400, 500, 500, 0]
    assert found.seen_ms.tolist() == [400, 100, 400, 0]
    assert found.area[:, 0].tolist() == [400, 100, 1200, 0]
    empty = Samples(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros((0, 9)))
    assert on_grid(empty, np.zeros((0, 1)), np.array([0, 500])).seen_ms.tolist() == [0]


@pytest.mark.parametrize(("longest", "step"), [(20_000, 500), (120_000, 500), (121_000, 1000), (7_200_000, 30_000)])
def test_the_step_of_the_grid_grows_with_the_longest_trial(longest: int, step: int) -> None:
    samples = Samples(np.array([0]), np.array([500]), np.array([True]), np.zeros((1, 9)))
    assert step_ms([samples], longest) == step


def test_a_paired_difference_by_hand(synthetic: Start, tmp_path: Path) -> None:
    values = {"A": (0.5, 0.25), "B": (0.75, 0.25), "C": (0.25, 0.25), "D": (1.0, 0.5)}
    courses: dict[tuple[str, str, str], Course] = {}
    for who, (first, second) in values.items():
        courses |= {(who, "ad", "x"): [first] * 4, (who, "ad 2", "y"): [second] * 4}
    courses["E", "ad", "x"] = [0.9] * 4  # not in the other condition: does not count
    made = compared(synthetic, tmp_path, courses)
    (row,) = rows(made, "differences", factor="condition", measure="valence")
    assert (row["a"], row["b"], row["design"], row["people_a"], row["left_out"]) == ("x", "y", "paired", 4, 1)
    assert (row["mean_a"], row["mean_b"], row["difference"]) == pytest.approx((0.625, 0.3125, 0.3125))
    assert (row["low"], row["p"], row["p_holm"], row["effect_low"]) == (None, None, None, None)
    spread = np.sqrt((np.var([0.5, 0.75, 0.25, 1], ddof=1) + np.var([0.25, 0.25, 0.25, 0.5], ddof=1)) / 2)
    assert row["effect"] == pytest.approx((1 - 3 / 11) * 0.3125 / spread)
    assert row["family"] == "condition: affect"
    places = [(r["level"], r["place"]) for r in rows(made, "ranking", factor="condition", measure="valence", rank=1)]
    assert places == [("x", 1), ("y", 2)]
    assert rows(made, "ranking", factor="condition", measure="valence")[0]["probability"] is None


def test_different_people_are_compared_as_independent_groups(synthetic: Start, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    level = random.uniform(0.1, 0.9, 30)
    courses: dict[tuple[str, str, str], Course] = {
        (who, "ad", "x" if i % 2 else "y"): [level[i]] * 8 for i, who in enumerate(people(30))
    }
    made = compared(synthetic, tmp_path, courses)
    (row,) = rows(made, "differences", factor="condition", measure="valence")
    assert (row["design"], row["people_a"], row["people_b"], row["left_out"]) == ("independent", 15, 15, 0)
    assert row["difference"] == pytest.approx(level[::2].mean() - level[1::2].mean(), abs=1e-6)
    assert row["low"] < row["difference"] < row["high"]
    family = rows(made, "differences", family="condition: affect")
    # All four measures go together; time positive is 1 for everybody and cannot be tested.
    assert {r["comparisons"] for r in family} == {3}
    assert {r["measure"] for r in family if r["p"] is None} == {"time_positive"}


def test_a_plain_difference_is_found_over_time_and_nowhere_else(synthetic: Start, tmp_path: Path) -> None:
    course = wandering(np.random.default_rng(4), 20, 24)
    course[:, 1] = course[:, 0] + np.random.default_rng(5).normal(0, 0.01, (20, 24))
    course[:, 1, 10:14] += 0.1
    courses = {
        (who, stimulus, ""): course[i, s].clip(0, 1).tolist()
        for i, who in enumerate(people(20)) for s, stimulus in enumerate("AB")
    }  # fmt: skip
    made = compared(synthetic, tmp_path, courses)
    found = rows(made, "curve_differences", measure="valence")
    assert [r["at_ms"] // 500 for r in found if r["p"] <= 0.05] == [10, 11, 12, 13]
    assert {r["design"] for r in found} == {"paired"}
    first = rows(made, "curves", stimulus="A", measure="valence")
    assert [r["mean"] for r in first] == pytest.approx(course[:, 0].mean(axis=0), abs=1e-6)
    (top,) = rows(made, "ranking", factor="stimulus", measure="valence", place=1, rank=1)
    assert top["level"] == "B"
    assert top["probability"] > 0.95


def test_six_stimuli_are_compared_with_the_mean_of_the_others(synthetic: Start, tmp_path: Path) -> None:
    courses: dict[tuple[str, str, str], Course] = {
        (who, f"S{s}", ""): [0.1 * s + 0.01 * i] * 4 for i, who in enumerate(people(4)) for s in range(6)
    }
    made = compared(synthetic, tmp_path, courses)
    found = rows(made, "differences", measure="valence")
    assert [(r["a"], r["b"]) for r in found] == [(f"S{s}", "mean of the others") for s in range(6)]
    assert found[5]["difference"] == pytest.approx(0.5 - 0.2)


def test_peaks_are_sought_in_equal_lengths(synthetic: Start, tmp_path: Path) -> None:
    # The long stimulus peaks after the short one's end: that peak does not count.
    long, short = [0.1] * 8 + [0.9] * 8, [0.1, 0.1, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1]
    courses: dict[tuple[str, str, str], Course] = {}
    for who in people(3):
        courses |= {(who, "long", ""): long, (who, "short", ""): short}
    made = compared(synthetic, tmp_path, courses, peak_window_ms=1000)
    assert made.cells.peak_ms == 4000
    peaks = {r["stimulus"]: r["peak_valence"] for r in rows(made, "people", participant="P00")}
    assert peaks == pytest.approx({"long": 0.1, "short": 0.5})


def test_a_baseline_is_subtracted_and_says_what_it_rests_on(synthetic: Start, tmp_path: Path) -> None:
    courses: dict[tuple[str, str, str], Course] = {
        ("A", "rest", ""): [0.2, 0.4], ("A", "ad", ""): [0.5, 0.2],
        ("B", "rest", ""): [0.1, None, 0.1, 0.1, 0.1], ("B", "ad", ""): [0.5, 0.2],
        ("C", "ad", ""): [0.5], ("D", "rest", ""): [None], ("D", "ad", ""): [0.9],
    }  # fmt: skip
    made = compared(synthetic, tmp_path, courses, baseline="rest", positive_above=0.15)
    found = {r["participant"]: (r["valence"], r["p_neutral"], r["time_positive"]) for r in rows(made, "people")}
    assert found == {
        "A": pytest.approx((0.05, -0.05, 0.5)), "B": pytest.approx((0.25, -0.25, 0.5), abs=1e-6),
    }  # fmt: skip
    assert made.cells.baseline is not None
    basis = made.cells.baseline
    assert (basis.name, basis.count, basis.fewest, basis.median, basis.most) == ("rest", 2, 2, 3, 4)
    assert made.cells.stimuli == ("ad",)
    assert [(r["step"], r["reason"], r["trials"]) for r in rows(made, "flow")] == [
        ("recorded", None, 4), ("excluded", "no baseline (rest)", 2), ("analysed", None, 2),
    ]  # fmt: skip
    with pytest.raises(RefusedError, match="no row has the stimulus 'pause' for a baseline; the table has ad, rest"):
        compare(Run(tmp_path / "run"), tmp_path / "people.csv", Settings(baseline="pause"))


def test_the_flow_counts_people_and_trials_by_reason(synthetic: Start, tmp_path: Path) -> None:
    courses: dict[tuple[str, str, str], Course] = {}
    for i, who in enumerate(people(5)):
        condition = "x" if i < 3 else "y"
        courses |= {(who, "a", condition): [0.5] * 4, (who, "b", condition): [0.5] * 4}
    courses["P00", "a", "x"] = [None] * 4
    courses["P01", "a", "x"] = [0.5, None, None, None]
    table = tmp_path / "t.csv"
    made = study(synthetic(), courses, table)
    lines = table.read_text().splitlines()
    lines[-1] = lines[-1].removesuffix(",,,") + ",,yes,left the room"
    lines.append("P09,,gone.mp4,largest,a,0,500,y,,,")
    table.write_text("\n".join(lines))
    asked = Settings(min_group=2, min_coverage=0.5, resamples=QUICK)
    found = compare(made.failed("/v/gone.mp4").write(), table, asked)
    flow = [(r["condition"], r["step"], r["reason"], r["by"], r["people"], r["trials"]) for r in rows(found, "flow")]
    assert flow == [
        (None, "recorded", None, None, 6, 11),
        (None, "excluded", "left the room", "table", 1, 1),
        (None, "excluded", "face never seen", "run", 1, 1),
        (None, "excluded", "face seen for less than 50%", "run", 1, 1),
        (None, "excluded", "video failed: not_a_video", "run", 1, 1),
        (None, "analysed", None, None, 5, 7),
        ("x", "recorded", None, None, 3, 6),
        ("x", "excluded", "face never seen", "run", 1, 1),
        ("x", "excluded", "face seen for less than 50%", "run", 1, 1),
        ("x", "analysed", None, None, 3, 4),
        ("y", "recorded", None, None, 3, 5),
        ("y", "excluded", "left the room", "table", 1, 1),
        ("y", "excluded", "video failed: not_a_video", "run", 1, 1),
        ("y", "analysed", None, None, 2, 3),
    ]


def test_a_group_below_the_smallest_size_is_in_no_table_and_in_no_total(synthetic: Start, tmp_path: Path) -> None:
    courses: dict[tuple[str, str, str], Course] = {
        (who, "ad", "big" if i < 6 else "small"): [0.5 if i < 6 else 0.1] * 2 for i, who in enumerate(people(9))
    }
    made = compared(synthetic, tmp_path, courses, min_group=5)
    assert made.cells.small_conditions == ("small",)
    assert {r["level"] for r in rows(made, "means", factor="condition")} == {"big"}
    assert {r["group"] for r in rows(made, "curves")} == {"big"}
    assert rows(made, "differences") == []
    assert rows(made, "ranking") == []
    # All 9 people less the 6 who are shown would tell how many the others are, and 0.5 and the mean over all what they
    # showed.
    assert {r["people"] for r in rows(made, "flow")} == {6}
    total = rows(made, "means", factor="stimulus", measure="valence")
    assert [(r["people"], r["mean"]) for r in total] == [(6, pytest.approx(0.5))]


def test_a_small_stimulus_in_one_condition_takes_the_other_with_it(synthetic: Start, tmp_path: Path) -> None:
    # Of y only two are seen in "ad 2", so the 8 of its total less the 6 of x would be a group of two.
    courses: dict[tuple[str, str, str], Course] = {
        (who, stimulus, "x" if i < 6 else "y"): [None if i > 7 and stimulus == "ad 2" else 0.5] * 4
        for i, who in enumerate(people(12)) for stimulus in ("ad 1", "ad 2")
    }  # fmt: skip
    made = compared(synthetic, tmp_path, courses, min_group=5)
    assert {(r["stimulus"], r["group"]) for r in rows(made, "curves") if r["stimulus"]} == {
        ("ad 1", "x"),
        ("ad 1", "y"),
    }
    folder = build_groups(Run(tmp_path / "run"), made).parent
    text = (folder / "stimulus-02.html").read_text(encoding="utf-8")
    assert "<bdi>y</bdi>, because fewer than 5 people are left there" in text
    assert "<bdi>x</bdi>, because the total minus it would give away a group so small" in text
    assert "their number would tell the size of a group" in (folder / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ([6, 5], [True, True]),
        ([6, 4], [False, False]),  # 10 less 6 would be 4
        ([9, 6, 4], [True, False, False]),  # the smallest of the others goes
        ([9, 3, 2], [True, False, False]),  # two that are hidden hide each other
        ([4, 4], [False, False]),
    ],
)
def test_what_a_total_would_give_away_is_hidden_too(sizes: list[int], shown: list[bool]) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    assert shown_groups(groups[:, None] == np.arange(len(sizes)), 5).tolist() == shown


def test_people_in_several_groups_are_given_away_by_no_total() -> None:
    present = np.ones((8, 2), bool)
    present[3:, 1] = False
    assert shown_groups(present, 5).tolist() == [True, False]


def test_two_participants_cannot_be_one_face(synthetic: Start, tmp_path: Path) -> None:
    run = synthetic(id="r").video("/v/a.mp4", [[(1, HAPPY), (2, SAD)]] * 10).write()
    table = tmp_path / "t.csv"
    head = "participant,video,person,stimulus,start_ms,end_ms,run"
    table.write_text(f"{head}\nA,a.mp4,track:1,ad,0,5000,r\nB,a.mp4,largest,ad,0,5000,r")
    with pytest.raises(RefusedError, match="row 3, column person: largest takes the same face as row 2") as caught:
        compare(run, table)
    assert "at 0 ms" in str(caught.value)
    table.write_text(f"{head}\nA,a.mp4,track:1+2,ad,0,5000,r")
    with pytest.raises(RefusedError, match=r"row 2, column person: track:1\+2: two of these tracks are in the picture"):
        compare(run, table)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_group": 1}, "min group is 1; allowed is from 2"),
        ({"resamples": 10}, "resamples is 10"),
        ({"min_coverage": 2}, "min coverage is 2; allowed is a share"),
        ({"positive_above": 1}, "positive above is 1"),
        ({"peak_window_ms": 0}, "peak window ms is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        Settings(**settings)


def test_nothing_to_analyse_is_refused_with_the_reasons(synthetic: Start, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="no trial of the table can be analysed: face never seen"):
        compared(synthetic, tmp_path, {("A", "ad", ""): [None] * 4})


def test_a_measure_that_few_of_a_group_have_is_not_shown_either(synthetic: Start, tmp_path: Path) -> None:
    # Who is seen at the ends only is never seen for half of a window and has no peak.
    courses: dict[tuple[str, str, str], Course] = {
        (who, stimulus, ""): [0.5, *([None] * 10 if i < 10 else [0.5] * 10), 0.4 + 0.01 * i]
        for i, who in enumerate(people(13)) for stimulus in ("ad", "ad 2")
    }  # fmt: skip
    made = compared(synthetic, tmp_path, courses, min_group=4)
    means = {r["measure"]: (r["people"], r["mean"]) for r in rows(made, "means")}
    assert means["valence"][0] == 13
    assert means["peak_valence"] == (0, None)
    page = build_groups(Run(tmp_path / "run"), made).read_text(encoding="utf-8")
    assert "Peak valence" in page
