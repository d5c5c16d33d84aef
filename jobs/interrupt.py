"""Ctrl-C and SIGTERM: once stops in order, twice at once. Either way the same command goes on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import psutil
from rich.console import Console

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C or SIGTERM, the shell's own."""

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def resumable(console: Console) -> Iterator[None]:
    """Inside, the first signal raises KeyboardInterrupt and the second ends the process and all that it started.

    Args:
        console: where to say so.
    """
    pressed = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            for child in psutil.Process().children(recursive=True):
                try:
                    child.kill()
                except psutil.NoSuchProcess:
                    continue
            os._exit(INTERRUPTED)
        console.print("stopping in order; Ctrl-C once more stops at once", soft_wrap=True)
        raise KeyboardInterrupt

    before = [signal.signal(number, stop) for number in SIGNALS]
    try:
        yield
    except KeyboardInterrupt:
        console.print("interrupted: what is committed stays, the same command goes on from there", soft_wrap=True)
        sys.exit(INTERRUPTED)
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
