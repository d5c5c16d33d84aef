"""The crop template comes from the detector, and is symmetric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_batch.bundle import ModelBundle
from training.template import landmark_template


def test_pictures_without_faces_make_no_template() -> None:
    with pytest.raises(ValueError, match="found 0 faces in 3 pictures"):
        landmark_template(np.full((3, 48, 48), 128, np.uint8))


def test_the_template_of_real_pictures(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip
    from itertools import islice

    monkeypatch.setattr("training.template.FACES_NEEDED", 20)
    with gzip.open(shared / "fer2013" / "fer2013.csv.gz", "rt") as file:
        lines = list(islice(file, 1, 61))
    images = np.array([line.split(",")[1].split() for line in lines], dtype=np.uint8).reshape(-1, 48, 48)
    template = landmark_template(images)
    right_eye, left_eye, nose, right_mouth, left_mouth = template
    assert right_eye[0] + left_eye[0] == pytest.approx(1)
    assert right_mouth[0] + left_mouth[0] == pytest.approx(1)
    assert nose[0] == pytest.approx(0.5)
    assert right_eye[0] < right_mouth[0] < nose[0]
    assert right_eye[1] < nose[1] < right_mouth[1]
    np.testing.assert_allclose(template, ModelBundle.load().template, atol=0.04)
