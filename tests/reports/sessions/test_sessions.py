"""Participants over their sessions: figures against known answers, intervals that hold, pages and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fer_batch.errors import RefusedError
from reports.groups.samples import VALUES, Samples
from reports.groups.settings import Settings
from reports.sessions import Sessions, build_sessions, follow
from reports.sessions.visits import BLOCK_MS, LEAST_BLOCKS, MEASURES, mean_of, places
from tests.browser import LAPTOP, PHONE, check_page, eventually, opened
from tests.reports.sessions.study import HEAD, face, recorded
from tests.reports.synthetic import Sample, SyntheticRun

ASKED = Settings(baseline="neutral", resamples=1999)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """p(happy) rises by 0.04 a session, or 0.04 a week, from 0.3 on, for everybody."""
    return recorded(
        tmp_path_factory.mktemp("sessions"), lambda person, session: 0.3 + 0.04 * session + 0.01 * (person % 3)
    )


@pytest.fixture(scope="module")
def found(study: tuple[Any, Path]) -> Sessions:
    return follow(*study, ASKED)


def rows(found: Sessions, table: str, **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in found.tables[table].to_pylist() if all(row[k] == v for k, v in wanted.items())]


def test_a_session_is_its_mean_over_time_minus_its_baseline(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "run")
    samples: list[Sample] = [[(1, face(0.1))]] * 30
    samples += [*[[(1, face(0.7))]] * 90, *[[(1, face(0.1, 0.5))]] * 30, *["no_face"] * 30]
    made.video("a.mp4", samples, step_ms=2000)
    table = tmp_path / "people.csv"
    table.write_text(f"{HEAD}\nanna,1,a.mp4,largest,neutral,0,60000\nanna,1,a.mp4,largest,talk,60000,\n")
    (visit,) = follow(made.write(), table, ASKED).visits
    values = dict(zip(MEASURES, visit.mean.values, strict=True))
    assert values["valence"] == pytest.approx((3 * 0.7 + 1 * -0.4) / 4 - 0.1, abs=1e-6)
    assert values["expressiveness"] == pytest.approx((3 * 0.7 + 1 * 0.6) / 4 - 0.1, abs=1e-6)
    assert values["time_positive"] == pytest.approx(0.75)
    assert values["p_sad"] == pytest.approx(0.125, abs=1e-6)
    assert (visit.seen_ms, visit.sampled_ms, visit.samples, visit.trials) == (240_000, 300_000, 120, 1)
    assert visit.baseline is not None
    assert visit.baseline.values[0] == pytest.approx(0.1, abs=1e-6)


def test_without_a_baseline_nothing_is_subtracted(study: tuple[Any, Path]) -> None:
    run, table = study
    found = follow(run, table, Settings(resamples=999))
    # Both rows of the session count: 60 s at 0.1 and 240 s at 0.3.
    assert found.visits[0].mean.values[0] == pytest.approx(0.26, abs=0.02)


def test_dates_become_weeks_since_the_persons_first_session(found: Sessions) -> None:
    assert found.unit == "week"
    assert [visit.at for visit in found.visits[:5]] == pytest.approx([0, 1, 2, 3, 31 / 7])


def test_numbers_and_names_of_sessions() -> None:
    assert places([("a", "2"), ("a", "10"), ("b", "2")]) == {("a", "2"): 2, ("a", "10"): 10, ("b", "2"): 2}
    assert places([("a", "before"), ("b", "before"), ("a", "after")]) == {
        ("a", "before"): 1, ("b", "before"): 1, ("a", "after"): 2,
    }  # fmt: skip
    with pytest.raises(RefusedError, match=r"column session has dates \(2026-01-02\) and others \(3\)"):
        places([("a", "2026-01-02"), ("b", "3")])


def test_a_line_is_that_of_least_squares_with_its_interval(found: Sessions) -> None:
    for who in ("P00", "P07"):
        mine = [visit for visit in found.visits if visit.participant == who]
        for name in ("valence", "p_happy", "expressiveness"):
            (row,) = rows(found, "slopes", participant=who, measure=name)
            k = MEASURES.index(name)
            known = stats.linregress([visit.at for visit in mine], [visit.mean.values[k] for visit in mine])
            reach = stats.t.ppf(0.975, len(mine) - 2) * known.stderr
            assert row["slope"] == pytest.approx(known.slope)
            assert (row["low"], row["high"]) == pytest.approx((known.slope - reach, known.slope + reach))
            assert row["change"] == pytest.approx(mine[-1].mean.values[k] - mine[0].mean.values[k])


def test_the_change_over_people_is_found(found: Sessions) -> None:
    (row,) = rows(found, "changes", kind="last - first", measure="valence")
    assert row["people"] == 14
    assert row["low"] < 0.16 < row["high"]
    assert row["high"] - row["low"] < 0.03
    assert row["p_holm"] < 0.05
    (none,) = rows(found, "changes", kind="last - first", measure="p_sad")
    assert none["mean"] == 0
    assert none["p"] is None
    assert {row["low"] for row in rows(found, "slopes", measure="p_sad")} == {None}
    course = rows(found, "course", measure="valence")
    assert [round(row["mean"], 2) for row in course] == pytest.approx([0.21, 0.25, 0.29, 0.33, 0.37], abs=0.011)
    assert all(row["low"] < row["mean"] < row["high"] for row in course)


def test_a_sessions_interval_holds_its_mean_where_samples_are_alike() -> None:
    """Samples of an autoregressive process (correlated over about 5 s) of ten minutes, twice a second."""
    random = np.random.default_rng(3)
    n, keep, studies, inside = 1200, 0.9, 300, 0
    start = np.arange(n) * 500
    shocks = random.normal(0, 1, (studies, n + 200))
    course = np.zeros((studies, n + 200))
    for i in range(1, n + 200):
        course[:, i] = keep * course[:, i - 1] + shocks[:, i]
    for one in course[:, 200:]:
        values = np.tile((0.3 + 0.05 * one)[:, None], (1, len(VALUES)))
        mean = mean_of([Samples(start, start + 500, np.ones(n, bool), values)], np.zeros(len(VALUES)), 0.0)
        reach = stats.t.ppf(0.975, mean.blocks - 1) * mean.errors[0]
        inside += abs(mean.values[0] - 0.3) <= reach
        assert mean.blocks == 12
    assert 0.91 <= inside / studies <= 0.98
    # As if the samples were independent, the interval would be far too narrow.
    naive = np.mean(np.abs(course[:, 200:].mean(axis=1)) <= 1.96 * course[:, 200:].std(axis=1) / np.sqrt(n))
    assert naive < 0.5


def test_a_short_session_has_a_mean_and_no_interval() -> None:
    n = (LEAST_BLOCKS - 1) * BLOCK_MS // 500
    start = np.arange(n) * 500
    one = Samples(start, start + 500, np.ones(n, bool), np.full((n, len(VALUES)), 0.2))
    mean = mean_of([one], np.zeros(len(VALUES)), 0.0)
    assert mean.blocks == LEAST_BLOCKS - 1
    assert mean.values[0] == pytest.approx(0.2)
    assert np.isnan(mean.errors).all()


def test_few_people_and_few_sessions_have_no_interval(tmp_path: Path) -> None:
    run, table = recorded(tmp_path, lambda _, session: 0.3 + 0.1 * session, people=5, sessions=3)
    found = follow(run, table, ASKED)
    assert {row["low"] for row in rows(found, "slopes")} == {None}
    assert rows(found, "slopes", measure="valence")[0]["slope"] == pytest.approx(0.1, abs=0.02)
    assert {row["low"] for row in rows(found, "changes")} == {None}
    assert rows(follow(run, table, Settings(baseline="neutral", min_group=6)), "changes") == []


def test_a_session_without_its_baseline_is_left_out(tmp_path: Path) -> None:
    run, table = recorded(tmp_path, lambda *_: 0.4, people=2, sessions=2)
    lines = table.read_text().splitlines()
    table.write_text("\n".join(line for line in lines if not ("P01,2026-01-08" in line and "neutral" in line)))
    found = follow(run, table, ASKED)
    assert [(visit.participant, visit.session) for visit in found.visits] == [
        ("P00", "2026-01-01"), ("P00", "2026-01-08"), ("P01", "2026-01-01"),
    ]  # fmt: skip
    assert list(found.left_out.values()) == ["no baseline (neutral)"]
    html = build_sessions(run, found).read_text(encoding="utf-8")
    assert "1 row: <bdi>no baseline (neutral)</bdi>" in html


def test_pages_of_each_participant(found: Sessions, study: tuple[Any, Path], tmp_path: Path) -> None:
    first = build_sessions(study[0], found, tmp_path)
    files = sorted(path.name for path in first.parent.iterdir())
    assert files == ["index.html", *(f"participant-{n:03}.html" for n in range(1, 15))]
    html = first.read_text(encoding="utf-8")
    assert "No purpose declared" in html
    assert '<a href="participant-003.html"><bdi>P02</bdi></a>' in html
    page = (first.parent / "participant-003.html").read_text(encoding="utf-8")
    assert "2026-01-08" in page
    assert "Slope" in page
    again = build_sessions(study[0], follow(study[0], _only(study[1], tmp_path, "P00"), ASKED), tmp_path)
    assert sorted(path.name for path in again.parent.iterdir()) == ["index.html", "participant-001.html"]


def _only(table: Path, folder: Path, who: str) -> Path:
    lines = table.read_text().splitlines()
    other = folder / "one.csv"
    other.write_text("\n".join([lines[0], *(line for line in lines if line.startswith(who))]))
    return other


def test_names_from_the_table_are_escaped(tmp_path: Path) -> None:
    run, table = recorded(tmp_path, lambda *_: 0.4, people=1, sessions=2)
    table.write_text(table.read_text().replace("P00", "<b>x</b>"))
    first = build_sessions(run, follow(run, table, ASKED))
    for path in first.parent.iterdir():
        assert "<b>x" not in path.read_text(encoding="utf-8")


def test_people_at_work_have_no_such_pages(tmp_path: Path) -> None:
    run, table = recorded(tmp_path, lambda *_: 0.4, people=1, sessions=1, purpose={"title": "x", "groups_only": True})
    found = follow(run, table, ASKED)
    with pytest.raises(RefusedError, match="groups only"):
        build_sessions(run, found)
    assert not (run.path / "report").exists()


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_pages_in_a_browser(browser: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    run, table = recorded(tmp_path, lambda _, session: 0.3 + 0.04 * session, people=2, sessions=4)
    table.write_text(table.read_text().replace("P00", "<script>alert(1)</script>" + "x" * 60))
    first = build_sessions(run, follow(run, table, ASKED))
    for name in ("index.html", "participant-001.html"):
        check_page(opened(browser, first.parent / name, size), size)
    title = "return document.querySelector('[data-figure]').layout.yaxis.title.text"
    assert browser.execute_script(title).startswith("Valence minus baseline")
    browser.execute_script("const m = document.getElementById('measure'); m.value = 'p_sad'; "
                           "m.dispatchEvent(new Event('change'))")  # fmt: skip
    eventually(browser, lambda: browser.execute_script(title).startswith("p(sad)"))
