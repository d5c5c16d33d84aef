"""The network YuNet, run by ONNX Runtime: the same faces as OpenCV's `FaceDetectorYN`, in less than half of the time.

Wu, Peng and Yu (2023), YuNet: a tiny millisecond-level face detector. What is done with its outputs follows OpenCV's
``modules/objdetect/src/face_detect.cpp``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

# Read as it is imported: builds of ONNX Runtime tell their maker of their use unless this is set.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import cv2
import numpy as np
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NotImplemented,  # noqa: A004 - its own name
    RuntimeException,
)

from fer_batch.errors import RefusedError

STRIDES = (8, 16, 32)
"""Pixels of the picture from one cell to the next, in each of the network's three grids."""

OUTPUTS = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox", "kps")]

NMS_THRESHOLD = 0.3
"""Overlap above which the weaker of two detections is dropped (the detector's published default)."""

MOST = 5000
"""Candidates that are looked at (OpenCV's default)."""

BROKEN = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NotImplemented, RuntimeException)
"""What ONNX Runtime says of files that it cannot use; these errors have no root in common."""

_FIXED_SIZE = re.compile(rb"(\n\x02\x08\x01\n\x02\x08\x03)" + 2 * rb"\n\x03\x08[\x80-\xff][\x01-\x7f]")
"""The input's shape in the file, 1 x 3 x height x width, as protocol buffers write it: ``dim { dim_value: 640 }``."""

_ANY_SIZE = b"\\1\n\x03\x12\x01h\n\x03\x12\x01w"
"""The same with names for height and width, ``dim { dim_param: "h" }``, and just as long."""


class YuNet:
    """The network, on the thread that calls it.

    Args:
        weights: ONNX file, in the form published in 2023 (three grids, twelve outputs).
        min_score: least score of a face.

    Raises:
        RefusedError: the file cannot be read, or is something else.
    """

    def __init__(self, weights: Path, min_score: float) -> None:
        self._min_score = min_score
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # workers run side by side
        options.enable_cpu_mem_arena = False  # it keeps memory of every size of picture, and saves no time
        options.log_severity_level = 4  # it warns that outputs have other sizes than the file says
        try:
            model = _FIXED_SIZE.sub(_ANY_SIZE, weights.read_bytes(), count=1)  # published for 640 x 640 alone
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except OSError as error:
            raise RefusedError(f"cannot read the face detector's weights {weights}: {error.strerror}") from error
        except BROKEN as error:
            raise RefusedError(f"{weights} is not a YuNet model: {error}") from error
        names = {output.name for output in self._session.get_outputs()}
        if names != set(OUTPUTS):
            raise RefusedError(f"{weights} is not a YuNet model of 2023: its outputs are {', '.join(sorted(names))}")
        shapes = [given.shape for given in self._session.get_inputs()]
        if len(shapes) != 1 or any(isinstance(size, int) for size in shapes[0][2:]):
            raise RefusedError(f"{weights} is a YuNet model for pictures of one size only: {shapes}")
        self._input = self._session.get_inputs()[0].name

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Find faces.

        Args:
            image: uint8 (height, width, 3), BGR.

        Returns:
            float32 (n, 15), best first: x, y, width and height of the box; x and y of the five landmarks, all in
            pixels; score, 0..1.
        """
        height, width = image.shape[:2]
        down, right = -height % STRIDES[-1], -width % STRIDES[-1]
        padded = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        outputs = iter(self._session.run(OUTPUTS, {self._input: cv2.dnn.blobFromImage(padded)}))
        columns = padded.shape[1]
        grids = [self._grid(stride, columns // stride, *(next(outputs)[0] for _ in range(4))) for stride in STRIDES]
        faces: np.ndarray = np.concatenate(grids)
        if len(faces) < 2:
            return faces
        boxes = np.trunc(faces[:, :4]).astype(int).tolist()  # OpenCV compares boxes of whole pixels
        kept = cv2.dnn.NMSBoxes(boxes, faces[:, 14].tolist(), self._min_score, NMS_THRESHOLD, top_k=MOST)
        return np.asarray(faces[np.asarray(kept, int)])

    def _grid(
        self, stride: int, columns: int, cls: np.ndarray, obj: np.ndarray, bbox: np.ndarray, kps: np.ndarray
    ) -> np.ndarray:
        """What one grid found: cells in rows; offsets from a cell in units of the stride, sizes as logarithms."""
        scores = np.sqrt(cls[:, 0].clip(0, 1) * obj[:, 0].clip(0, 1))
        found = np.flatnonzero(scores >= self._min_score)
        cells = np.stack([found % columns, found // columns], axis=1).astype(np.float32)
        sizes = np.exp(bbox[found, 2:]) * stride
        corners = (cells + bbox[found, :2]) * stride - sizes / 2
        points = (np.tile(cells, 5) + kps[found]) * stride
        return np.concatenate([corners, sizes, points, scores[found, None]], axis=1, dtype=np.float32)
