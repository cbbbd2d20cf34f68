"""The report from data folder to card, on a few drawn pictures and a shipped model."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from detection.imaging.formats import decode_file
from detection.ml.bundle import MANIFEST_NAME, load_bundle, write_manifest
from detection.ml.card import card_text
from detection.ml.data import load_dataset
from detection.ml.errors import DatasetError
from detection.ml.evaluation import ReportOptions, write_report
from detection.ml.evaluation.baselines import body_brightness, bright_blobs, load_baselines
from detection.ml.evaluation.readings import Reader, seeded
from detection.ml.serving import GATE_NAME, Predictor
from tests.pictures import body

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("report")]
MODELS = Path(__file__).resolve().parents[3] / "ml_models"
FEW = ReportOptions(
    part="train",
    robustness_images=1,
    mild_images=2,
    deletion_images=2,
    resolution_images=4,
    float32_images=0,
    gate_per_group=0,
    gate_made_images=1,
    threads=1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixteen pictures: stone-free and stone images of one source, boxed stones of another."""
    root = tmp_path_factory.mktemp("data")
    rows, boxes = [], []
    for index in range(16):
        is_boxed = index % 2 == 1
        is_stone = is_boxed or index % 4 == 0
        x, y = (115, 150) if index % 3 else (285, 165)
        name = f"{index}.png"
        cv2.imwrite(str(root / name), body(stone_at=(x, y) if is_stone else None))
        source = "yildirim2021" if is_boxed else "islam2022"
        label, finding = ("stone", "stone") if is_stone else ("no_stone", "normal")
        rows.append((name, source, label, finding, f"{source}-{4 * index}"))
        if is_boxed:
            boxes.append((name, x - 5, y - 5, x + 6, y + 6))
    for file, header, held in (
        ("manifest.csv", ("image", "source", "label", "finding", "group"), rows),
        ("boxes.csv", ("image", "x0", "y0", "x1", "y1"), boxes),
    ):
        with (root / file).open("w", newline="") as out:
            csv.writer(out).writerows([header, *held])
    return root


@pytest.fixture(scope="module")
def ungated(tmp_path_factory):
    """A shipped model without its gate, which refuses drawn bodies: the lightest of them."""
    (source,) = MODELS.glob("mobilenetv2-*")
    target = tmp_path_factory.mktemp("models") / source.name
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(GATE_NAME))
    manifest = json.loads((target / MANIFEST_NAME).read_text())
    (target / MANIFEST_NAME).unlink()
    write_manifest(target, {key: value for key, value in manifest.items() if key != "gate"})
    return target


@pytest.fixture(scope="module")
def made(folder, ungated, tmp_path_factory):
    out = tmp_path_factory.mktemp("card")
    not_ct = tmp_path_factory.mktemp("not-ct")
    cv2.imwrite(str(not_ct / "blank.png"), np.full((200, 200), 9, np.uint8))
    metrics = write_report(
        data=folder,
        out=out,
        model=ungated,
        root=MODELS,
        store=tmp_path_factory.mktemp("store"),
        not_ct=not_ct,
        baselines=None,
        ablation=None,
        options=FEW,
        report=lambda _: None,
    )
    return out, metrics


def test_report_writes_a_small_card_with_its_figures(made):
    out, metrics = made

    text = (out / "README.md").read_text()
    for name in metrics["figures"]:
        assert (out / name).is_file()
        assert f"]({name})" in text
    assert {"roc.png", "reliability.png", "robustness.png"} <= set(metrics["figures"])
    assert sum(file.stat().st_size for file in out.iterdir()) < 3e6


def test_metrics_file_is_strict_json_that_makes_the_same_card(made):
    out, _ = made

    def refuse(constant):
        raise AssertionError(constant)

    metrics = json.loads((out / "metrics.json").read_text(), parse_constant=refuse)
    assert card_text(metrics).splitlines()[0] == (out / "README.md").read_text().splitlines()[0]
    assert len(metrics["robustness"]) == 45
    assert {row["severity"] for row in metrics["robustness"]} == {1, 2, 3, 4, 5}


def test_report_measures_the_gate_on_files_that_are_no_ct(made):
    _, metrics = made

    assert metrics["gate"]["not_ct_refused"]["hits"] == 1
    assert metrics["gate"]["ct_refused"]["value"] == 0
    kinds = {row["kind"]: row for row in metrics["gate"]["kinds"]}
    assert kinds["blank"]["refused"]["hits"] == 1
    assert kinds["blank"]["reasons"]
    # No image was turned here: a kind that was not tried is not measured.
    assert kinds["inverted"]["refused"]["value"] is None
    assert "| inverted | not measured |" in card_text(metrics)


def test_reading_is_what_the_predictor_answers_and_is_stored(folder, ungated, tmp_path):
    sample = load_dataset(folder).samples[0]
    predictor = Predictor(load_bundle(ungated), threads=1)
    reader = Reader(predictor, store=tmp_path)

    first = reader.read([sample])
    again = Reader(predictor, store=tmp_path)

    assessment = predictor.assess(decode_file(sample.path))
    assert first[0].probability == pytest.approx(assessment.probability)
    assert [place for place, _ in first[0].findings] == [f.box for f in assessment.findings]
    # Pooling is a soft maximum: neither half can say more than the whole.
    assert max(first[0].half_probabilities) <= first[0].probability
    assert again.read([sample]) == first
    assert (reader.images_read, again.images_read) == (1, 0)


def test_conditions_are_stored_apart(folder, ungated, tmp_path):
    sample = load_dataset(folder).samples[0]
    reader = Reader(Predictor(load_bundle(ungated), threads=1), store=tmp_path)

    (clean,) = reader.read([sample])
    (dark,) = reader.read([sample], condition="dark", change=lambda grey, *_: grey // 4)

    assert clean != dark
    assert reader.read([sample]) == [clean]


def test_generator_depends_on_image_and_condition():
    draws = [seeded(*key).random() for key in (("a", "x"), ("a", "x"), ("b", "x"), ("a", "y"))]

    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_hand_made_features_see_what_they_name():
    dark = np.full((320, 391), 100, np.uint8)
    bright = dark.copy()
    bright[:, 200:] = 180
    dotted = dark.copy()
    for x in range(40, 360, 40):
        cv2.circle(dotted, (x, 160), 4, 255, -1)

    assert body_brightness(dark) == 0
    assert body_brightness(bright) == pytest.approx(191 / 391)
    assert bright_blobs(dark) == 0
    assert bright_blobs(dotted) == 8


def test_baselines_of_other_data_are_refused(tmp_path):
    file = tmp_path / "baselines.json"
    rows = [{"name": "m", "scores": [0.1, 0.2]}]
    file.write_text(json.dumps({"format": 1, "keys": ["a", "b"], "baselines": rows}))

    assert load_baselines(file, keys=["b", "a"])[0]["scores"] == [0.2, 0.1]
    with pytest.raises(DatasetError):
        load_baselines(file, keys=["a", "c"])
    file.write_text("no json")
    with pytest.raises(DatasetError):
        load_baselines(file, keys=["a"])
