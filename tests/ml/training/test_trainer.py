import numpy as np
import pytest

import detection.ml.training.trainer as train_module
from detection.imaging.phantoms import write_phantoms
from detection.ml.data import load_dataset
from detection.ml.training import TrainingOptions, train
from detection.ml.training.pretrained import load_arrays
from detection.ml.training.trainer import fit

pytestmark = pytest.mark.slow


class Interrupted(Exception):
    pass


def test_an_interrupted_training_goes_on_after_its_last_epoch(tmp_path, tiny):
    write_phantoms(tmp_path / "data", images=8, seed=1)
    samples = list(load_dataset(tmp_path / "data").samples)
    options = TrainingOptions(
        init="random",
        architecture=tiny.name,
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


def test_the_head_alone_is_trained_in_one_stage(tmp_path, tiny):
    write_phantoms(tmp_path / "data", images=8, seed=1)
    reports = []

    fit(
        samples=list(load_dataset(tmp_path / "data").samples),
        options=TrainingOptions(
            init="random", architecture=tiny.name, epochs=1, batch_size=4, unfreeze="head",
            crop=(64, 64), seed=1,
        ),
        fingerprint="x",
        work=tmp_path / "work",
        report=reports.append,
    )  # fmt: skip

    assert {progress["epochs"] for progress in reports} == {1}
    weights = load_arrays(tmp_path / "work" / "trained.npz")
    # The deepest stage is part of it; what lies below keeps its values, which begin with ones.
    assert (weights["middle_bn/gamma"] == 1).all()
    assert (weights["coarse_bn/gamma"] != 1).any()


def test_a_refit_trains_with_the_validation_part_and_is_calibrated_without_it(
    tmp_path, monkeypatch, tiny
):
    write_phantoms(tmp_path / "data", images=24, seed=1)
    trained_on, exported, reports = [], {}, []
    plain_fit = train_module.fit

    def recorded_fit(*, samples, **others):
        trained_on.append({sample.image for sample in samples})
        return plain_fit(samples=samples, **others)

    monkeypatch.setattr(train_module, "fit", recorded_fit)
    monkeypatch.setattr(
        train_module, "export_bundle", lambda **given: exported.update(given) or tmp_path
    )

    train(
        data=tmp_path / "data",
        out=tmp_path / "out",
        work=tmp_path / "work",
        options=TrainingOptions(
            init="random",
            architecture=tiny.name,
            epochs=1,
            head_epochs=0,
            batch_size=4,
            refit=True,
            crop=(64, 64),
        ),
        report=reports.append,
    )

    parts = exported["parts"]
    validation = {sample.image for sample in parts["validation"]}
    test = {sample.image for sample in parts["test"]}
    assert validation
    assert trained_on[1] == trained_on[0] | validation
    assert not trained_on[0] & (validation | test)
    assert not trained_on[1] & test
    assert exported["weights"] == tmp_path / "work" / "refit" / "trained.npz"
    assert exported["held_out_weights"] == tmp_path / "work" / "trained.npz"
    fractions = [progress["fraction"] for progress in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(0.9)
