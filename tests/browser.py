"""Pages in a real browser, opened as files, with every message of its console and every request read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

PHONE, TABLET, LAPTOP = (390, 844), (820, 1180), (1280, 900)
"""Widths and heights of screens, in pixels."""


def opened(browser: Any, page: Path, size: tuple[int, int] = LAPTOP, scheme: str = "light") -> Any:
    """The browser with the page open and every figure drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    emulate = browser.execute_cdp_cmd
    emulate("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    emulate("Emulation.setDeviceMetricsOverride", metrics)
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.as_uri())
    for figure in browser.find_elements("css selector", "[data-figure]"):
        browser.execute_script("arguments[0].scrollIntoView()", figure)
        WebDriverWait(figure, 30).until(lambda box: box.get_attribute("data-state") == "drawn")
    return browser


def eventually(browser: Any, holds: Callable[[], bool]) -> None:
    """Wait for what the page does a moment later."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 10).until(lambda _: holds())


def check_page(browser: Any, size: tuple[int, int]) -> None:
    """An opened page says nothing on the console, is not wider than the screen, and asks for nothing elsewhere."""
    name = browser.current_url
    assert browser.get_log("browser") == [], name
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= size[0], f"{name} is {width} px wide"
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked), asked
