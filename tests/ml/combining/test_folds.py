"""Maps of patients whom the network was not trained on."""

import pytest

from detection.ml.backbones import BACKBONES
from detection.ml.combining.folds import crossfit, folds_of
from detection.ml.combining.predictions import check_fold, joined, load_predictions
from detection.ml.data import PARTS, load_dataset, split, split_units
from detection.ml.preprocess import Preprocessing
from detection.ml.training import OFF, TrainingOptions
from tests.ml.training.tiny_backbone import TINY


@pytest.fixture
def options(monkeypatch):
    monkeypatch.setitem(BACKBONES, TINY.name, TINY)
    return TrainingOptions(
        init="random",
        architecture=TINY.name,
        epochs=1,
        head_epochs=0,
        batch_size=8,
        augmentation=OFF,
        preprocessing=Preprocessing(height=64, width=96),
    )


def run(bodies, folder, options, said):
    return crossfit(
        data=bodies,
        folds=2,
        out=folder / "maps",
        work=folder / "work",
        options=options,
        training_report=said.append,
        report=lambda line: None,
    )


def test_each_fold_is_read_by_a_network_that_was_trained_without_it(bodies, tmp_path, options):
    dataset = load_dataset(bodies)
    parts = split(dataset.samples, parts=PARTS)
    said = []

    first, second = run(bodies, tmp_path, options, said)

    read = [load_predictions(file) for file in (first, second)]
    known = {sample.image for name in ("train", "validation") for sample in parts[name]}
    assert set(read[0].images) | set(read[1].images) == known
    assert not set(read[0].images) & set(read[1].images)
    for predictions in read:
        check_fold(predictions, dataset=dataset, parts=parts)
        assert predictions.maps.shape[1:] == (8, 12)
        assert predictions.about["calibration"]["slope"] > 0
    assert read[0].about["digest"] != read[1].about["digest"]
    images, cells = joined([read, read])
    assert (len(images), cells.shape[:2]) == (len(known), (2, len(known)))

    # A second run finds its trainings, and comes to the same maps.
    steps = len(said)
    again = run(bodies, tmp_path, options, said)
    assert len(said) == steps
    assert load_predictions(again[0]).maps.tobytes() == read[0].maps.tobytes()


@pytest.mark.parametrize("folds", [2, 3])
def test_no_patient_stands_in_two_folds_nor_in_the_test_part(bodies, folds):
    dataset = load_dataset(bodies)
    units = split_units(dataset.samples)
    tested = {units[s.group] for s in split(dataset.samples, parts=PARTS)["test"]}

    held = folds_of(dataset, folds=folds)

    of_fold = [{units[sample.group] for sample in part} for part in held.values()]
    assert all(of_fold)
    assert len(set.union(*of_fold)) == sum(map(len, of_fold))
    assert not set.union(*of_fold) & tested
