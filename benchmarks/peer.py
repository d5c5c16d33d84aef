"""``python benchmarks/peer.py CLIP EVERY RESULT``: the package `fer` on a clip, every so many frames; writes JSON.

A script of its own, for an environment of its own: ``python -m venv E; E/bin/pip install fer==25.10.3
"opencv-python-headless<5"``. As it comes, `fer` 25.10.3 does not import there, since setuptools no longer has
``pkg_resources``: the one function that it uses of it is put in its place, as are two calls for windows that a
headless OpenCV does not have. All else is as published, with its defaults: Haar cascades, its small network on
TensorFlow Lite; nothing is drawn and no picture or video is written.
"""

import importlib.resources
import json
import os
import sys
import time
import types
from pathlib import Path

started = time.perf_counter()
stand_in = types.ModuleType("pkg_resources")
stand_in.resource_filename = lambda package, name: str(importlib.resources.files(package) / name)  # type: ignore[attr-defined]
sys.modules.setdefault("pkg_resources", stand_in)

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from fer.classes import Video  # type: ignore[import-not-found] # noqa: E402
from fer.fer import FER  # type: ignore[import-not-found] # noqa: E402

cv2.waitKey, cv2.destroyAllWindows = lambda _ms: -1, lambda: None  # a headless build has no windows
detector = FER()
detector.detect_emotions(np.zeros((240, 320, 3), np.uint8))
ready = time.perf_counter()
clip, result = Path(sys.argv[1]).absolute(), Path(sys.argv[3]).absolute()
os.chdir(result.parent)  # it leaves a data.csv where it is
rows = Video(str(clip)).analyze(
    detector, frequency=int(sys.argv[2]), save_frames=False, save_video=False, annotate_frames=False, zip_images=False
)
done = time.perf_counter()
told = {"start_s": ready - started, "steady_s": done - ready, "frames_with_faces": len(rows)}
result.write_text(json.dumps(told))
