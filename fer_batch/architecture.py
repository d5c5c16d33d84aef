"""What a network of this package is made of: its options, and the name and shape of every weight they imply.

Nothing here imports TensorFlow, so that a model bundle can be checked without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, get_args

from fer_batch.schema import EMOTIONS

Family = Literal["resnet", "vgg"]

STAGES: Final = 4
"""Number of stages in every network: conv2 to conv5 of a ResNet, conv1 to conv4 of a VGG."""

MAX_DEPTH: Final = 200
"""Most blocks in a stage: what a description from elsewhere may make this program count out."""

LOGITS: Final = "logits"
"""Name of the output layer: a Dense of ``len(EMOTIONS)`` units without activation."""


@dataclass(frozen=True)
class Architecture:
    """What distinguishes one network from another. The defaults are ResNet50.

    Attributes:
        family: ``resnet`` has bottleneck blocks in the layout of ``keras.applications.ResNet50``; ``vgg`` has plain 3x3
            convolutions, a pooling after each stage: few weights and small pictures, at home on a CPU.
        depths: residual blocks (``resnet``) or convolutions (``vgg``) in each of the four stages; ResNet50 has
            (3, 4, 6, 3).
        width: channels of the first stage's convolutions; they double at each stage, and a residual block leaves with
            four times as many.
        stem: of a ResNet: ``imagenet`` is the 7x7 convolution of stride 2 with a pooling; ``small`` a 3x3 convolution
            of stride 1, for which a given picture costs sixteen times as much and small pictures are not starved.
        se: adds squeeze-and-excitation (Hu et al. 2018) at the end of each stage.
        head_units: width of the Dense layer between pooling and logits; 0 leaves it out.
        dropout: share of the head's inputs that is dropped in training, 0..1.
    """

    depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    stem: str = "imagenet"
    se: bool = False
    head_units: int = 256
    dropout: float = 0.3
    family: Family = "resnet"

    def __post_init__(self) -> None:
        if self.family not in get_args(Family):
            raise ValueError(f"family must be one of {', '.join(get_args(Family))}, not {self.family!r}")
        if len(self.depths) != STAGES or not all(isinstance(n, int) and 1 <= n <= MAX_DEPTH for n in self.depths):
            raise ValueError(f"depths must be four counts of at least one block, at most {MAX_DEPTH}: {self.depths!r}")
        if self.stem not in ("imagenet", "small"):
            raise ValueError(f"stem must be 'imagenet' or 'small', not {self.stem!r}")
        if self.width < 1 or self.head_units < 0 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"width must be positive, head_units not negative, dropout in [0, 1): "
                f"{self.width!r}, {self.head_units!r}, {self.dropout!r}"
            )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Architecture:
        """The architecture written as plain options, for example in a bundle's ``model.json``.

        Raises:
            ValueError: an option is unknown or out of range; the message names it.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(options) - known)
        if unknown:
            raise ValueError(f"unknown architecture option {unknown[0]!r}; known are {', '.join(sorted(known))}")
        values = dict(options)
        if "depths" in values:
            values["depths"] = tuple(values["depths"])
        return cls(**values)

    def options(self) -> dict[str, Any]:
        """The same as a mapping that JSON can hold."""
        return {**asdict(self), "depths": list(self.depths)}


def weight_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Name (``layer/weight``) and shape of every weight of a network, known without building it."""
    backbone = _vgg_shapes if architecture.family == "vgg" else _resnet_shapes
    shapes, channels = backbone(architecture)
    if architecture.head_units:
        shapes |= {"head_dense/kernel": (channels, architecture.head_units)}
        channels = architecture.head_units
        shapes |= _norm_shapes("head_bn", channels)
    return shapes | {f"{LOGITS}/kernel": (channels, len(EMOTIONS)), f"{LOGITS}/bias": (len(EMOTIONS),)}


Shapes = dict[str, tuple[int, ...]]


def _resnet_shapes(architecture: Architecture) -> tuple[Shapes, int]:
    """The backbone's weights and the channels that it ends with."""
    width = architecture.width
    kernel = 7 if architecture.stem == "imagenet" else 3
    shapes = _conv_shapes("conv1", kernel, 3, width)
    channels = width
    for stage, depth in enumerate(architecture.depths):
        inner = width << stage
        for block in range(depth):
            name = f"conv{stage + 2}_block{block + 1}"
            if block == 0:
                shapes |= _conv_shapes(f"{name}_0", 1, channels, 4 * inner)
            shapes |= _conv_shapes(f"{name}_1", 1, channels, inner)
            shapes |= _conv_shapes(f"{name}_2", 3, inner, inner)
            shapes |= _conv_shapes(f"{name}_3", 1, inner, 4 * inner)
            channels = 4 * inner
        if architecture.se:
            shapes |= _se_shapes(f"conv{stage + 2}_se", channels)
    return shapes, channels


def _vgg_shapes(architecture: Architecture) -> tuple[Shapes, int]:
    shapes: Shapes = {}
    channels = 3
    for stage, depth in enumerate(architecture.depths):
        width = architecture.width << stage
        for index in range(depth):
            shapes |= _conv_shapes(f"conv{stage + 1}_{index + 1}", 3, channels, width)
            channels = width
        if architecture.se:
            shapes |= _se_shapes(f"conv{stage + 1}_se", channels)
    return shapes, channels


def _se_shapes(name: str, channels: int) -> Shapes:
    reduced = max(1, channels // 16)
    return {
        f"{name}_reduce/kernel": (1, 1, channels, reduced), f"{name}_reduce/bias": (reduced,),
        f"{name}_expand/kernel": (1, 1, reduced, channels), f"{name}_expand/bias": (channels,),
    }  # fmt: skip


def _conv_shapes(name: str, kernel: int, before: int, after: int) -> Shapes:
    shapes = {f"{name}_conv/kernel": (kernel, kernel, before, after), f"{name}_conv/bias": (after,)}
    return {**shapes, **_norm_shapes(f"{name}_bn", after)}


def _norm_shapes(name: str, channels: int) -> Shapes:
    return {f"{name}/{weight}": (channels,) for weight in ("gamma", "beta", "moving_mean", "moving_variance")}
