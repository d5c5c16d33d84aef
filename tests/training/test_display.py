"""What a training run tells people: a line an epoch, with the time that is left."""

from __future__ import annotations

import dataclasses
import io

from rich.console import Console

from training.fit.display import TrainingDisplay
from training.fit.history import EpochRecord
from training.fit.presets import SHALLOW
from training.fit.recipe import Recipe, Stage

RECIPE = Recipe(stages=(Stage(SHALLOW, 40, epochs=2, peak=1, final=1), Stage(SHALLOW, 80, epochs=3, peak=1, final=1)))

FIRST = EpochRecord(
    stage=0, epoch=0, depths="1 1 1 1", input_size=40, images_seen=640, rate=1.0, loss=2.0, label_loss=1.5,
    accuracy=0.4, valid_accuracy=0.5, valid_loss=1.25, seconds=60.0,
)  # fmt: skip


def shown(terminal: bool) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=200, color_system=None)
    with TrainingDisplay(RECIPE, [], console) as display:
        display.step(1, 10)
        display.step(10, 10)
        display.epoch(FIRST)
        display.step(1, 10)
        display.epoch(dataclasses.replace(FIRST, stage=1, epoch=2, input_size=80, seconds=240.0))
    return text.getvalue()


def test_lines_where_there_is_no_terminal() -> None:
    lines = shown(terminal=False).splitlines()
    # One more epoch like it, then three of four times the pixels: 13 minutes.
    losses = "training loss 1.500 accuracy 40.0 %, validation loss 1.250 accuracy 50.0 %"
    assert lines == [
        f"stage 1/2 (1,1,1,1 at 40 px) epoch 1/2: {losses}, 60 s, about 0 h 13 min left",
        f"stage 2/2 (1,1,1,1 at 80 px) epoch 3/3: {losses}, 240 s",
    ]


def test_a_bar_at_a_terminal() -> None:
    text = shown(terminal=True)
    assert "epoch 1/5" in text
    assert "epoch 2/5" in text
    assert "about 0 h 13 min left" in text
