"""The pages in a real browser, opened as files, with every message of its console read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import reports
from tests.browser import LAPTOP, PHONE, TABLET, check_page, eventually, opened
from tests.reports.synthetic import HAPPY, SAD, Sample, SyntheticRun

HOSTILE = "<script>alert(1)</script>.mp4"
QUOTED = "\"><img src=x onerror='alert(2)'> & co.mp4"
WIDE = "a-very-long-name-without-a-single-space-" * 6 + ".mp4"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    face: Sample = [(1, HAPPY)]
    made = SyntheticRun(tmp_path_factory.mktemp("pages") / "run", inputs=["/v"], model={"name": HOSTILE})
    made.video(f"/v/{HOSTILE}", [face, face, "no_face", "no_face", [(1, HAPPY), (2, SAD)], "decode_error"])
    made.video(f"/v/{QUOTED}", [[(1, SAD)]] * 4).video(f"/v/{WIDE}", [face, "too_small"])
    made.failed(f"/v/x/{HOSTILE}", "not_a_video", f"{WIDE} is no video")
    return reports.build(made.write()).parent


def pages(report: Path) -> list[Path]:
    return [report / "index.html", *sorted((report / "videos").glob("*.html"))]


@pytest.mark.parametrize("size", [LAPTOP, TABLET, PHONE], ids=["laptop", "tablet", "phone"])
def test_no_message_no_overflow_no_request_elsewhere(browser: Any, report: Path, size: tuple[int, int]) -> None:
    for page in pages(report):
        check_page(opened(browser, page, size), size)


def test_a_hostile_name_does_nothing(browser: Any, report: Path) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    for page in pages(report):
        opened(browser, page)
        with pytest.raises(NoAlertPresentException):
            _ = browser.switch_to.alert.text
        assert browser.execute_script("return document.images.length") == 0
    browser.get((report / "videos" / "v0001.html").as_uri())
    assert browser.find_element("css selector", "h1").text.endswith(QUOTED)


def test_figures_hold_the_data_of_the_tables(browser: Any, report: Path) -> None:
    opened(browser, report / "videos" / "v0000.html")
    traces = browser.execute_script("""
        const box = document.querySelector('[data-figure]');
        return box.calcdata.map(points => ({name: points[0].trace.name, meta: points[0].trace.meta,
            x: points.map(p => p.x), y: points.map(p => points[0].trace.stackgroup ? p.sNorm || p.y : p.y)}));
    """)
    named = {trace["name"]: trace for trace in traces}
    seconds = [(x - 86_400_000) / 1000 for x in named["angry"]["x"]]
    assert seconds == [0, 0.5, 0.999, 1, 1.999, 2, 2.499, 2.5]
    values = browser.execute_script("""
        const box = document.querySelector('[data-figure]');
        const happy = box._fullData.find(trace => trace.name === 'happy');
        return Array.from(happy.y).map(y => Math.round(y * 1000) / 1000);
    """)
    assert values == [0.8, 0.8, 0.8, 0, 0, 0.4, 0.4, 0]
    assert {"No face", "Picture damaged", "faces"} <= named.keys()
    ticks = [tick.text for tick in browser.find_elements("css selector", ".xtick text")]
    assert ticks
    assert ticks[0].startswith("0:00")


def test_the_pointer_reads_the_values_or_the_reason(browser: Any, report: Path) -> None:
    opened(browser, report / "videos" / "v0000.html")
    point = """
        const box = document.querySelector('[data-figure]');
        const number = box._fullData.findIndex(trace => trace.meta === 'label');
        Plotly.Fx.hover(box, [{curveNumber: number, pointNumber: arguments[0]}]);
    """
    read = "return Array.from(document.querySelectorAll('.hoverlayer text')).map(text => text.textContent).join(' ')"
    for sample, expected in ((0, "happy 80%"), (2, "No face"), (5, "Picture damaged")):
        browser.execute_script(point, sample)
        eventually(browser, lambda words=expected: words in browser.execute_script(read))  # type: ignore[misc]


def test_legend_hides_and_shows_by_keyboard(browser: Any, report: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(browser, report / "videos" / "v0000.html")
    button = browser.find_element("css selector", 'button[data-emotion="neutral"]')
    shown = "return document.querySelector('[data-figure]')._fullData.find(t => t.name === 'neutral').visible"
    assert browser.execute_script(shown) is True
    button.send_keys(Keys.ENTER)
    assert browser.execute_script(shown) is False
    assert button.get_attribute("aria-pressed") == "false"
    button.send_keys(Keys.SPACE)
    assert browser.execute_script(shown) is True


def test_no_button_sends_data_away(browser: Any, report: Path) -> None:
    opened(browser, report / "videos" / "v0000.html")
    titles = [
        button.get_attribute("data-title") or button.get_attribute("aria-label") or ""
        for button in browser.find_elements("css selector", ".modebar-btn")
    ]
    assert len(titles) == 6
    assert not any("cloud" in title.lower() or "share" in title.lower() or "edit" in title.lower() for title in titles)


def test_text_of_figures_follows_the_colour_scheme(browser: Any, report: Path) -> None:
    colour = "return document.querySelector('[data-figure]')._fullLayout.font.color"
    fill = "return document.querySelector('[data-figure]')._fullData.find(t => t.name === 'happy').fillcolor"
    page = report / "videos" / "v0000.html"
    light = opened(browser, page).execute_script(colour), browser.execute_script(fill)
    dark = opened(browser, page, scheme="dark").execute_script(colour), browser.execute_script(fill)
    assert light[0] != dark[0]
    assert light[1] == dark[1]
    # A change while the page is open is followed too.
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    )
    eventually(browser, lambda: browser.execute_script(colour) == light[0])


def test_tables_are_readable_without_javascript(browser: Any, report: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get((report / "index.html").as_uri())
        text = browser.find_element("css selector", "body").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "not_a_video" in text
    assert HOSTILE.rpartition("/")[2] in text
    assert "needs JavaScript" in text


def test_an_empty_run_opens(browser: Any, synthetic: Callable[..., SyntheticRun]) -> None:
    opened(browser, reports.build(synthetic().write()))
    assert browser.get_log("browser") == []
