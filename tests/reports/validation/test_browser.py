"""The coding page and the findings in a real browser, opened as files."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_batch.store import Run
from reports.validation.codes import Codes, gather, read_lines
from reports.validation.draw import draw
from reports.validation.findings import findings
from reports.validation.key import Key, make_key
from reports.validation.material import prepare_folder, write_page
from reports.validation.page import write_findings
from tests.browser import LAPTOP, PHONE, check_page, eventually, opened
from tests.reports.synthetic import SyntheticRun
from tests.reports.validation.population import probabilities

ITEMS = [f"s0123abcd-{number:04d}" for number in range(1, 6)]
HOSTILE = "<img src=x onerror=alert(1)> & 'co'"


@pytest.fixture(scope="module")
def coding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("coding") / "with space & <b>"
    prepare_folder(out)
    for number, item in enumerate(ITEMS):
        for name, width in ((item, 90), (f"{item}-strip", 816)):
            cv2.imwrite(str(out / "images" / f"{name}.jpg"), np.full((90, width, 3), 40 * number, np.uint8))
    return write_page("s0123abcd", ITEMS, out, "strip", ["Anna", "Élise B."])


def start(browser: Any, page: Path, coder: int = 0, size: tuple[int, int] = LAPTOP) -> Any:
    opened(browser, page, size)
    browser.find_elements("css selector", "input[name=coder]")[coder].click()
    browser.find_element("css selector", "#who button").click()
    return browser


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def codes_on(browser: Any) -> dict[str, str]:
    text = browser.find_element("id", "text").get_property("value")
    return {row["item"]: row["code"] for row in csv.DictReader(io.StringIO(text))}


def text(browser: Any, name: str) -> str:
    return str(browser.find_element("id", name).text)


def test_coding_by_keys_resuming_and_saving(browser: Any, coding: Path, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(coding.as_uri())
    browser.execute_script("localStorage.clear()")
    start(browser, coding, coder=1)
    assert text(browser, "position") == "Face 1 of 5"
    press(browser, "4")
    press(browser, "8")  # means nothing
    press(browser, "0")
    press(browser, Keys.ARROW_LEFT)
    assert text(browser, "position") == "Face 2 of 5"
    pressed = browser.find_elements("css selector", '[aria-pressed="true"]')
    assert [button.get_attribute("data-code") for button in pressed] == ["cannot_tell"]
    press(browser, "9")
    press(browser, Keys.ARROW_RIGHT)
    press(browser, "7")
    assert codes_on(browser) == dict(zip(ITEMS, ["happy", "no_face", "", "neutral", ""], strict=True))
    assert text(browser, "count") == "3 of 5 coded"
    # Another coder sees nothing of it; coming back, the first face without a code is next.
    start(browser, coding, coder=0)
    assert text(browser, "count") == "0 of 5 coded"
    press(browser, "1")
    start(browser, coding, coder=1)
    assert text(browser, "position") == "Face 3 of 5"
    assert text(browser, "count") == "3 of 5 coded"
    press(browser, "6")
    assert not browser.find_element("id", "done").is_displayed()
    browser.find_element("id", "uncoded").click()
    assert text(browser, "position") == "Face 5 of 5"
    browser.find_element("css selector", '[data-code="disgust"]').click()
    assert browser.find_element("id", "done").is_displayed()
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path), "eventsEnabled": False}
    )
    browser.find_element("id", "save").click()
    saved = tmp_path / "codes-Élise-B..csv"
    eventually(browser, saved.is_file)
    lines = read_lines([saved])
    assert [(line.item, line.code) for line in lines] == list(
        zip(ITEMS, ["happy", "no_face", "surprise", "neutral", "disgust"], strict=True)
    )
    assert {line.coder for line in lines} == {"Élise B."}
    browser.find_element("id", "clear").click()
    assert codes_on(browser)[ITEMS[4]] == ""


def test_a_key_held_down_codes_one_face(browser: Any, coding: Path) -> None:
    browser.get(coding.as_uri())
    browser.execute_script("localStorage.clear()")
    start(browser, coding)
    browser.execute_script("""
        for (const repeat of [false, true, true])
            document.dispatchEvent(new KeyboardEvent('keydown', {key: '2', repeat: repeat, cancelable: true}));
        document.dispatchEvent(new KeyboardEvent('keydown', {key: '3', ctrlKey: true}));
    """)
    assert list(codes_on(browser).values()) == ["disgust", "", "", "", ""]


def test_what_is_kept_may_be_spoilt(browser: Any, coding: Path) -> None:
    browser.get(coding.as_uri())
    browser.execute_script("""
        localStorage.setItem('fer-batch codes s0123abcd Anna', JSON.stringify({[arguments[0]]: '<b>', x: 'happy'}));
    """, ITEMS[0])  # fmt: skip
    start(browser, coding)
    assert set(codes_on(browser).values()) == {""}


def test_a_name_is_asked_for_and_checked(browser: Any, tmp_path: Path) -> None:
    prepare_folder(tmp_path / "out")
    page = write_page("s0123abcd", ITEMS, tmp_path / "out", "face", [])
    opened(browser, page)
    field = browser.find_element("id", "name")
    field.send_keys("=cmd,1")
    field.submit()
    assert browser.find_element("id", "name-error").is_displayed()
    field.clear()
    field.send_keys(" 李 3 ")
    field.submit()
    assert text(browser, "coder") == "李 3"
    eventually(browser, lambda: browser.find_element("id", "missing").is_displayed())  # no pictures were made


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_coding_page_says_nothing_and_fits(browser: Any, coding: Path, size: tuple[int, int]) -> None:
    opened(browser, coding, size)
    check_page(browser, size)
    start(browser, coding, size=size)
    eventually(browser, lambda: browser.execute_script("return document.getElementById('strip').naturalWidth") == 816)
    check_page(browser, size)
    bottom = browser.execute_script(
        "return Math.max(...[...document.querySelectorAll('[data-code]')].map(b => b.getBoundingClientRect().bottom))"
    )
    assert bottom <= size[1]  # face and all answers on one screen
    for button in browser.find_elements("css selector", "#work button"):
        assert button.rect["height"] >= 40


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Key, dict[str, Any]]:
    made = SyntheticRun(tmp_path_factory.mktemp("found") / HOSTILE, model={"name": HOSTILE, "sha256": "ab" * 32})
    for number in range(3):
        made.video(f"/v/{number}.mp4", [[(1, probabilities(i // 4 % 7, 0.3 + 0.02 * i))] for i in range(30)])
    run = made.write()
    key = make_key(run, draw(run, 40, 0), {}, asked=40, seed=0, show="face")
    answers = np.random.default_rng(0).integers(0, 9, (3, len(key.faces))).astype(np.int8)
    found = findings(key, Codes((HOSTILE, "Anna", "Ben"), answers))
    return run, key, found


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_findings_page_says_nothing_and_fits(
    browser: Any, validated: tuple[Run, Key, dict[str, Any]], size: tuple[int, int]
) -> None:
    run, _key, found = validated
    (run.path / "validation").mkdir(exist_ok=True)
    page = write_findings(run, found)
    assert page.suffix == ".html"
    for scheme in ("light", "dark"):
        opened(browser, page, size, scheme)
        check_page(browser, size)
    body = browser.find_element("css selector", "body").text
    assert HOSTILE in body
    assert "No purpose declared" in body
    assert browser.execute_script("return document.images.length") == 0
    points = browser.execute_script(
        "return [...document.querySelectorAll('[data-figure]')].map(b => b._fullData.map(t => t.x.length))"
    )
    assert points[0] == [sum(row["precision"]["value"] is not None for row in found["classes"].values()),
                         sum(row["recall"]["value"] is not None for row in found["classes"].values())]  # fmt: skip
    assert points[1] == [2, len(found["calibration"]["bins"])]
    cells = [cell.text for cell in browser.find_elements("css selector", ".confusion tbody td")]
    assert [int(cell or 0) for cell in cells] == [count for row in found["confusion"] for count in row]


def test_lines_of_the_page_can_be_gathered(validated: tuple[Run, Key, dict[str, Any]], tmp_path: Path) -> None:
    _run, key, _found = validated
    item = key.faces["item"][0].as_py()
    (tmp_path / "codes-a.csv").write_bytes(f"item,code,coder\r\n{item},sad,a\r\n".encode())
    assert gather(read_lines([tmp_path / "codes-a.csv"]), key).coders == ("a",)
