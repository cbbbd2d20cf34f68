import json
import shutil

import numpy as np
import pytest

from detection.imaging.volume import Volume
from detection.ml.__main__ import main
from detection.ml.bundle import load_bundle
from detection.ml.calibration import apply_platt
from detection.ml.combining import CombineOptions, combine, predict
from detection.ml.combining.maps import STORE_NAME, MapStore
from detection.ml.data import load_dataset, split_units
from detection.ml.errors import MLError
from detection.ml.preprocess import letterbox
from detection.ml.serving import Predictor, pool

QUICK = CombineOptions(trials=4, folds=3, threads=1)


def combined(tmp_path, bodies, members, *, folds=(), held_out=None, options=QUICK, report=None):
    return combine(
        data=bodies,
        members=[str(folder) for folder in members],
        held_out=held_out or {},
        folds=folds,
        out=members[0].parent,
        root=members[0].parent,
        work=tmp_path / "work",
        options=options,
        report=report or (lambda line: None),
    )


def test_an_ensemble_is_built_loaded_and_served(tmp_path, bodies, parts, members):
    lines = []

    path = combined(tmp_path, bodies, members, report=lines.append)

    bundle = load_bundle(path)
    assert bundle.is_ensemble
    assert bundle.name.startswith("ensemble-")
    assert sum(member.weight for member in bundle.members) == pytest.approx(1)
    told = bundle.manifest["combination"]
    assert [one["method"] for one in told["methods"]] == ["mean", "stacking", "pso", "ga"]
    losses = {
        one["method"]: one["cross_validated"]["log_loss"]["value"]
        for one in told["methods"]
        if np.count_nonzero(one["weights"]) > 1
    }
    assert losses[told["method"]] == pytest.approx(min(losses.values()), abs=1e-4)
    assert told["fitted_on"]["images"] == len(parts["validation"])
    assert {"validation", "test"} == set(bundle.metrics)
    assert bundle.metrics["test"]["all"]["n"] >= len(parts["test"])
    assert any("left" in line for line in lines)
    assert [one.name for one in members[0].parent.glob(".*")] == []

    predictor = Predictor(bundle, threads=1)
    sample = parts["test"][0]
    assessment = predictor.assess(Volume(pixels=sample.read()[None], is_hu=False))
    canvas, _ = letterbox(sample.read(), predictor.preprocessing)
    logit = pool(predictor.network.map_logits(canvas[None])[0])
    assert assessment.probability == pytest.approx(
        float(apply_platt(np.array(logit), bundle.calibration))
    )


def test_a_named_method_and_gate_are_taken(tmp_path, bodies, members):
    options = CombineOptions(method="mean", gate="blunt-1", trials=4, folds=2, threads=1)

    bundle = load_bundle(combined(tmp_path, bodies, members, options=options))

    assert bundle.manifest["combination"]["method"] == "mean"
    assert bundle.manifest["gate"] == {"member": "blunt-1"}
    assert [member.weight for member in bundle.members] == [0.5, 0.5]


def test_no_network_reads_an_image_twice(tmp_path, bodies, members, monkeypatch):
    combined(tmp_path, bodies, members)

    def opened(network):
        raise AssertionError("read again")

    monkeypatch.setattr("detection.ml.combining.maps.RememberedNetwork.opened", property(opened))
    store = MapStore(tmp_path / "work" / STORE_NAME)
    network = store.network(load_bundle(members[0]), threads=1)
    canvas, _ = letterbox(load_dataset(bodies).samples[0].read(), network.preprocessing)
    with pytest.raises(AssertionError, match="read again"):
        network.map_logits(255 - canvas[None])
    combined(tmp_path, bodies, members, options=CombineOptions(method="mean", trials=4, folds=2))


def test_a_member_that_has_seen_the_patients_is_judged_by_its_stand_in(tmp_path, bodies, members):
    sharp = members[0]
    told = json.loads((sharp / "model.json").read_text())
    before = sharp.parent / "sharp-0"
    shutil.copytree(sharp, before)
    for folder, name, refit in ((before, "sharp-0", False), (sharp, "sharp-1", True)):
        told |= {"name": name, "training": {"refit": refit}}
        (folder / "model.json").write_text(json.dumps(told))
    with pytest.raises(MLError, match="--held-out"):
        combined(tmp_path, bodies, members)

    path = combined(tmp_path, bodies, members, held_out={"sharp-1": str(before)})

    bundle = load_bundle(path)
    assert {member.name for member in bundle.members} == {"sharp-1", "blunt-1"}
    assert bundle.manifest["combination"]["stand_ins"]["sharp-1"]["name"] == "sharp-0"


def test_predictions_of_the_test_part_are_refused(tmp_path, bodies, parts, members):
    tested = predict(
        data=bodies,
        model="sharp-1",
        root=members[0].parent,
        part="test",
        out=tmp_path / "tested.npz",
        threads=1,
        report=lambda line: None,
    )
    assert len(tested.images) == len(parts["test"])

    with pytest.raises(MLError, match="images of the test part"):
        combined(tmp_path, bodies, members, folds=[("sharp-1", tmp_path / "tested.npz")])


def test_out_of_fold_predictions_of_every_member_are_fitted_on(tmp_path, bodies, parts, members):
    folds = []
    for name in ("sharp-1", "blunt-1"):
        file = tmp_path / f"{name}.npz"
        made = predict(
            data=bodies,
            model=name,
            root=members[0].parent,
            part="train",
            out=file,
            threads=1,
            report=lambda line: None,
        )
        # As of a training on a folder without these images.
        made.about["trained_on"] = "another folder"
        made.save(file)
        folds.append((name, file))

    alone = load_bundle(combined(tmp_path, bodies, members, folds=folds[:1]))
    both = load_bundle(combined(tmp_path, bodies, members, folds=folds))

    counts = [one.manifest["combination"]["fitted_on"] for one in (alone, both)]
    assert counts[0]["images"] == len(parts["validation"])
    assert counts[1]["images"] == len(parts["validation"]) + len(parts["train"])
    # Calibration and figures are those of the validation part.
    assert alone.metrics["validation"]["all"]["n"] == both.metrics["validation"]["all"]["n"]


def test_no_patient_unit_lies_in_two_folds(bodies, parts, tmp_path, members, monkeypatch):
    seen = {}

    def recorded(evidence, count):
        folds = original(evidence, count)
        seen["units"], seen["folds"] = evidence.units, folds
        return folds

    from detection.ml.combining.evidence import Evidence

    original = Evidence.folds
    monkeypatch.setattr(Evidence, "folds", recorded)

    combined(tmp_path, bodies, members)

    units = split_units(parts["validation"])
    assert set(seen["units"]) == set(units.values())
    for unit in set(seen["units"]):
        assert len(set(seen["folds"][seen["units"] == unit])) == 1
    assert len(set(seen["folds"])) == 3


def test_command_line_writes_a_bundle_and_says_what_is_wrong(tmp_path, bodies, members, capsys):
    arguments = ["combine", str(bodies), "--method", "mean", "--trials", "4", "--threads", "1"]
    arguments += ["--out", str(members[0].parent), "--members"]

    assert main([*arguments, str(members[0])]) == 1
    assert "at least two different members" in capsys.readouterr().err
    assert main([*arguments, *map(str, members), "--held-out", "sharp-1"]) == 1
    assert "takes a member and a value" in capsys.readouterr().err
    assert main([*arguments, *map(str, members)]) == 0
    assert load_bundle(members[0].parent / capsys.readouterr().out.strip().split("/")[-1])
