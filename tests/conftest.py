"""Fixtures that all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from fer_batch.bundle import ModelBundle
from fer_batch.config import Resources
from fer_batch.resources import place
from tests.clips import Clips
from tests.tiny import write_tiny_bundle

ROOT = Path(__file__).parents[1]

REQUIRE_ALL = os.environ.get("FER_BATCH_REQUIRE_ALL") == "1"
"""Whether a test that is skipped counts as failed, as when all that tests need has been installed."""

MAY_BE_ABSENT = ("../shared", "GPU")
"""What cannot be installed: a test whose reason to be skipped names one of these may be skipped all the same."""

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """The clips with known answers, see :mod:`tests.clips`."""
    return Clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """A folder of real clips and data beside the repository, which not everybody has."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared, which is not part of the repository")
    return folder


def find_program(*names: str) -> str:
    """Path of a program of the system by the first of its names; without it the test is skipped."""
    found = [path for name in names if (path := shutil.which(name))]
    if not found:
        pytest.skip(f"needs the program {' or '.join(names)}")
    return found[0]


@pytest.fixture(scope="session")
def ffprobe() -> str:
    """Path of FFmpeg's ffprobe."""
    return find_program("ffprobe")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium browser."""
    return find_program("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromedriver() -> str:
    """Path of the driver that steers Chromium."""
    return find_program("chromedriver")


@pytest.fixture(scope="session")
def browser(chromium: str, chromedriver: str) -> Generator[Any, None, None]:
    """A headless Chromium that keeps its messages; see :mod:`tests.browser`."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    session = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    session.set_page_load_timeout(60)
    yield session
    session.quit()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    """A model that is real in all but its judgement."""
    return write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def ray_session() -> Generator[None, None, None]:
    """One embedded Ray for all tests that need it, as a run starts it, with a pretended GPU."""
    from fer_batch.engine import ray_for

    with ray_for(None, place(Resources(cpus=2, gpus=1), 2, 1)):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tests that are skipped fail, where nothing may be missing."""
    return _without_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Modules that are skipped as a whole fail, where nothing may be missing."""
    return _without_skip((yield))


def _without_skip(report: Report) -> Report:
    is_skip = report.outcome == "skipped" and not hasattr(report, "wasxfail")
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if REQUIRE_ALL and is_skip and not any(name in reason for name in MAY_BE_ABSENT):
        report.outcome = "failed"
        report.longrepr = f"{reason}: with FER_BATCH_REQUIRE_ALL=1 this may not be skipped"
    return report
