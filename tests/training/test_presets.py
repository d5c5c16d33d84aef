"""The presets are what they claim, and the command line changes them as asked."""

from __future__ import annotations

import dataclasses

import pytest

from fer_batch.errors import RefusedError
from training.fit.presets import COMPACT, PRESETS, SCRATCH, TRANSFER, adapted


def test_transfer_is_the_sources_recipe() -> None:
    assert TRANSFER.weights == "imagenet"
    assert [stage.unfrozen for stage in TRANSFER.stages] == [0, 50]
    assert {stage.input_size for stage in TRANSFER.stages} == {224}
    assert sum(stage.epochs for stage in TRANSFER.stages) == 30
    assert TRANSFER.architecture().depths == (3, 4, 6, 3)


def test_scratch_grows_into_a_resnet50_and_ends_on_the_labels() -> None:
    sizes = [stage.input_size for stage in SCRATCH.stages]
    assert sizes == sorted(sizes)
    assert SCRATCH.architecture(0).depths == (1, 1, 1, 1)
    assert SCRATCH.architecture().depths == (3, 4, 6, 3)
    assert SCRATCH.stages[-1].teacher_weight < SCRATCH.stages[0].teacher_weight


def test_compact_is_a_few_megabytes() -> None:
    from math import prod

    from fer_batch.architecture import weight_shapes

    weights = sum(prod(shape) for shape in weight_shapes(COMPACT.architecture()).values())
    assert 2 * weights < 10e6  # two bytes a weight


@pytest.mark.parametrize("preset", PRESETS)
def test_rates_go_on_from_stage_to_stage(preset: str) -> None:
    for before, after in zip(PRESETS[preset].stages, PRESETS[preset].stages[1:], strict=False):
        assert after.final <= after.peak <= 2 * before.peak
        assert before.final <= before.peak


def test_what_is_not_given_stays() -> None:
    assert adapted("scratch", stage={"batch": None}, whole={"seed": None}) == SCRATCH
    changed = adapted("scratch", epochs=8, stage={"batch": 16}, augmentation={"erase": 0.3}, whole={"seed": 7})
    assert sum(stage.epochs for stage in changed.stages) == 8
    assert {stage.batch for stage in changed.stages} == {16}
    assert (changed.augmentation.erase, changed.seed) == (0.3, 7)
    same = dataclasses.replace(changed, stages=SCRATCH.stages, augmentation=SCRATCH.augmentation, seed=SCRATCH.seed)
    assert same == SCRATCH


def test_nonsense_is_refused() -> None:
    with pytest.raises(RefusedError, match="there are scratch, compact, transfer"):
        adapted("huge")
    with pytest.raises(RefusedError, match="precision must be"):
        adapted("scratch", whole={"precision": "int8"})
