import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import optuna
import pytest

import detection.ml.tuning.confirm as confirm_module
from detection.imaging.phantoms import write_phantoms
from detection.ml.__main__ import main
from detection.ml.data import PARTS, deal, load_dataset, split, split_units
from detection.ml.errors import DatasetError
from detection.ml.tuning import ConfirmOptions, Proxy, ProxyOptions, load_studies, run_confirmation
from detection.ml.tuning.proxy import calibrated_losses, check_folds
from detection.ml.tuning.space import TODAY

OPTIONS = ProxyOptions(
    init="random", architecture="tiny", folds=2, epochs=1, crop=(64, 64), images=24, batch_size=4
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proxy") / "data"
    write_phantoms(folder, images=60, seed=1)
    return folder


@pytest.fixture(scope="module")
def parts(data):
    return split(load_dataset(data).samples, parts=PARTS)


@pytest.mark.slow
def test_a_trial_says_the_same_again_and_judges_patients_it_has_not_seen(data, tiny, parts):
    proxy = Proxy(data, OPTIONS)

    first = proxy.losses(TODAY)

    assert (first == proxy.losses(TODAY)).all()
    assert first.shape == (len(proxy.units),)
    assert np.isfinite(first).all()
    assert (first > 0).all()
    units = split_units([sample for held in parts.values() for sample in held])
    held = [{units[sample.group] for sample in fold} for fold in proxy.folds]
    assert not held[0] & held[1]
    for name in ("validation", "test"):
        assert not (held[0] | held[1]) & {units[sample.group] for sample in parts[name]}
    judged = [{item.unit for item in items} for items in proxy.items]
    assert [one <= other for one, other in zip(judged, held, strict=True)] == [True, True]


@pytest.mark.slow
def test_a_pruned_trial_trains_no_further_fold(data, tiny):
    reported = []
    trial = SimpleNamespace(
        params=TODAY,
        report=lambda value, step: reported.append(step),
        should_prune=lambda: True,
    )

    with pytest.raises(optuna.TrialPruned):
        Proxy(data, OPTIONS)(trial)

    assert reported == [0]


def test_folds_deal_out_every_sample_once(parts):
    folds = deal(parts["train"], folds=3, salt="folds-1")

    assert sorted(sample.image for fold in folds for sample in fold) == sorted(
        sample.image for sample in parts["train"]
    )
    check_folds(folds, parts)


def test_folds_that_share_a_patient_are_refused(parts):
    first, second, third = deal(parts["train"], folds=3, salt="folds-1")
    twin = replace(first[0], image="twin.png")

    with pytest.raises(DatasetError, match="stands in both fold 1 and fold 3"):
        check_folds([first, second, [*third, twin]], parts)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_folds_that_touch_a_judging_part_are_refused(parts, part):
    first, *others = deal(parts["train"], folds=3, salt="folds-1")

    with pytest.raises(DatasetError, match=f"stands in both fold 1 and {part}"):
        check_folds([[*first, parts[part][0]], *others], parts)


def test_the_losses_are_those_of_calibrated_logits():
    generator = np.random.default_rng(1)
    labels = np.arange(400) % 2 == 0
    units = np.array([f"p{number // 4}" for number in range(400)])
    logits = np.where(labels, 1.0, -1.0) + generator.normal(0, 1, 400)

    losses = calibrated_losses(logits, labels, units)

    # Neither scale nor offset of the logits counts, only what they tell apart.
    assert calibrated_losses(5 * logits - 20, labels, units) == pytest.approx(losses, abs=0.02)
    assert losses.mean() < 0.5
    assert calibrated_losses(generator.normal(size=400), labels, units).mean() > 0.65


@pytest.mark.slow
def test_the_verb_searches_writes_its_page_and_trains_really(data, tiny, tmp_path, monkeypatch):
    storage, page = tmp_path / "s.sqlite3", tmp_path / "page.md"
    arguments = ["tune", str(data), "--architecture", "tiny", "--init", "random"]
    arguments += ["--storage", str(storage), "--sampler", "random", "--sampler", "pso"]
    arguments += ["--images", "24", "--folds", "2", "--epochs", "1", "--crop", "64x64"]

    assert main([*arguments, "--trials", "1", "--out", str(page)]) == 0

    assert "| particle swarm | 1 (1, 0, 0) |" in page.read_text()
    tuned = json.loads((tmp_path / "page.json").read_text())
    assert tuned["task"]["architecture"] == "tiny"
    real = tmp_path / "real.json"
    asked = {
        "data": data,
        "studies": load_studies(storage),
        "count": 1,
        "out": real,
        "proxy": OPTIONS,
        "options": ConfirmOptions(epochs=1, per_group=1, crop=(64, 64)),
        "report": lambda told: None,
    }
    run_confirmation(**asked)
    (row,) = json.loads(real.read_text())["rows"]
    assert row["proxy"] == pytest.approx(tuned["value"])
    assert np.isfinite(row["real"])
    # What is written is not trained again.
    monkeypatch.setattr(confirm_module, "fit", None)
    run_confirmation(**asked)


def test_an_unknown_sampler_ends_with_a_sentence(data, tmp_path, capsys):
    arguments = ["tune", str(data), "--init", "random", "--storage", str(tmp_path / "s.sqlite3")]

    assert main([*arguments, "--sampler", "grid"]) == 1

    assert "random, tpe, cmaes, ga, pso" in capsys.readouterr().err
