"""Ray: model actors, workers as Ray's tasks, the cluster they are placed on. All of Ray is here.

:mod:`~fer_batch.engine.start` starts an embedded Ray or joins a cluster, :mod:`~fer_batch.engine.cluster` knows a
cluster's nodes, :mod:`~fer_batch.engine.workers` has tasks done on them.
"""

from __future__ import annotations

import os

# Read by Ray when it is imported; the first keeps it from reporting its use.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # what matters is in our own log
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from fer_batch.engine.cluster import joined
from fer_batch.engine.start import is_up, ray_for
from fer_batch.engine.workers import RayWorkers

__all__ = ["RayWorkers", "is_up", "joined", "ray_for"]
