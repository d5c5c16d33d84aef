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
    calm = (0.0, 0.0, 0.0, 0.1, 0.0, 0.0, 0.9)
    long: list[Sample] = [[(1, calm)]] * 200
    long[120:128] = [[(1, HAPPY)]] * 8
    made = SyntheticRun(tmp_path_factory.mktemp("pages") / "run", inputs=["/v"], model={"name": HOSTILE})
    made.video(f"/v/{HOSTILE}", [face, face, "no_face", "no_face", [(1, HAPPY), (2, SAD)], "decode_error"])
    made.video(f"/v/{QUOTED}", [*[[(1, SAD)]] * 4, "too_small"]).video(f"/v/{WIDE}", long)
    made.failed(f"/v/x/{HOSTILE}", "not_a_video", f"{WIDE} is no video")
    return reports.build(made.write()).parent


def pages(report: Path) -> list[Path]:
    return [report / "index.html", *sorted((report / "videos").glob("*.html"))]


@pytest.mark.parametrize("size", [LAPTOP, TABLET, PHONE], ids=["laptop", "tablet", "phone"])
def test_hostile_names_do_nothing_and_nothing_overflows(browser: Any, report: Path, size: tuple[int, int]) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    for page in pages(report):
        check_page(opened(browser, page, size), size)
        with pytest.raises(NoAlertPresentException):
            _ = browser.switch_to.alert.text
        assert browser.execute_script("return document.images.length") == 0
        if page.stem == "v0001":
            assert browser.find_element("css selector", "h1").text.endswith(QUOTED)


def trace(browser: Any, figure: str, name: str) -> dict[str, Any]:
    """A trace as Plotly drew it: its times in seconds, its values, and how many points it counted."""
    found: dict[str, Any] = browser.execute_script(
        """
        const box = document.querySelector(`[data-figure="figure-${arguments[0]}"]`);
        const at = box._fullData.findIndex(trace => trace.name === arguments[1]), full = box._fullData[at];
        const list = values => values && Array.from(values, v => Number.isNaN(v) ? null : v);
        const round = v => v === null ? null : Math.round(v * 1000) / 1000;
        return {x: list(full.x), y: list(full.y) && list(full.y).map(v => typeof v === "number" ? round(v) : v),
                z: full.z && Array.from(full.z, row => list(row).map(round)), points: box.calcdata[at].length,
                visible: full.visible};
        """,
        figure,
        name,
    )
    return found


def seconds(found: dict[str, Any]) -> list[float]:
    return [(x - 86_400_000) / 1000 for x in found["x"]]


def test_figures_hold_the_data_of_the_tables(browser: Any, report: Path) -> None:
    opened(browser, report / "videos" / "v0000.html")
    raw = browser.find_element("id", "raw")
    smooth = trace(browser, "timeline", "happy")
    raw.click()
    happy = trace(browser, "timeline", "happy")
    assert seconds(happy) == [0, 0.5, 0.999, 1, 1.999, 2, 2.499, 2.5]
    assert happy["y"] == [0.8, 0.8, 0.8, 0, 0, 0.4, 0.4, 0]
    assert raw.get_attribute("aria-pressed") == "true"
    # Smoothed over 3 s: the sample at 0.5 s takes those at 0, 0.5 and 2 s, that at 2 s those at 0.5 and 2 s.
    assert smooth["y"] == [0.8, 0.667, 0.667, 0, 0, 0.6, 0.6, 0]
    assert seconds(trace(browser, "timeline", "No face"))[:4] == [1, 1, 2, 2]
    assert trace(browser, "timeline", "Picture damaged")["points"] > 1
    assert trace(browser, "timeline", "faces")["y"] == [1, 1, 1, 0, 0, 0, 2, 2, None]
    assert seconds(trace(browser, "timeline", "on screen")) == [0, 1, 1, 2, 2.5, 2.5, 2, 2.5, 2.5]
    assert trace(browser, "heat", "mean probability")["z"][3][0] == 0.8
    assert trace(browser, "affect", "valence")["points"] > 2
    assert trace(browser, "quality", "sharpness")["y"][0] == 100
    assert trace(browser, "people", "sad")["points"] == 3
    ticks = [tick.text for tick in browser.find_elements("css selector", ".xtick text")]
    assert ticks
    assert ticks[0].startswith("0:00")


def test_figures_keep_their_height_when_the_window_changes(browser: Any, report: Path) -> None:
    shown = """return Array.from(document.querySelectorAll('[data-figure]'), box => [
        box._fullLayout.width, box._fullLayout.height,
        box.getBoundingClientRect().bottom - box.querySelector('.main-svg').getBoundingClientRect().bottom])"""
    axis = """const box = document.querySelector('[data-figure]');
        return box.getBoundingClientRect().bottom - box.querySelector('.xtitle').getBoundingClientRect().bottom"""
    for before, after in ((PHONE, LAPTOP), (LAPTOP, PHONE)):
        opened(browser, report / "videos" / "v0000.html", before)
        first = browser.execute_script(shown)
        metrics = {"width": after[0], "height": after[1], "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        eventually(
            browser,
            lambda first=first: all(  # type: ignore[misc]
                new[0] != old[0] for new, old in zip(browser.execute_script(shown), first, strict=True)
            ),
        )
        assert [height for _, height, _ in browser.execute_script(shown)] == [height for _, height, _ in first]
        assert all(below >= -1 for _, _, below in browser.execute_script(shown))
        assert browser.execute_script(axis) >= 0


def test_paper_changes_no_figure_for_good_and_repeats_every_column_head(browser: Any, report: Path) -> None:
    sizes = """return Array.from(document.querySelectorAll('[data-figure]'),
        box => [box._fullLayout.width, box._fullLayout.height])"""
    opened(browser, report / "videos" / "v0000.html")
    before = browser.execute_script(sizes)
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    eventually(browser, lambda: all(width == 680 for width, _ in browser.execute_script(sizes)))
    assert browser.execute_script(sizes)[0][1] == pytest.approx(0.8 * before[0][1])
    browser.execute_script("window.dispatchEvent(new Event('afterprint'))")
    eventually(browser, lambda: browser.execute_script(sizes) == before)
    opened(browser, report / "index.html")
    # Chromium leaves buttons out of the heads that it repeats on each sheet.
    assert (
        browser.execute_script(
            "return Array.from(document.querySelectorAll('.ledger th[data-key]'), h => h.dataset.title === h.innerText)"
        )
        == [True] * 7
    )


def test_one_track_is_chosen(browser: Any, report: Path) -> None:
    from selenium.webdriver.support.ui import Select

    opened(browser, report / "videos" / "v0000.html")
    Select(browser.find_element("id", "person")).select_by_value("2")
    eventually(browser, lambda: trace(browser, "timeline", "sad")["y"] == [0, 0.6, 0.6, 0])
    assert seconds(trace(browser, "timeline", "This track not seen"))[:3] == [0, 0, 1]
    assert trace(browser, "affect", "valence")["y"][:2] == [-0.6, -0.6]
    assert trace(browser, "heat", "mean probability")["z"][4][-5] is None
    assert "track 2" in browser.find_element("id", "shown").text
    Select(browser.find_element("id", "person")).select_by_value("all")
    assert trace(browser, "timeline", "sad")["y"][-2] > 0
    assert trace(browser, "timeline", "This track not seen")["points"] <= 1


def test_a_peak_leads_to_its_place_in_all_figures(browser: Any, report: Path) -> None:
    opened(browser, report / "videos" / "v0002.html")
    ranges = """return Array.from(document.querySelectorAll('[data-figure]'))
        .filter(box => box.layout.xaxis.type === 'date').map(box => box.layout.xaxis.range.join())"""
    before = browser.execute_script(ranges)
    jump = browser.find_element("css selector", ".jump")
    at = int(jump.get_attribute("data-at"))
    assert 60_000 <= at < 64_000
    jump.send_keys("\n")
    eventually(
        browser, lambda: len(set(browser.execute_script(ranges))) == 1 and browser.execute_script(ranges) != before
    )
    start = browser.execute_script(ranges)[0].split(",")[0]
    assert start.startswith("1970-01-02 00:00:")
    assert browser.execute_script("return document.activeElement.id") == "timeline"
    browser.find_element("id", "whole").click()
    eventually(browser, lambda: browser.execute_script(ranges) == before)


def test_the_pointer_reads_the_values_or_the_reason(browser: Any, report: Path) -> None:
    opened(browser, report / "videos" / "v0000.html")
    browser.find_element("id", "raw").click()
    point = """
        const box = document.querySelector('[data-figure]');
        const number = box._fullData.findIndex(trace => trace.meta === 'readings');
        Plotly.Fx.hover(box, [{curveNumber: number, pointNumber: arguments[0]}]);
    """
    read = "return Array.from(document.querySelectorAll('.hoverlayer text')).map(text => text.textContent).join(' ')"
    for sample, expected in ((0, "happy 80\u00a0%"), (2, "No face"), (4, "mean of 2 faces"), (5, "Picture damaged")):
        browser.execute_script(point, sample)
        eventually(browser, lambda words=expected: words in browser.execute_script(read))  # type: ignore[misc]


def test_legend_hides_and_shows_by_keyboard(browser: Any, report: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(browser, report / "videos" / "v0000.html")
    button = browser.find_element("css selector", 'button[data-emotion="neutral"]')
    assert trace(browser, "timeline", "neutral")["visible"] is True
    button.send_keys(Keys.ENTER)
    assert trace(browser, "timeline", "neutral")["visible"] is False
    assert button.get_attribute("aria-pressed") == "false"
    button.send_keys(Keys.SPACE)
    assert trace(browser, "timeline", "neutral")["visible"] is True


def listed(browser: Any) -> list[str]:
    """The names in the list, as shown."""
    shown = "return Array.from(document.querySelectorAll('.ledger .name'), e => e.querySelector('bdi').textContent)"
    names: list[str] = browser.execute_script(shown)
    return names


def test_the_list_sorts_filters_searches_and_pages(browser: Any, synthetic: Callable[..., SyntheticRun]) -> None:
    from selenium.webdriver.support.ui import Select

    made = synthetic()
    for number in range(130):
        emotion = HAPPY if number % 2 else SAD
        made.video(f"/v/{'even' if number % 2 == 0 else 'odd'}/{number:03d}.mp4", [[(1, emotion)]] * (1 + number % 5))
    index = reports.build(made.failed("/v/zz.mp4", error=f"{HOSTILE} is no video").write(), pages="index")
    opened(browser, index)
    drawn = browser.execute_script("return document.querySelectorAll('.ledger tbody tr').length")
    assert (drawn, listed(browser)[:2]) == (100, ["zz.mp4", "000.mp4"])
    assert HOSTILE in browser.find_element("css selector", ".ledger .reason").text
    browser.find_element("id", "next").click()
    assert len(listed(browser)) == 31
    assert browser.find_element("id", "place").text == "101\u2013131 of 131"

    browser.find_element("css selector", 'th[data-key="name"] button').click()
    assert listed(browser)[:2] == ["000.mp4", "001.mp4"]
    assert browser.find_element("id", "direction").text.startswith("Sort descending")
    browser.find_element("css selector", 'th[data-key="name"] button').click()
    assert listed(browser)[:2] == ["zz.mp4", "129.mp4"]
    assert browser.find_element("css selector", 'th[data-key="name"]').get_attribute("aria-sort") == "descending"
    assert browser.find_element("id", "direction").text.startswith("Sort ascending")
    assert browser.find_element("id", "direction").get_attribute("aria-label").startswith("Sort ascending")
    Select(browser.find_element("id", "sort")).select_by_value("faces")
    faces = "return Array.from(document.querySelectorAll('td[data-label=\"Faces\"]'), cell => cell.textContent)"
    counts = browser.execute_script(faces)
    assert counts == sorted(counts, reverse=True)

    Select(browser.find_element("id", "by-emotion")).select_by_visible_text("sad")
    assert browser.find_element("id", "matches").text == "65 of 131 videos"
    assert all(name[:3].isdigit() and int(name[:3]) % 2 == 0 for name in listed(browser))
    browser.find_element("id", "search").send_keys("EVEN 12")
    assert sorted(listed(browser)) == ["012.mp4", "112.mp4", "120.mp4", "122.mp4", "124.mp4", "126.mp4", "128.mp4"]
    browser.find_element("id", "search").clear()
    browser.find_element("id", "search").send_keys("nothing like it")
    assert listed(browser) == []
    assert browser.find_element("css selector", ".ledger tbody").text == "No video matches."
    browser.refresh()
    Select(browser.find_element("id", "by-emotion")).select_by_visible_text("all")
    browser.find_element("id", "search").clear()
    browser.find_element("id", "search").send_keys(" ")
    Select(browser.find_element("id", "by-status")).select_by_visible_text("failed")
    assert listed(browser) == ["zz.mp4"]
    assert browser.get_log("browser") == []


def test_the_scripts_list_looks_like_the_one_without_scripts(
    browser: Any, synthetic: Callable[..., SyntheticRun]
) -> None:
    made = synthetic().video(
        f"/v/{HOSTILE}", [[(1, (0.0, 0.0, 0.0, 0.7947, 0.2053, 0.0, 0.0))]]
    )  # 79 %, but 795 per mille
    made.video(f"/v/{QUOTED}", [[(1, SAD)], "no_face", [(1, SAD)]]).video(f"/v/{WIDE}", ["no_face"])
    made.failed(f"/v/x/{HOSTILE}", "not_a_video", f"{WIDE} is no video")
    index = reports.build(made.write())
    page = index.read_text(encoding="utf-8")
    opened(browser, index)
    compare = """
        const still = new DOMParser().parseFromString(arguments[0], 'text/html');
        const cells = root => Array.from(root.querySelectorAll('.ledger tbody tr'), row => [row.className,
            Array.from(row.children, cell => [cell.className.trim(), cell.textContent.replace(/\\s+/g, ' ').trim()])]);
        const strips = root => Array.from(root.querySelectorAll('.ledger .strip'), strip => [strip.ariaLabel,
            Array.from(strip.children, layer => layer.className)]);
        return [cells(still), cells(document), strips(still), strips(document)];
    """
    still_cells, cells, still_strips, strips = browser.execute_script(compare, page)
    assert cells == still_cells
    assert strips == still_strips
    assert len(strips) == 3
    assert "happy 79 %" in [text for _, row in cells for _, text in row]


def test_single_files_work_alone(browser: Any, synthetic: Callable[..., SyntheticRun], tmp_path: Path) -> None:
    run = synthetic().video(f"/v/{HOSTILE}", [[(1, HAPPY)], "no_face"]).write()
    index = reports.build(run, single_file=True)
    alone = (tmp_path / "alone.html").resolve()
    (index.parent / "videos" / "v0000.html").rename(alone)
    opened(browser, alone)
    assert trace(browser, "timeline", "happy")["y"] == [0.8, 0.8, 0]
    assert browser.get_log("browser") == []
    opened(browser, index)
    assert listed(browser) == [HOSTILE.rpartition("/")[2]]
    assert browser.get_log("browser") == []


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
