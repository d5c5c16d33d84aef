"""Fixtures that all tests share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.clips import Clips

ROOT = Path(__file__).parents[1]

REQUIRE_ALL = os.environ.get("FER_BATCH_REQUIRE_ALL") == "1"
"""Whether a program that is not installed fails the tests that need it, rather than skipping them."""


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


def require_program(*names: str) -> str:
    """Finds a program of the system; without it the test is skipped, or fails where nothing may be missing.

    Args:
        names: what it may be called.
    """
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    reason = f"needs the program {' or '.join(names)}"
    if REQUIRE_ALL:
        pytest.fail(f"{reason}, and FER_BATCH_REQUIRE_ALL=1 allows no skipping")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def ffprobe() -> str:
    """Path of FFmpeg's ffprobe."""
    return require_program("ffprobe")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium browser."""
    return require_program("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromedriver() -> str:
    """Path of the driver that steers Chromium."""
    return require_program("chromedriver")
