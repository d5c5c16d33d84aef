"""Fixtures of the pages' tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reports.synthetic import SyntheticRun


@pytest.fixture
def synthetic(tmp_path: Path) -> Callable[..., SyntheticRun]:
    """Start a synthetic run in a folder of its own: ``synthetic(state="running")``."""
    return lambda **info: SyntheticRun(tmp_path / "run", **info)
