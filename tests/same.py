"""Two runs over the same videos compared."""

from __future__ import annotations

import numpy as np

from fer_batch import Run
from fer_batch.schema import FACES, FRAMES, PROBABILITIES, VIDEOS

_SCORES = (*PROBABILITIES, "confidence", "valence", "expressiveness")

_HOW = ("wall_s", "n_decoded", "part")
"""Columns of the ledger that tell how a video was processed, not what is in it."""


def assert_same_tables(one: Run, other: Run) -> None:
    """Same frames, boxes and tracks; scores to 1e-5."""
    exact = [name for name in FRAMES.names if name not in PROBABILITIES]
    ours, theirs = one.frames(), other.frames()
    assert ours.select(exact).equals(theirs.select(exact))
    for name in PROBABILITIES:
        np.testing.assert_allclose(ours[name].to_numpy(), theirs[name].to_numpy(), atol=1e-5)
    ours, theirs = one.faces(), other.faces()
    exact = [name for name in FACES.names if name not in (*_SCORES, "emotion")]
    assert ours.select(exact).equals(theirs.select(exact))
    for name in _SCORES:
        np.testing.assert_allclose(ours[name].to_numpy(), theirs[name].to_numpy(), atol=1e-5)


def assert_same_ledger(one: Run, other: Run) -> None:
    """The same files with the same outcome."""
    exact = [name for name in VIDEOS.names if name not in _HOW]
    assert one.videos().select(exact).equals(other.videos().select(exact))
