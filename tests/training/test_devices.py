"""Several devices train one network. Two of them are pretended on the CPU, which TensorFlow allows once a process."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import dataclasses, json
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import training.fit.train
training.fit.train.strategy = lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
import numpy as np
from fer_batch.errors import RefusedError
from tests.training.faces import pictures
from tests.training.test_train import RECIPE, SMALL

stage = dataclasses.replace(SMALL, epochs=6, peak=5e-3)
recipe = dataclasses.replace(RECIPE, stages=(stage,))
records = []
trainer = training.fit.train.Trainer(recipe, pictures(320), pictures(35, seed=1))
trainer.run(report=records.append)
live = trainer._live
apart = [
    max(float(np.abs(part.numpy() - parts[0].numpy()).max()) for part in parts)
    for parts in (live.strategy.experimental_local_results(w.value) for w in live._weights.values())
]
odd = dataclasses.replace(recipe, stages=(dataclasses.replace(stage, batch=15),))
try:
    training.fit.train.Trainer(odd, pictures(320), pictures(35, seed=1)).run()
    refused = ""
except RefusedError as error:
    refused = str(error)
print(json.dumps({
    "replicas": live.replicas, "accuracy": records[-1].valid_accuracy, "apart": max(apart), "refused": refused,
}))
"""


def test_two_devices_share_a_batch_and_stay_alike() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["replicas"] == 2
    assert found["accuracy"] > 0.8  # a seventh would be chance
    assert found["apart"] < 1e-6
    assert "15 pictures cannot be divided among 2 devices" in found["refused"]
