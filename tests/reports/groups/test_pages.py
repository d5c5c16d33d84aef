"""The pages of a comparison: what they say, and how they behave in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fer_batch.errors import RefusedError
from fer_batch.store import Run
from jobs.cli import app
from reports.groups import Settings, build_groups, compare
from reports.groups.stimuli import find_stimuli, pictures
from tests.browser import LAPTOP, PHONE, check_page, eventually, opened
from tests.clips import Clips
from tests.reports.groups.people import Course, study, wandering
from tests.reports.synthetic import SyntheticRun

HOSTILE = "<img src=x onerror=alert(1)><b>ad</b> & %{x} co"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, clips: Clips) -> tuple[Run, Path]:
    """Three conditions of different people, one of them too small to be shown, two stimuli, one with a video."""
    folder = tmp_path_factory.mktemp("groups")
    course = wandering(np.random.default_rng(1), 30, 16)
    courses: dict[tuple[str, str, str], Course] = {}
    for i in range(30):
        condition = "sound" if i < 14 else "<i>mute</i>" if i < 27 else "tiny group"
        for s, name in enumerate((HOSTILE, "ad 2")):
            courses[f"secret-{i:02d}", name, condition] = course[i, s].tolist()
    table = folder / "people.csv"
    run = study(SyntheticRun(folder / "run"), courses, table).write()
    (folder / "stimuli").mkdir()
    (folder / "stimuli" / f"ad 2{clips.one_face.path.suffix}").symlink_to(clips.one_face.path)
    result = CliRunner().invoke(
        app, ["report", str(run.path), "--groups", str(table), "--stimuli", str(folder / "stimuli"), "--pages", "index",
              "--resamples", "999"]
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "groups: " in result.output
    return run, Path(run.report_dir) / "groups"


def test_the_pages_say_what_a_reviewer_asks(made: tuple[Run, Path]) -> None:
    text = (made[1] / "index.html").read_text(encoding="utf-8")
    for words in (
        "Not shown:", "tiny group", "fewer than 5 people", "independent groups", "Family “condition: affect”", "Holm",
        "g<sub>av</sub>", "max-t", "valence is above 0.0", "Recorded", "Analysed", "not even totals",
        "95&nbsp;% interval",
        "Faces are not missing at random", "none is subtracted", "No purpose declared",
    ):  # fmt: skip
        assert words in text, words
    assert "secret-" not in text
    assert "people analysed, of 27" in text
    flow = text.partition('class="tiles"')[2].partition("</section>")[0]
    assert "(54)" in flow
    assert not [number for number in ("30", "60", "tiny group") if number in flow]
    assert "&lt;img src=x onerror" in text
    assert "<img" not in text
    assert "People, conditions and stimuli" in (made[1].parent / "index.html").read_text(encoding="utf-8")


def test_a_stimulus_has_its_own_pictures(made: tuple[Run, Path]) -> None:
    first, second = (path.read_text(encoding="utf-8") for path in sorted(made[1].glob("stimulus-*.html")))
    assert second.count("data:image/jpeg") == 10
    assert "it holds pictures of the stimulus" in second
    assert "data:image/jpeg" not in first


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_pages_are_quiet_and_fit_the_screen(browser: Any, made: tuple[Run, Path], size: tuple[int, int]) -> None:
    for page in sorted(made[1].glob("*.html")):
        check_page(opened(browser, page, size), size)


def drawn(browser: Any, figure: str) -> dict[str, Any]:
    """The last trace's values and the titles of the axes, as Plotly has them."""
    found: dict[str, Any] = browser.execute_script(
        """
        const box = document.querySelector(`[data-figure="${arguments[0]}"]`), full = box._fullData.at(-1);
        return {y: Array.from(full.y, v => Number.isNaN(v) ? null : Math.round(v * 1000) / 1000), name: full.name,
                ytitle: box._fullLayout.yaxis.title.text, xtitle: box._fullLayout.xaxis.title.text};
        """,
        figure,
    )
    return found


def test_one_choice_changes_all_figures(browser: Any, made: tuple[Run, Path]) -> None:
    from selenium.webdriver.support.ui import Select

    run, folder = made
    rows = compare(run, folder.parents[2] / "people.csv", Settings(resamples=999)).tables["curves"].to_pylist()

    def means(measure: str) -> list[float]:
        return [round(r["mean"], 3) for r in rows if r["stimulus"] == "ad 2" and r["group"] == "<i>mute</i>" and
                r["measure"] == measure]  # fmt: skip

    opened(browser, folder / "stimulus-02.html")
    found = drawn(browser, "figure-stimulus")
    assert found["y"][:-1] == pytest.approx(means("valence"), abs=0.0011)
    assert found["ytitle"] == "Valence (\u22121 to 1)"
    Select(browser.find_element("id", "measure")).select_by_value("p_neutral")
    eventually(browser, lambda: drawn(browser, "figure-stimulus")["ytitle"] == "p(neutral) (probability, 0 to 1)")
    assert drawn(browser, "figure-stimulus")["y"][:-1] == pytest.approx(means("p_neutral"), abs=0.0011)
    assert drawn(browser, "figure-stimulus-gap")["ytitle"] == "Difference in p(neutral)"
    opened(browser, folder / "index.html")
    Select(browser.find_element("id", "measure")).select_by_value("expressiveness")
    eventually(browser, lambda: drawn(browser, "figure-points-condition")["xtitle"] == "Expressiveness (0 to 1)")
    names = browser.execute_script(
        "return Array.from(document.querySelectorAll('[data-figure=\"figure-points-condition\"] .ytick text'),"
        " text => text.textContent)"
    )
    assert names == ["soundn = 14", "<i>mute</i>n = 13"]


def test_a_small_study_shows_points_and_no_band(synthetic: Callable[..., SyntheticRun], tmp_path: Path) -> None:
    course = wandering(np.random.default_rng(2), 6, 8)
    courses: dict[tuple[str, str, str], Course] = {
        (f"P{i}", f"ad {s}", ""): course[i, s].tolist() for i in range(6) for s in range(2)
    }
    run = study(synthetic(), courses, tmp_path / "t.csv").write()
    found = compare(run, tmp_path / "t.csv", Settings(resamples=999))
    text = build_groups(run, found, single_file=True).read_text(encoding="utf-8")
    assert "their points, and no band" in text
    assert "Fewer than 12 people in a group" in text
    assert "figure-ranks" not in text
    assert "no tests, as a group has fewer than 12 people" in text
    assert "The band" not in text
    assert {r["low"] for name in ("means", "differences", "curves") for r in found.tables[name].to_pylist()} == {None}


def test_stimuli_are_found_by_name_or_refused(tmp_path: Path, clips: Clips) -> None:
    for name in ("a.mp4", "b", "c.mp4", "c.mov"):
        (tmp_path / name).write_bytes(b"x")
    assert find_stimuli(tmp_path, ("a", "b", "other")) == {"a": tmp_path / "a.mp4", "b": tmp_path / "b"}
    with pytest.raises(RefusedError, match=r"c\.mov and c\.mp4 are both 'c'"):
        find_stimuli(tmp_path, ("c",))
    with pytest.raises(RefusedError, match="there is no such folder"):
        find_stimuli(tmp_path / "none", ("c",))
    found, problem = pictures(tmp_path / "a.mp4", 5000)
    assert found == []
    assert problem is not None
    assert "Pictures of a.mp4 are missing" in problem
    found, problem = pictures(clips.one_face.path, 3000)
    assert problem is None
    assert [one.at_ms // 300 for one in found] == list(range(10))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pages", "none"], "builds nothing"),
        (["--stimuli", "x"], "belong to --groups"),
        (["--baseline", "x"], "belong to --groups"),
        (["--groups", "nowhere.csv"], "nowhere.csv: cannot be read"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(
    synthetic: Callable[..., SyntheticRun], arguments: list[str], message: str
) -> None:
    run = synthetic().write()
    result = CliRunner().invoke(app, ["report", str(run.path), *arguments])
    assert isinstance(result.exception, RefusedError)
    assert message in str(result.exception)
