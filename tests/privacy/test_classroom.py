"""Kind ``classroom`` from ``init`` to its page, and what is refused on such a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fer_batch import Run
from fer_batch.bundle import ModelBundle
from fer_batch.schema import BINS, with_metadata
from fer_batch.score import Scorer
from fer_batch.store import write_table
from jobs.init import JOB
from tests.browser import LAPTOP, PHONE, check_page, opened
from tests.faults.inline import Inline, Scores, on
from tests.jobs.command import fer_batch
from tests.privacy.people import write_class
from tests.privacy.traces import holds_only_bins

ANSWERS = {
    'title = ""': 'title = "Air quality & safety <b>"',
    "jurisdiction = []": 'jurisdiction = ["DE"]',
    "informed = false": "informed = true",
    'legal_basis = ""': 'legal_basis = "public_task"',
    "bin_seconds = 60": "bin_seconds = 30",
    "fps = 1\n": 'fps = "1/2"\n',
    "#[purpose.exception]": '[purpose.exception]\nreason = "safety"\napprover = "Dr A. Example"\n'
    'assessment = "DPIA-7"\nexpires = 2099-06-30\n',
}


@pytest.fixture(scope="module")
def job(tiny: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job as init writes it, filled in, and carried out."""
    folder = tmp_path_factory.mktemp("school")
    with pytest.MonkeyPatch.context() as patch:
        assert fer_batch(patch, "init", "classroom", "--out", folder) == 0
        (folder / "recordings").mkdir()
        write_class(folder / "recordings" / "lesson <1>.mp4")
        text = (folder / JOB).read_text()
        for empty, full in (ANSWERS | {'name = "compact"': f'name = "{tiny.path}"'}).items():
            assert empty in text, empty
            text = text.replace(empty, full)
        (folder / JOB).write_text(text)
        with on(Inline(Scores(Scorer(tiny, threads=1)))):
            assert fer_batch(patch, "run", folder / JOB, "--cpus", "2") == 0
    return folder / JOB


def test_the_page_says_what_it_measures_and_what_it_does_not(job: Path) -> None:
    html = (job.parent / "results" / "report" / "index.html").read_text(encoding="utf-8")
    assert "<h1>Classroom engagement report</h1>" in html
    top = html[: html.index('id="videos"')]
    for said in ("No attention and no feeling is measured", "it is no finding of it", "mean number of faces found",
                 "1 &minus; p(neutral)", "p(happy) &minus; the highest of", "3 of 4</b><span>bins shown"):  # fmt: skip
        assert said in top, said
    assert html.count("suppressed: fewer than 10 people in any one frame, or nobody</span>") == 1
    assert html.count("about 10</td>") == 3
    for declared in ("Air quality &amp; safety &lt;b&gt;", "Dr A. Example", "DPIA-7", "2099-06-30", "lesson &lt;1&gt;"):
        assert declared in html, declared
    assert "<b>lesson" not in html
    results = job.parent / "results"
    assert not (results / "report" / "videos").exists()
    assert Run(results).info["job"]["kind"] == "classroom"
    assert [problem for problem in holds_only_bins(results) if not problem.startswith("report/")] == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("annotate", "{video}", "--out", "{out}.mp4", "--run", "{run}"), "annotate --run"),
        (("validate", "{run}", "--out", "{out}"), "validate"),
        (("export", "{run}", "--out", "{out}"), "export"),
        (("participants", "{run}", "--out", "{out}.csv"), "participants"),
        (("participants", "{run}", "--out", "{out}.csv", "--contact-sheet", "{out}.html"), "participants"),
        (("report", "{run}", "--thumbnails"), "--thumbnails"),
        (("report", "{run}", "--groups", "{out}.csv"), "--groups"),
    ],
)
def test_commands_that_show_faces_are_refused_with_the_reason(
    arguments: tuple[str, ...], reason: str, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    video = job.parent / "recordings" / "lesson <1>.mp4"
    places = {"video": video, "out": tmp_path / "o", "run": job.parent / "results"}
    assert fer_batch(monkeypatch, *(text.format(**places) for text in arguments)) == 2
    said = " ".join(capsys.readouterr().err.split())
    apart = f"{reason} tells people apart, and this run keeps nobody apart: its privacy.level is 'aggregate'"
    assert f"{reason} needs rows of faces, and this run keeps none: its privacy.level is 'aggregate'" in said or (
        apart in said and reason in {"export", "participants", "--groups"})  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_what_the_commands_say_counts_no_faces(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, tiny: ModelBundle
) -> None:
    capsys.readouterr()
    assert fer_batch(monkeypatch, "status", job.parent / "results", "--json") == 0
    videos = json.loads(capsys.readouterr().out)["videos"]
    assert {(row["n_faces"], row["n_tracks"]) for row in videos} == {(None, None)}
    with on(Inline(Scores(Scorer(tiny, threads=1)))):
        assert fer_batch(monkeypatch, "run", job, "--cpus", "2", "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["faces"], outcome["tracks"], set(outcome["tables"])) == (None, None, {"videos.parquet", "bins"})
    assert fer_batch(monkeypatch, "report", job.parent / "results", "--job", job) == 0


def test_thumbnails_in_the_job_file_are_refused(job: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    other = job.with_name("other.toml")
    other.write_text(job.read_text().replace("thumbnails = false", "thumbnails = true"))
    assert fer_batch(monkeypatch, "run", other) == 2
    assert "report.thumbnails is true; at privacy.level 'aggregate' no face is shown" in capsys.readouterr().err


def test_without_its_exception_it_is_refused_in_the_eu(job: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    other = job.with_name("no.toml")
    text = job.read_text()
    start = text.index("[purpose.exception]")
    other.write_text(text[:start] + text[text.index("# ", text.index("expires = 2099")) :])
    assert fer_batch(monkeypatch, "run", other, "--out", job.parent / "elsewhere") == 2
    assert "prohibited in the EU but for medical or safety reasons" in " ".join(capsys.readouterr().err.split())
    assert not (job.parent / "elsewhere").exists()


@pytest.mark.parametrize("size", [LAPTOP, PHONE])
def test_the_page_in_a_browser(size: tuple[int, int], job: Path, browser: Any) -> None:
    opened(browser, job.parent / "results" / "report" / "index.html", size)
    check_page(browser, size)
    assert len(browser.find_elements("css selector", "[data-figure]")) == 1
    assert not browser.find_elements("css selector", "img")


def test_a_run_without_any_bin_shown_has_its_page(job: Path, tmp_path: Path) -> None:
    from reports import build

    run = Run(job.parent / "results")
    rows = [{**dict.fromkeys(BINS.names), **{name: row[name] for name in BINS.names[:6]}, "status": "too_few"}
            for row in run.bins().to_pylist()]  # fmt: skip
    (part,) = (run.path / "bins").iterdir()
    before = part.read_bytes()
    try:
        write_table(part, pa.Table.from_pylist(rows, schema=with_metadata(BINS, {})))
        html = build(run, tmp_path / "pages").read_text(encoding="utf-8")
    finally:
        part.write_bytes(before)
    assert "0 of 4</b><span>bins shown; 4 suppressed" in html
    assert "data-figure" not in html
