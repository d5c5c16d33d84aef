"""The commands of each kind's page, typed as they stand there, give its report."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import pytest

from fer_batch import Run
from jobs.job_tables import KINDS
from reports.feedback import survey
from reports.groups import Settings
from reports.sessions import follow
from tests.conftest import ROOT
from tests.jobs.command import fer_batch


@pytest.fixture(scope="module", params=KINDS)
def done(
    request: pytest.FixtureRequest, ray_session: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """The kind, and the folder in which its page's first commands were typed."""
    folder = tmp_path_factory.mktemp(request.param)
    text = (ROOT / "docs" / f"{request.param}.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^## See it first\n\n```\n(.+?)```", text, flags=re.DOTALL | re.MULTILINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in block.splitlines():
            program, *words = shlex.split(line)
            assert program == "fer-batch"
            here = ["--cpus", "2"] if words[0] == "run" else []  # as the session's Ray has
            assert fer_batch(patch, *words, *here) == 0, line
    return request.param, folder


@pytest.mark.ray
def test_the_example_gives_the_page_that_is_named_and_what_it_is_made_to_show(done: tuple[str, Path]) -> None:
    kind, folder = done
    (page,) = re.findall(r"`(example/results/\S+\.html)`", (ROOT / "docs" / f"{kind}.md").read_text(encoding="utf-8"))
    html = (folder / page).read_text(encoding="utf-8")
    assert "Example with made-up clips: no study" in html
    run, table = Run(folder / "example" / "results"), folder / "example" / "participants.csv"
    few = Settings(resamples=999)
    if kind == "classroom":
        assert [(row["status"], row["people"]) for row in run.bins().to_pylist()] == [
            ("shown", 10), ("shown", 10), ("too_few", None), ("shown", 10)]  # fmt: skip
    elif kind == "customer_feedback":
        found = survey(run, table, few, attributes=["age_group"])
        means = {row["level"]: row["mean"] for row in found.study.tables["means"].to_pylist() if row["measure"] ==
                 "p_happy"}  # fmt: skip
        assert means["advert_b"] > means["advert_a"] + 0.1
        assert {one.stimulus: one.ever[0] for one in found.shares}["advert_b"] >= 0.5
        assert "First in" in html
    else:
        slopes = follow(run, table, Settings(baseline="neutral", resamples=999)).tables["slopes"].to_pylist()
        valence = [row["slope"] for row in slopes if row["measure"] == "valence"]
        assert len(valence) == 5
        assert min(valence) > 0
    if kind != "classroom":
        rows = list(csv.DictReader(table.open(encoding="utf-8-sig")))
        assert {row["video"] for row in rows} == {Path(path).name for path in run.videos()["path"].to_pylist()}
