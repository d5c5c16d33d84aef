"""Surveys: shares, ranks and breakdowns against known answers, and what the page shows of them and what not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_batch.errors import RefusedError
from fer_batch.store import Run
from reports.feedback import Feedback, build_feedback, survey
from reports.groups.settings import Settings
from tests.browser import LAPTOP, PHONE, check_page, opened
from tests.reports.feedback.answers import asked_people

ASKED = Settings(baseline="fixation", resamples=1999)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    return asked_people(tmp_path_factory.mktemp("feedback"))


@pytest.fixture(scope="module")
def found(study: tuple[Run, Path]) -> Feedback:
    return survey(*study, ASKED, attributes=["age_group", "vip"])


def rows(found: Feedback, table: str, **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in found.tables[table].to_pylist() if all(row[k] == v for k, v in wanted.items())]


def test_the_share_over_the_threshold_through_time(found: Feedback) -> None:
    advert = rows(found, "shares", stimulus="advert")
    assert [row["at_ms"] for row in advert] == list(range(0, 10_000, 500))
    assert [row["share"] for row in advert] == [0.75 if 4_000 <= row["at_ms"] < 8_000 else 0 for row in advert]
    assert {row["people"] for row in advert} == {16}
    # Wilson's interval of 12 of 16 and of 0 of 16.
    assert (advert[8]["low"], advert[8]["high"]) == pytest.approx((0.505, 0.898), abs=0.001)
    assert (advert[0]["low"], advert[0]["high"]) == pytest.approx((0, 0.194), abs=0.001)
    assert {row["share"] for row in rows(found, "shares", stimulus="song")} == {0}
    (one,) = (one for one in found.shares if one.stimulus == "advert")
    assert one.ever[0] == 0.75
    assert one.ever[3] == 16
    assert one.highest is not None
    assert one.at_ms[one.highest] == 4_000


def test_another_measure_and_threshold(study: tuple[Run, Path]) -> None:
    found = survey(*study, ASKED, measure="valence", above=0.35)
    (old,) = {row["share"] for row in rows(found, "shares", stimulus="song")}
    assert old == 0.5
    with pytest.raises(RefusedError, match="the share's measure is 'smile'"):
        survey(*study, ASKED, measure="smile")


def test_stimuli_are_ranked_and_their_positions_told(found: Feedback) -> None:
    ranking = [row for row in found.study.tables["ranking"].to_pylist() if row["measure"] == "valence"]
    # Minus the fixation: the advert's mean is 0.6 x 0.4 x 3/4 = 0.18, the song's 0.2.
    assert [row["level"] for row in ranking if row["rank"] == 1] == ["song", "advert", "logo"]
    assert [row["mean"] for row in ranking if row["rank"] == 1] == pytest.approx([0.2, 0.18, 0], abs=0.01)
    assert found.positions == pytest.approx({"advert": 2, "logo": 2, "song": 2}, abs=0.3)


def test_answers_are_broken_down_by_attribute(study: tuple[Run, Path]) -> None:
    plain = survey(*study, Settings(resamples=1999), attributes=["age_group"])
    means = {row["level"]: row for row in rows(plain, "means_by_attribute", factor="age_group", measure="valence")}
    assert means["old"]["mean"] - means["young"]["mean"] == pytest.approx(0.1, abs=0.06)
    assert {row["people"] for row in means.values()} == {8}
    (gap,) = rows(plain, "differences_by_attribute", measure="p_happy")
    assert gap["design"] == "independent"
    assert gap["difference"] == pytest.approx(means["young"]["mean"] - means["old"]["mean"], abs=1e-9)


def test_small_groups_of_an_attribute_are_not_shown(found: Feedback) -> None:
    vip = found.breakdowns[1]
    # Of 16 people 3 are, and 13 are not: everybody minus the 13 would tell of the 3.
    assert set(vip.small) == {"yes", "no"}
    assert (vip.means, vip.differences, vip.without) == ([], [], 0)


def test_an_attribute_is_read_with_care(study: tuple[Run, Path], tmp_path: Path) -> None:
    run, table = study
    with pytest.raises(RefusedError, match=r"no column 'age_gruop' to break answers down by; is it 'age_group'\?"):
        survey(run, table, ASKED, attributes=["age_gruop"])
    lines = table.read_text().splitlines()
    (tmp_path / "two.csv").write_text("\n".join([*lines[:2], lines[2].replace("young", "old"), *lines[3:]]))
    with pytest.raises(RefusedError, match=r"row 3, column age_group: C00 has 'old' here and 'young' in row 2"):
        survey(run, tmp_path / "two.csv", ASKED, attributes=["age_group"])
    (tmp_path / "gaps.csv").write_text("\n".join([lines[0], *(line.replace("C01", "C01").replace("young", "") if
                                       line.startswith(("C00", "C02")) else line for line in lines[1:])]))  # fmt: skip
    (down,) = survey(run, tmp_path / "gaps.csv", ASKED, attributes=["age_group"]).breakdowns
    # Everybody minus young minus old would tell of the two: the smaller group goes with them.
    assert (down.without, down.small) == (2, ("young",))
    assert {row["level"] for row in down.means} == {"old"}
    (down,) = survey(run, tmp_path / "gaps.csv", Settings(min_group=2), attributes=["age_group"]).breakdowns
    assert {(row["level"], row["people"]) for row in down.means} == {("young", 6), ("old", 8)}
    (tmp_path / "none.csv").write_text("\n".join([lines[0], *(line.replace("young", "").replace("old", "")
                                                              for line in lines[1:])]))  # fmt: skip
    (nobody,) = survey(run, tmp_path / "none.csv", ASKED, attributes=["age_group"]).breakdowns
    assert (nobody.means, nobody.without) == ([], 16)


def test_nothing_is_shown_of_too_few_people(study: tuple[Run, Path]) -> None:
    found = survey(*study, Settings(baseline="fixation", min_group=17), attributes=["age_group"])
    assert found.shares == ()
    assert found.breakdowns[0].means == []
    html = build_feedback(study[0], found).read_text(encoding="utf-8")
    assert "No stimulus was seen by 17 people or more" in html


def test_the_page(found: Feedback, study: tuple[Run, Path]) -> None:
    html = build_feedback(study[0], found).read_text(encoding="utf-8")
    assert html.index("1. <a") < html.index("<bdi>song</bdi>") < html.index("2. <a") < html.index("<bdi>advert</bdi>")
    assert "Highest at 0:04.0: 75" in html
    assert "No purpose declared" in html
    assert "C00" not in html  # the page names no participant
    assert "v00.mp4" not in html
    assert "because fewer than 5 people are left there" in html
    assert not np.isnan(found.shares[0].ever[0])


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_page_in_a_browser(browser: Any, found: Feedback, study: tuple[Run, Path], size: tuple[int, int]) -> None:
    check_page(opened(browser, build_feedback(study[0], found), size), size)
    drawn = "return document.querySelector('[data-figure=figure-share-2]').calcdata[1].length"
    assert browser.execute_script(drawn) == 21
