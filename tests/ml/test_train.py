import numpy as np
import pytest

from detection.imaging.phantom_folder import write_phantoms
from detection.ml.dataset import load_dataset
from detection.ml.pretrained import load_arrays
from detection.ml.train import TrainingOptions, fit


class Interrupted(Exception):
    pass


def test_an_interrupted_training_goes_on_after_its_last_epoch(tmp_path):
    write_phantoms(tmp_path / "data", images=8, seed=1)
    samples = list(load_dataset(tmp_path / "data").samples)
    options = TrainingOptions(
        init="random",
        epochs=3,
        stop_after=2,
        head_epochs=0,
        batch_size=4,
        unfreeze="upper",
        crop=(64, 64),
    )
    reports = []

    def run(report):
        return fit(
            samples=samples,
            options=options,
            fingerprint="x",
            work=tmp_path / "work",
            report=report,
        )

    def interrupt(progress):
        if progress["epoch"] == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(interrupt)
    assert run(reports.append) == "random"

    assert {progress["epoch"] for progress in reports} == {2}
    weights = load_arrays(tmp_path / "work" / "trained.npz")
    assert all(np.isfinite(array).all() for array in weights.values())
    # Finished: a further start has nothing to do.
    reports.clear()
    run(reports.append)
    assert reports == []
