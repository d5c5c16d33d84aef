"""MixUp (Zhang et al. 2018): every picture of a batch blended with another, and what is to be learnt of it likewise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Shares = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Mixed:
    """A batch to learn from: pictures (B, S, S, 1) uint8, target shares (B, 7) and votes (B, 10) float32."""

    images: npt.NDArray[np.uint8]
    targets: Shares
    votes: Shares


def mix(images: npt.NDArray[np.uint8], targets: Shares, votes: Shares, alpha: float, rng: np.random.Generator) -> Mixed:
    """Blends each picture with a partner from its batch.

    Args:
        images: (B, S, S, 1) uint8.
        targets: (B, 7) shares that sum to 1, or to the picture's weight.
        votes: (B, 10) shares.
        alpha: both parameters of the Beta distribution that a batch's share is drawn from; 0 changes nothing.
        rng: the only source of chance.
    """
    if alpha <= 0:
        return Mixed(images, targets, votes)
    count = len(images)
    # The larger share stays with the picture itself, so a partner never takes its place.
    share = rng.beta(alpha, alpha, count).astype(np.float32)
    share = np.maximum(share, 1 - share)
    partner = rng.permutation(count)

    def blend(values: npt.NDArray[Any]) -> Shares:
        weight = share.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray(values * weight + values[partner] * (1 - weight), np.float32)

    return Mixed(np.rint(blend(images)).astype(np.uint8), blend(targets), blend(votes))
