"""`python -m tests.queue.slow_worker FOLDER`: the worker, held in the middle of an inference.

It is the real worker with the real model; only, while the file FOLDER/hold is there, each
prediction waits before the network is run. FOLDER/runs gets a line for each: prediction, process.
"""

import os
import sys
import time
from pathlib import Path

import django
from django.core.management import call_command


def main() -> None:
    folder = Path(sys.argv[1])
    django.setup()
    from detection.services import predictions

    class HeldPredictor:
        def __init__(self, prediction, predictor):
            self.prediction = prediction
            self.predictor = predictor

        def assess(self, volume, *, progress=None):
            with (folder / "runs").open("a") as runs:
                runs.write(f"{self.prediction.pk} {os.getpid()}\n")
            while (folder / "hold").exists():
                time.sleep(0.05)
            return self.predictor.assess(volume, progress=progress)

    run = predictions.prediction_run

    def held_run(*, prediction):
        run(
            prediction=prediction,
            load_predictor=lambda version: HeldPredictor(
                prediction, predictions.load_predictor(version)
            ),
        )

    predictions.prediction_run = held_run
    call_command("worker", queue="default")


if __name__ == "__main__":
    main()
