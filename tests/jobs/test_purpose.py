"""The purpose gate: what it refuses, what it writes down, and that every command that shows faces asks it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import fer_batch as package
from fer_batch.errors import RefusedError
from fer_batch.store import Run
from jobs.purpose import Purpose, read_purpose, settle
from reports import build, wording
from reports.feedback import build_feedback, survey
from reports.groups import Settings, build_groups, compare
from tests.jobs.command import fer_batch
from tests.jobs.filled import EXCEPTION, PURPOSE, job_toml, purpose_toml
from tests.reports.feedback.answers import asked_people
from tests.reports.synthetic import HAPPY, SyntheticRun

TODAY = date(2026, 11, 23)


def purpose(**changes: Any) -> Purpose:
    return Purpose.model_validate(PURPOSE | changes)


def exception(**changes: Any) -> dict[str, Any]:
    return {**EXCEPTION, "expires": date(2027, 6, 30), **changes}


@pytest.mark.parametrize(
    ("observed", "setting"),
    [("employees", "other"), ("job_applicants", "other"), ("students", "research"), ("teachers", "home"),
     ("customers", "workplace"), ("public", "education")],
)  # fmt: skip
def test_people_at_work_or_in_education_are_refused_in_the_eu(observed: str, setting: str) -> None:
    with pytest.raises(RefusedError, match=r"2024/1689, Art\. 5\(1\)\(f\).*no legal advice"):
        purpose(observed=observed, setting=setting).check(TODAY)


@pytest.mark.parametrize("place", ["DE", "EU", "EL", "no", ["US", "FR"]])
def test_the_law_holds_where_any_place_is_in_it(place: Any) -> None:
    with pytest.raises(RefusedError, match="prohibited in the EU"):
        purpose(setting="education", jurisdiction=place).check(TODAY)


@pytest.mark.parametrize("place", ["US", "CH", ["GB", "JP"]])
def test_elsewhere_they_pass_as_groups_only(place: Any) -> None:
    declared = purpose(setting="education", jurisdiction=place)
    declared.check(TODAY)
    assert declared.record()["groups_only"] is True


def test_customers_pass() -> None:
    purpose().check(TODAY)
    assert purpose().record()["groups_only"] is False


def test_a_declared_exception_passes_until_its_last_day() -> None:
    for day, passes in ((date(2027, 6, 29), True), (date(2027, 6, 30), True), (date(2027, 7, 1), False)):
        declared = purpose(setting="workplace", exception=exception())
        if passes:
            declared.check(day)
        else:
            with pytest.raises(RefusedError, match=r"purpose\.exception\.expires is 2027-06-30, which has passed"):
                declared.check(day)


def test_whom_nobody_informed_is_refused_in_the_eu_only() -> None:
    with pytest.raises(RefusedError, match=r"purpose\.informed is false.*Art\. 50\(3\)"):
        purpose(informed=False).check(TODAY)
    purpose(informed=False, jurisdiction="US").check(TODAY)


def test_a_record_is_read_back() -> None:
    declared = purpose(setting="workplace", exception=exception(), note="x")
    record = json.loads(json.dumps(declared.record()))
    assert record["exception"]["expires"] == "2027-06-30"
    assert Purpose.from_record(record, Path("run.json")) == declared
    with pytest.raises(RefusedError, match="cannot read"):
        Purpose.from_record({"title": "x"}, Path("run.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has no table \[purpose\]"),
        (purpose_toml(title=""), r"line 2: purpose\.title is '' \(nothing stands there\); allowed is a text"),
        (purpose_toml(jurisdiction=["UK"]), r"UK is no country's code; the United Kingdom is GB"),
        (purpose_toml(jurisdiction=[]), r"purpose\.jurisdiction is \[\]"),
        (purpose_toml(legal_basis=None), r"line 1: purpose\.legal_basis is missing; allowed is one of consent"),
        (purpose_toml(informed="yes"), r"line 7: purpose\.informed is 'yes'; allowed is true or false"),
        (purpose_toml(observd="x"), r"purpose\.observd is no key of \[purpose\]; did you mean observed\?"),
        (purpose_toml(exception=True).replace('reason = "medical"', 'reason = "wellbeing"'),
         r"purpose\.exception\.reason is 'wellbeing'; allowed is \"medical\" or \"safety\""),
        (purpose_toml(exception=True).replace("2099-06-30", '"soon"'), r"purpose\.exception\.expires is 'soon'"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_declaration_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(RefusedError, match=message):
        read_purpose(tmp_path / "p.toml")
    with pytest.raises(RefusedError, match=message):
        read_purpose(str(tmp_path / "p.toml"))


def test_a_declaration_stays_with_its_run(tmp_path: Path) -> None:
    assert settle(tmp_path, None, TODAY) is None
    assert settle(tmp_path, purpose(), TODAY) == purpose()
    declared = purpose(setting="workplace", exception=exception())
    run = SyntheticRun(tmp_path / "run", purpose=declared.record()).write()
    assert settle(run.path, None, TODAY) == declared
    with pytest.raises(RefusedError, match="which has passed"):
        settle(run.path, None, date(2028, 1, 1))
    renewed = purpose(setting="workplace", exception=exception(expires=date(2029, 1, 1)))
    assert settle(run.path, renewed, date(2028, 1, 1)) == renewed
    with pytest.raises(RefusedError, match=r"purpose\.setting: workplace there, customer_research asked"):
        settle(run.path, purpose(), TODAY)


def declared_run(folder: Path, **changes: Any) -> Run:
    declared = purpose(**changes)
    return SyntheticRun(folder, purpose=declared.record()).video("a.mp4", [[(1, HAPPY)]] * 4).write()


def test_the_gate_stands_before_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (tmp_path / "p.toml").write_text(purpose_toml(setting="education"))
    code = fer_batch(monkeypatch, "run", tmp_path, "--out", tmp_path / "out", "--purpose", tmp_path / "p.toml")
    assert code == 2
    assert "prohibited in the EU" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    run = declared_run(tmp_path / "old", setting="education", exception=exception(expires=date(2025, 3, 1)))
    assert fer_batch(monkeypatch, "run", tmp_path, "--out", run.path, "--dry-run") == 2
    assert "which has passed" in capsys.readouterr().err


def test_the_gate_stands_before_whatever_starts_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Ray is never started, nothing is written, and no connection is made."""
    (tmp_path / "p.toml").write_text(purpose_toml(setting="education"))
    (tmp_path / "job.toml").write_text(job_toml(purpose=purpose_toml(observed="employees")))
    (tmp_path / "v.mp4").write_bytes(b"video")
    before = sorted(tmp_path.iterdir())
    new: list[str | Path] = ["--out", tmp_path / "out"]
    flags: list[str | Path] = [tmp_path / "v.mp4", *new, "--purpose", tmp_path / "p.toml"]
    for arguments in (
        ["run", *flags, "--dry-run"], ["run", tmp_path / "job.toml"],
        ["watch", tmp_path / "job.toml", "--once"], ["watch", tmp_path, *new, "--once", "--", *flags[3:]],
        ["submit", tmp_path / "job.toml"], ["submit", "--working-dir", tmp_path, "--", *flags],
        ["predict", tmp_path / "v.mp4", "--purpose", tmp_path / "p.toml"],
    ):  # fmt: skip
        assert fer_batch(monkeypatch, *arguments) == 2, arguments
        assert "prohibited in the EU" in " ".join(capsys.readouterr().err.split()), arguments
    declared = {**PURPOSE, "setting": "workplace"}
    for record in (declared, {**declared, "groups_only": False}, purpose(setting="workplace").record()):
        with pytest.raises(RefusedError, match="prohibited in the EU"):
            package.run(tmp_path / "v.mp4", tmp_path / "out", purpose=record)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"observed": "workers"}, "its observed is 'workers'; allowed is one of customers"),
     ({"jurisdiction": []}, r"its jurisdiction is \[\]"), ({"jurisdiction": ["uk"]}, r"its jurisdiction is \['uk'\]"),
     ({"informed": None}, "its informed is None; allowed is true or false"),
     ({"exception": {**EXCEPTION, "expires": "soon"}}, "its exception is .*soon.*such as 2027-06-30"),
     ({"exception": {**EXCEPTION, "assessment": " "}}, "its exception is")],
)  # fmt: skip
def test_a_purpose_made_by_hand_has_what_the_gate_needs(changes: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=message):
        package.run(tmp_path, tmp_path / "out", purpose={**PURPOSE, "setting": "workplace", **changes})


def test_an_expired_exception_stops_python_and_pages_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    run = declared_run(tmp_path / "run", setting="workplace", exception=exception(expires=date(2025, 3, 1)))
    for redo in (False, True):
        with pytest.raises(RefusedError, match="which has passed"):
            package.run(tmp_path, run.path, redo=redo)
    with pytest.raises(RefusedError, match="setting: workplace there, customer_research asked"):
        package.run(tmp_path, run.path, purpose=PURPOSE)
    assert fer_batch(monkeypatch, "report", run.path) == 2
    assert "which has passed" in capsys.readouterr().err
    assert not (run.path / "report").exists()
    assert fer_batch(monkeypatch, "status", run.path) in {0, 3}


def test_predict_shows_nobody_at_work_and_says_when_nothing_is_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "p.toml").write_text(purpose_toml(True, setting="workplace"))
    assert fer_batch(monkeypatch, "predict", tmp_path / "a.jpg", "--purpose", tmp_path / "p.toml") == 2
    told = capsys.readouterr().err
    assert "predict looks at single pictures of single people" in told
    assert "for such a purpose it is refused" in told
    assert "--groups" not in told
    assert fer_batch(monkeypatch, "predict", tmp_path / "a.jpg") == 3
    assert wording.NOT_DECLARED in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["annotate", "{video}", "--run", "{run}", "--out", "{out}.mp4"],
        ["annotate", "{video}", "--run", "{run}", "--obscure", "--out", "{out}.mp4"],
        ["validate", "{run}", "--out", "{out}"],
        ["report", "{run}", "--thumbnails"],
        ["participants", "{run}", "--out", "{out}.csv", "--contact-sheet", "{out}"],
        ["export", "{run}", "--out", "{out}"],
    ],
    ids=" ".join,
)
def test_of_people_at_work_no_command_shows_a_face(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    run = declared_run(tmp_path / "run", setting="workplace", exception=exception())
    (tmp_path / "v.mp4").write_bytes(b"video")
    places = {"video": tmp_path / "v.mp4", "run": run.path, "out": tmp_path / "new"}
    assert fer_batch(monkeypatch, *(word.format(**places) for word in command)) == 2
    assert "groups only" in capsys.readouterr().err
    assert list(tmp_path.glob("new*")) == []


def test_pages_of_people_at_work_are_about_no_single_person(tmp_path: Path) -> None:
    run = declared_run(tmp_path / "run", setting="workplace", exception=exception())
    (run.path / "report" / "videos").mkdir(parents=True)
    (run.path / "report" / "videos" / "v0000.html").write_text("of an earlier version")
    html = build(run).read_text(encoding="utf-8")
    assert list((run.path / "report" / "videos").iterdir()) == []
    assert wording.GROUPS_ONLY in html
    assert "Highest mean" in html
    assert "happy 8" not in html
    assert "Expressions over all videos" not in html


def test_every_page_shows_the_declaration(tmp_path: Path) -> None:
    run = declared_run(tmp_path / "run", exception=exception(approver="A <b>"))
    index = build(run)
    (page,) = (index.parent / "videos").iterdir()
    facts = "customers; setting: customer research; jurisdiction: DE; legal basis: consent)"
    exempt = "Art. 5(1)(f)): approved by A &lt;b&gt;, impact assessment DPIA-7, until 2027-06-30"
    for path in (index, page):
        html = path.read_text(encoding="utf-8")
        assert facts in html
        assert exempt in html
        assert wording.NOT_DECLARED not in html


def test_pages_of_a_run_without_a_purpose_say_so(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path / "run").video("a.mp4", [[(1, HAPPY)]] * 4).write()
    index = build(run)
    (page,) = (index.parent / "videos").iterdir()
    notice = "No purpose declared. Not for use on people at work or in education in the EU."
    assert all(notice in path.read_text(encoding="utf-8") for path in (index, page))


def test_comparisons_of_people_at_work_have_larger_groups_and_no_points(tmp_path: Path) -> None:
    at_work = {"title": "x", "groups_only": True}
    run, table = asked_people(tmp_path, people=24, purpose=at_work)
    with pytest.raises(RefusedError, match=r"--min-group is 5; .*allowed is 12 or more"):
        build_groups(run, compare(run, table))
    few = survey(run, table, attributes=["age_group"])
    with pytest.raises(RefusedError, match="allowed is 12 or more"):
        build_feedback(run, few)
    asked = Settings(min_group=12, resamples=999)
    html = build_groups(run, compare(run, table, asked)).read_text(encoding="utf-8")
    assert "Means over people" in html
    assert "figure-points" not in html
    assert "age_group" in build_feedback(run, survey(run, table, asked, attributes=["age_group"])).read_text("utf-8")
