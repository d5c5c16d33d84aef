"""Keeps off the screen what C++ libraries write to file descriptor 2 while they start; no setting of theirs does."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def messages_aside() -> Iterator[list[str]]:
    """Turns file descriptor 2 aside; what was written is shown after all where the block fails.

    Gives:
        A list that, after the block, holds what was written, as one text.
    """
    said: list[str] = []
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield said
        except BaseException:
            aside.seek(0)
            os.write(screen, aside.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)
        aside.seek(0)
        said.append(aside.read().decode(errors="replace"))
