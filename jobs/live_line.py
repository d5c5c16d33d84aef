"""One line on how far a command is, on standard error."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskProgressColumn, TextColumn

NARROW, NARROW_BAR, WIDE_BAR = 110, 10, 30
"""Columns of a terminal in which a wide bar would leave no room for words, and those of either bar."""

PLAIN_EVERY_S = 10.0
"""How often a plain line is written."""


class LiveLine:
    """One line that lives at a terminal, plain lines from time to time elsewhere, nothing for programs.

    A context manager.

    Args:
        console: where to show it (standard error, so that standard output stays for results).
        quiet: show nothing.
        more: columns that follow the share that is done; the last one, with a `ratio`, takes what room is left.
    """

    def __init__(self, console: Console, quiet: bool, *more: ProgressColumn) -> None:
        self._console, self._quiet = console, quiet
        self._live = console.is_terminal and not quiet
        self._said_s = 0.0
        bar = BarColumn(bar_width=NARROW_BAR if console.width < NARROW else WIDE_BAR)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), bar, TaskProgressColumn())
        self._bar = Progress(*columns, *more, console=console, transient=True, expand=True, disable=not self._live)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _plainly(self, text: str, at_once: bool = False) -> None:
        """A plain line, if it is time for one."""
        if self._quiet or (time.monotonic() - self._said_s < PLAIN_EVERY_S and not at_once):
            return
        self._said_s = time.monotonic()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
