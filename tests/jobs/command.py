"""The command line in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jobs import cli


def fer_batch(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Its exit code."""
    monkeypatch.setattr(sys, "argv", ["fer-batch", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)
