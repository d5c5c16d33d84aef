"""A bundle's network in int8, on LiteRT: what a CPU runs. TensorFlow is not imported.

LiteRT (the runtime of TensorFlow Lite, with XNNPACK's kernels) starts in a tenth of a second and scores several times
as many faces a second as TensorFlow in float32; training/EXPERIMENTS.md has the figures, and OpenVINO's beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fer_batch.bundle import ModelBundle
from fer_batch.errors import BundleError
from fer_batch.messages import messages_aside
from fer_batch.resources import usable_cpus
from fer_batch.schema import EMOTIONS

IDENTIFIER: Final = b"TFL3"
"""Bytes 4 to 7 of every TFLite model."""


class Int8Model:
    """The quantised network, ready for a few batch sizes: pixels in, logits out.

    A face's logits are the same, bit for bit, in whatever batch it comes: what is int8 is computed exactly.

    Args:
        bundle: the model; it must have an int8 part.
        threads: of each interpreter; None for all cores that this process may use.
        batch_sizes: the sizes that are made ready. Each takes memory of its own, about one and a half times the file.

    Raises:
        BundleError: the bundle has no int8 model, it changed since the bundle was loaded, or is not what it should be.
    """

    def __init__(self, bundle: ModelBundle, *, threads: int | None, batch_sizes: Sequence[int]) -> None:
        self._shape = (bundle.input_size, bundle.input_size, bundle.channels)
        self._content = bundle.int8_content()  # LiteRT reads it in place as long as it runs
        self._name = f"model bundle {bundle.path}: its int8 model"
        if self._content[4:8] != IDENTIFIER:
            raise BundleError(f"{self._name} is not a TFLite file; write it again (fer-batch export-model --add-int8)")
        try:
            with messages_aside():
                self._by_size = {size: self._interpreter(size, threads or usable_cpus()) for size in batch_sizes}
        except (ValueError, RuntimeError) as error:
            raise BundleError(
                f"{self._name} cannot be used ({error}); write it again (fer-batch export-model --add-int8)"
            ) from error

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Logits (N, 7) float32 of pixels (N, S, S, C) uint8, N one of the batch sizes; temperature not applied."""
        interpreter, given, told = self._by_size[len(pixels)]
        interpreter.set_tensor(given, pixels.astype(np.float32))
        interpreter.invoke()
        logits: npt.NDArray[np.float32] = interpreter.get_tensor(told)
        return logits

    def _interpreter(self, size: int, threads: int) -> tuple[Any, int, int]:
        """An interpreter for batches of one size, and its tensors' places.

        Raises:
            ValueError: it takes or gives something else than it should.
        """
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=self._content, num_threads=threads)
        given, told = interpreter.get_input_details(), interpreter.get_output_details()
        _check("takes", given, self._shape)
        _check("gives", told, (len(EMOTIONS),))
        interpreter.resize_tensor_input(given[0]["index"], (size, *self._shape))
        interpreter.allocate_tensors()
        return interpreter, given[0]["index"], told[0]["index"]


def check_int8(bundle: ModelBundle) -> None:
    """See that a bundle's int8 model can be used, before a model actor finds out in the middle of a run.

    Raises:
        BundleError: see :class:`Int8Model`.
    """
    Int8Model(bundle, threads=1, batch_sizes=(1,))


def _check(verb: str, tensors: list[dict[str, Any]], shape: tuple[int, ...]) -> None:
    wanted = f"float32 (batch, {', '.join(map(str, shape))})"
    if len(tensors) != 1:
        raise ValueError(f"it {verb} {len(tensors)} tensors instead of one, {wanted}")
    found, dtype = tuple(int(side) for side in tensors[0]["shape_signature"]), np.dtype(tensors[0]["dtype"])
    if found != (-1, *shape) or dtype != np.float32:
        raise ValueError(f"it {verb} {dtype} {found} instead of {wanted}")
