"""``fer-batch report`` puts its pages nowhere that they could do harm."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand

from fer_batch.errors import RefusedError
from jobs.report import report
from tests.jobs.command import fer_batch
from tests.reports.synthetic import SyntheticRun


def build(path: Path, out: Path) -> None:
    context = typer.Context(TyperCommand("report"))
    report(
        context, path, pages="index", single_file=False, thumbnails=False, out=out, groups=None, stimuli=None,
        baseline=None,
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = SyntheticRun(tmp_path / "run")
    made.failed("/v/z.mp4")
    return Path(made.write().path)


@pytest.mark.parametrize("where", ["faces", "frames/x", ".", "work"])
def test_not_among_the_tables(run: Path, where: str) -> None:
    with pytest.raises(RefusedError, match="lies among the run's own files"):
        build(run, run / where)


def test_what_does_not_go_with_a_job_file_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--out", str(tmp_path / "pages"), "--min-group", "6", "--single-file"]
    assert fer_batch(monkeypatch, "report", run, "--job", tmp_path / "job.toml", *flags) == 2
    assert "job.toml says itself which pages there are and how; leave --out, --min-group, --single-file out" in (
        " ".join(capsys.readouterr().err.split())
    )


def test_not_over_what_is_not_ours(run: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "site"
    theirs.mkdir()
    (theirs / "index.html").write_text("my own page")
    with pytest.raises(RefusedError, match="no report of fer-batch"):
        build(run, theirs)
    assert (theirs / "index.html").read_text() == "my own page"
    (tmp_path / "file").touch()
    with pytest.raises(RefusedError, match="is a file; name a folder"):
        build(run, tmp_path / "file")


def test_elsewhere_and_again(run: Path, tmp_path: Path) -> None:
    for _ in range(2):
        build(run, tmp_path / "pages")
    assert (tmp_path / "pages" / "index.html").is_file()
