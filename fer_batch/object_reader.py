"""An object of a store as a file to read and seek in, block by block."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

BLOCKS_KEPT: Final = 16
"""Blocks that are kept of an object that is open: an index at its end, and the places that streams are read from."""


class ObjectReader(io.RawIOBase):
    """An object as a file to read and seek in.

    Args:
        name: for those who ask a file for it.
        size: of the object.
        block_bytes: what one request fetches.
        read: gives the bytes from one place up to another.
    """

    def __init__(self, name: str, size: int, block_bytes: int, read: Callable[[int, int], bytes]) -> None:
        self.name = name
        self._position, self._size, self._block_bytes = 0, size, block_bytes
        self._block = lru_cache(BLOCKS_KEPT)(
            lambda number: read(number * block_bytes, min(size, (number + 1) * block_bytes))
        )

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def tell(self) -> int:
        """The place."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read what one block holds of what is asked for, at most."""
        if self._position >= self._size:
            return 0
        number, offset = divmod(self._position, self._block_bytes)
        found = self._block(number)[offset : offset + len(buffer)]
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)
