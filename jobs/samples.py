"""Sample clips with real faces, made offline: ``python -m jobs.samples FOLDER``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""A picture: (height, width, 3), RGB."""

PortraitName = Literal["astronaut", "hopper"]


@dataclass(frozen=True)
class Portrait:
    """A public-domain portrait and where its face is."""

    image: Image
    face: tuple[float, float, float, float]
    """Left, top, width and height of the face."""


@cache
def portrait(name: PortraitName) -> Portrait:
    """A portrait that ships with scikit-image or Matplotlib: both NASA's and the US Navy's are public domain."""
    if name == "astronaut":  # Eileen Collins
        from skimage import data

        return Portrait(np.asarray(data.astronaut()), (178, 63, 90, 113))  # type: ignore[no-untyped-call]
    from matplotlib import image
    from matplotlib.cbook import get_sample_data

    path = str(get_sample_data("grace_hopper.jpg", asfileobj=False))
    return Portrait(np.asarray(image.imread(path))[..., :3], (183, 120, 170, 212))
