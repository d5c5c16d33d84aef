"""Weights carried from a shallow network to a deeper one without changing what it computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Weights = dict[str, npt.NDArray[np.float32]]


def grow(trained: Mapping[str, npt.NDArray[np.float32]], fresh: Mapping[str, npt.NDArray[np.float32]]) -> Weights:
    """Weights for a deeper network that computes the same function as the shallow one.

    A block that the shallow network lacks begins as the identity: its last BatchNormalization has gain and offset
    zero, so the block adds nothing to its shortcut, and the ReLU behind it meets values that are not negative.

    Args:
        trained: the shallow network's weights by name.
        fresh: the deeper network's weights as initialised; gives the shapes.

    Returns:
        Weights for every name in ``fresh``.

    Raises:
        ValueError: the two do not belong to one family; the message names the weight.
    """
    missing = sorted(set(trained) - set(fresh))
    if missing:
        raise ValueError(f"the larger network lacks {missing[0]}: a network can only be grown in depth")
    grown: Weights = {}
    for name, value in fresh.items():
        if name in trained:
            before = trained[name]
            if before.shape != value.shape:
                raise ValueError(f"{name} is {before.shape} in the trained network, {value.shape} in the new one")
            grown[name] = np.array(before)
        elif name.endswith(("_3_bn/gamma", "_3_bn/beta")):
            grown[name] = np.zeros_like(value)
        else:
            grown[name] = np.array(value)
    return grown
