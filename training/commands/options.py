"""What the training commands share."""

from __future__ import annotations

from typing import Final

TRAINING: Final = "Training"
"""The split that ``train`` learns from."""

VALIDATION: Final = "PublicTest"
"""The split that ``train`` reports on and fits the temperature on."""
