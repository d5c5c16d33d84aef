"""Fixtures of these tests."""

from __future__ import annotations

import pytest

from tests.hostile.catalogue import Files

pytest.register_assert_rewrite("tests.hostile.stages")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files that the cases describe, each made once."""
    return Files(tmp_path_factory.mktemp("hostile"))
