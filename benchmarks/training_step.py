"""Measures what a training step costs with and without TensorFlow's oneDNN kernels.

    python -m benchmarks.training_step

It prints the processor time of a step of eight parts of 160 x 192 px, for each architecture, on one
thread: the median of five, in processes of their own that take turns.
"""

import os
import statistics
import subprocess
import sys
import time

import keras
import numpy as np

from detection.ml.backbones import BACKBONES
from detection.ml.training import RANDOM, TrainingOptions, network_of

_HEIGHT, _WIDTH, _BATCH, _STEPS = 160, 192, 8, 5
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


def main() -> None:
    if len(sys.argv) > 1:
        print(_seconds(sys.argv[1]))
        return
    for name in BACKBONES:
        off, on = (_measured(name, one) for one in "01")
        print(f"{name}: {off:.2f} s without oneDNN, {on:.2f} s with it ({on / off:.2f} of it)")


def _measured(name: str, one_dnn: str) -> float:
    environment = os.environ | _ONE_THREAD
    environment |= {"TF_ENABLE_ONEDNN_OPTS": one_dnn, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "benchmarks.training_step", name]
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(told.stdout.splitlines()[-1])


def _seconds(name: str) -> float:
    options = TrainingOptions(init=RANDOM, architecture=name)
    network = network_of(options, height=_HEIGHT, width=_WIDTH)
    network.compile(optimizer="sgd", loss="mse")
    images = np.random.default_rng(1).random((_BATCH, _HEIGHT, _WIDTH, 3), np.float32)
    maps = keras.ops.zeros_like(network(images))
    # The first step traces the network.
    network.train_on_batch(images, maps)
    taken = []
    for _ in range(_STEPS):
        began = time.process_time()
        network.train_on_batch(images, maps)
        taken.append(time.process_time() - began)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
