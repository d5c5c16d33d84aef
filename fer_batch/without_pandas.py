"""Arrow without pandas, in processes that are this project's alone.

Arrow imports pandas, where it is installed, at its first conversion of any value: 0.2 s and 40 MB a process, for
workers that never see a pandas object.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa


class _Hidden(MetaPathFinder):
    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Say of pandas that it is not installed; leave all else to other finders."""
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(f"{name} is hidden", name=name)
        return None


def arrow_without_pandas() -> None:
    """Let Arrow look for pandas now, once and in vain; does nothing where it is imported already.

    What asks for pandas later, such as :meth:`pyarrow.Table.to_pandas`, still gets it. But Arrow then takes pandas' own
    NA and NaT for unknown objects, so this is nothing for a process in which a user's code runs.
    """
    if "pandas" in sys.modules:
        return
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])  # its Python part looks
        pa.scalar(0)  # and its C++ part
    finally:
        sys.meta_path.remove(hidden)
