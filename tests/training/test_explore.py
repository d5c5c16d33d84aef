"""The data page: what it shows is what the data hold, and no file name does anything."""

from __future__ import annotations

import base64
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import typer
from typer.testing import CliRunner

from fer_batch.errors import StoppedError
from fer_batch.palette import COLOURS
from fer_batch.schema import EMOTIONS
from tests.browser import LAPTOP, PHONE, check_page, opened
from tests.training.faces import pictures, row, rows, write_csv, write_picture, write_votes
from training.data.explore import class_votes, distribution, explore, mean_faces, samples, votes_figure
from training.data.faces import VOTES, FaceSet, read_fer2013

HOSTILE = (
    "\"><img src=x onerror='alert(1)'>.png",
    "<script>alert(2)<script>.png",
    "{{ 7*7 }}.png",
    "long" * 40 + ".png",
)


class Page(HTMLParser):
    """What a page holds: its text without scripts and styles, its pictures, its figures."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.figures: dict[str, Any] = {}
        self.handlers: list[str] = []
        self._text: list[str] = []
        self._inside: tuple[str, str | None] = ("", None)
        self.feed(path.read_text(encoding="utf-8"))

    text = property(lambda self: re.sub(r"\s+", " ", "".join(self._text)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.handlers += [name for name in named if name.startswith("on")]
        if tag == "img":
            self.images.append(named)
        if tag in {"script", "style"}:
            self._inside = (tag, named.get("id"))

    def handle_endtag(self, tag: str) -> None:
        self._text.append(" ")
        if tag == self._inside[0]:
            self._inside = ("", None)

    def handle_data(self, data: str) -> None:
        tag, name = self._inside
        if name is not None:
            self.figures[name] = json.loads(data)
        if not tag:
            self._text.append(data)


def decoded(address: str | None) -> npt.NDArray[np.uint8]:
    """The picture in a data address."""
    assert address is not None
    head, _, data = address.partition(",")
    assert head == "data:image/png;base64"
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return np.asarray(image, np.uint8)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a CSV with votes, in which a picture of each split has a copy with another label."""
    folder = tmp_path_factory.mktemp("explored")
    training = [*rows("Training", 70), row(3, np.full((48, 48), 9, np.uint8), "Training")]
    public = [row(6, pictures(70).images[0], "PublicTest"), *rows("PublicTest", 14, seed=1)]
    data = write_csv(folder / "fer2013.csv", training + public)
    votes = write_votes(folder / "fer2013new.csv", ["Training"] * 71 + ["PublicTest"] * 15)
    explore(read_fer2013(data, ferplus=votes), folder / "out" / "page.html", source=str(data))
    return folder / "out" / "page.html"


def test_the_page_shows_what_the_data_hold(page: Path) -> None:
    shown = Page(page)
    # Ten samples a class (the blank one is none), seven mean faces, one conflict.
    assert len(shown.images) == 70 + 7 + 1
    for image in shown.images[:70]:
        match = re.fullmatch(r"(\w+), row (\d+)", image["alt"] or "")
        assert match is not None
        number = int(match[2]) - 1
        assert (decoded(image["src"]) == pictures(70).images[number]).all()
        assert match[1] == EMOTIONS[number % 7]
    assert shown.images[-1]["alt"] == "A face labelled angry and neutral"
    assert (decoded(shown.images[-1]["src"]) == pictures(70).images[0]).all()
    for words in (
        "86 pictures in 2 splits", "1 blank", "1 repeat an earlier one",
        "1 of PublicTest's pictures are in Training too", "angry 10 14 % 2 13 %", "row 71 (happy)", "FER+ votes",
    ):  # fmt: skip
        assert words in shown.text, words
    assert shown.handlers == []


def test_bars_hold_counts_and_shares_in_the_classes_colours(page: Path) -> None:
    training, public = Page(page).figures["distribution"]["data"]
    assert training["y"] == list(EMOTIONS)
    assert training["text"] == ["10", "10", "10", "11", "10", "10", "10"]
    assert training["x"] == pytest.approx([10 / 71] * 3 + [11 / 71] + [10 / 71] * 3)
    assert public["text"] == ["2", "2", "2", "2", "2", "2", "3"]
    assert training["marker"]["color"] == list(COLOURS.values())
    assert training["marker"]["pattern"]["shape"] != public["marker"]["pattern"]["shape"]


def test_a_class_that_is_missing_has_no_bar_and_no_picture(tmp_path: Path) -> None:
    one = pictures(7).take(np.array([4]))
    report = explore({"Training": one}, tmp_path / "p.html", source="x")
    assert distribution(report.splits).data[0].x == (0, 0, 0, 0, 1, 0, 0)
    shown = Page(tmp_path / "p.html")
    assert [image["alt"] for image in shown.images] == ["sad, row 5", "Mean face of sad"]
    assert "FER+ votes" in shown.text  # these pictures have votes
    bare = FaceSet(one.images, one.labels, None, one.rows)
    explore({"Training": bare}, tmp_path / "p.html", source="x")
    assert "FER+" not in Page(tmp_path / "p.html").text


def test_samples_are_drawn_by_the_seed() -> None:
    faces = pictures(210)
    assert samples(faces, 1) == samples(faces, 1)
    assert samples(faces, 1) != samples(faces, 2)
    for index, shown in enumerate(samples(faces, 1)):
        numbers = [int(where.removeprefix("row ")) - 1 for _, where in shown]
        assert len(set(numbers)) == 12
        assert all(number % 7 == index for number in numbers)


def test_mean_faces_leave_blank_pictures_out() -> None:
    images = np.stack([np.tile(np.arange(48, dtype=np.uint8) * k, (48, 1)) for k in (1, 3)] + [np.full((48, 48), 200)])
    faces = FaceSet(images.astype(np.uint8), np.array([2, 2, 2]), None, np.arange(3))
    address, count = mean_faces(faces)[2]
    assert count == 2
    assert (decoded(address) == np.arange(48) * 2).all()


def _votes(*counts: dict[str, int]) -> npt.NDArray[np.float32]:
    table = np.array([[given.get(name, 0) for name in VOTES] for given in counts], np.float32)
    return np.asarray(table / np.maximum(table.sum(axis=1, keepdims=True), 1), np.float32)


def test_votes_of_a_label_are_counted_by_their_majority() -> None:
    votes = _votes(
        {"fear": 10}, {"fear": 6, "surprise": 4}, {"surprise": 8, "fear": 2}, {"fear": 5, "neutral": 5}, {"NF": 10}, {}
    )
    faces = FaceSet(pictures(6).images, np.full(6, EMOTIONS.index("fear")), votes, np.arange(6))
    (line,) = class_votes({"Training": faces})
    assert (line.emotion, line.n, line.agree) == ("fear", 5, 2 / 5)
    low, high = line.interval
    assert (round(low, 3), round(high, 3)) == (0.118, 0.769)  # Wilson's interval of 2 in 5
    assert dict(line.instead).items() <= {"surprise": 0.2, "not a face": 0.2, "no majority": 0.2}.items()
    assert line.shares[VOTES.index("fear")] == pytest.approx((1 + 0.6 + 0.2 + 0.5) / 5)
    bars = {bar.name: bar for bar in votes_figure([line]).data}
    assert list(bars) == [*EMOTIONS, "contempt", "unknown", "NF"]
    assert bars["fear"].x[0] == pytest.approx(0.46)
    assert bars["fear"].marker.color == COLOURS["fear"]
    assert sum(bar.x[0] for bar in bars.values()) == pytest.approx(1)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a folder whose file names are up to no good; all pictures are copies with different labels."""
    folder = tmp_path_factory.mktemp("hostile")
    for emotion in ("sad", "fear"):
        for name in HOSTILE:
            write_picture(folder / "1.png", pictures(1).images[0])
            target = folder / "data" / "train" / emotion / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / "1.png").rename(target)
    write_picture(folder / "1.png", np.full((48, 48), 1, np.uint8))
    os.rename(folder / "1.png", os.fsencode(folder) + b"/data/train/sad/caf\xe9.png")
    explore(read_fer2013(folder / "data"), folder / "page.html", source=f"/data/{HOSTILE[0]}")
    return folder / "page.html"


def test_hostile_names_are_text(hostile: Path) -> None:
    shown = Page(hostile)
    assert shown.handlers == []
    assert {image["alt"] for image in shown.images[:8]} == {
        f"{emotion}, train/{emotion}/{name}" for emotion in ("sad", "fear") for name in HOSTILE
    }
    for name in (*HOSTILE, "caf\\udce9.png"):
        assert name in shown.text
    assert all((image["src"] or "").startswith("data:image/png") for image in shown.images)


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_page_in_a_browser(browser: Any, page: Path, hostile: Path, size: tuple[int, int]) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    for path in (page, hostile):
        check_page(opened(browser, path, size), size)
        with pytest.raises(NoAlertPresentException):
            _ = browser.switch_to.alert.text
        broken = "return [...document.images].filter(image => image.complete && !image.naturalWidth).length"
        assert browser.execute_script(broken) == 0


def test_no_script_but_the_pages_own_can_run(browser: Any, page: Path) -> None:
    opened(browser, page)
    ran = browser.execute_script("""
        const script = document.createElement('script');
        script.textContent = 'window.stranger = 1';
        document.body.append(script);
        return window.stranger === 1;
    """)
    assert ran is False
    assert "Content Security Policy" in str(browser.get_log("browser"))


def test_tables_are_readable_without_javascript(browser: Any, page: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page.as_uri())
        text = browser.find_element("css selector", "body").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    for words in ("needs JavaScript", "surprise", "Majority agrees", "row 71"):
        assert words in text


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoppedError, match="cannot write"):
        explore({"Training": pictures(7)}, tmp_path / "file" / "page.html", source="x")


def test_the_page_stays_light_whatever_the_data(tmp_path: Path) -> None:
    """Of many copies some are shown and some are listed; the rest are counted. Plotly alone has 4.8 MB."""
    faces = pictures(6000)
    twice = FaceSet(
        np.tile(faces.images, (2, 1, 1)), np.r_[faces.labels, (faces.labels + 1) % 7], None, np.arange(12_000)
    )
    report = explore({"Training": twice}, tmp_path / "page.html", source="x")
    assert len(report.conflicts) == 6000
    assert (tmp_path / "page.html").stat().st_size < 5_600_000
    assert "5,976 more are in the list below" in Page(tmp_path / "page.html").text
    assert "4,000 more are not listed" in Page(tmp_path / "page.html").text


def test_the_command_writes_the_page_and_trains_nothing(tmp_path: Path) -> None:
    from training.commands import train

    app = typer.Typer()
    app.command()(train)
    data = write_csv(tmp_path / "fer2013.csv", rows("Training", 14) + rows("PublicTest", 7, seed=1))
    write_votes(tmp_path / "fer2013new.csv", ["Training"] * 14 + ["PublicTest"] * 7)
    target, checkpoints = tmp_path / "page.html", tmp_path / "checkpoints"
    arguments = [data, "--explore", target, "--checkpoints", checkpoints]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "21 pictures in 2 splits" in Page(target).text
    assert "FER+ votes" in Page(target).text  # found beside the data
    made = {path.name for path in tmp_path.iterdir()}
    assert made <= {"fer2013.csv", "fer2013new.csv", "page.html", "checkpoints"}
    # At most the parsed data are kept for the training to come.
    assert {path.name for path in checkpoints.iterdir()} <= {"cache"} if checkpoints.exists() else True
