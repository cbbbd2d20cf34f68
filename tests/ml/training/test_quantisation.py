"""What int8 may cost, and a bundle that is made anew to serve it."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import detection.ml.training.export as export_module
import detection.ml.training.quantisation as quantisation
from detection.imaging.phantoms import write_phantoms
from detection.ml.__main__ import main
from detection.ml.bundle import Bundle, load_bundle
from detection.ml.data import PARTS, Box, Sample, load_dataset, split
from detection.ml.errors import MLError
from detection.ml.preprocess import Preprocessing, letterbox
from detection.ml.serving.findings import MIN_PROBABILITY
from detection.ml.training.evaluate import BoxedMap, Scores
from detection.ml.training.export import export_float32, quantise_bundle
from detection.ml.training.network import build_network
from detection.ml.training.operating_points import fit_platt
from detection.ml.training.pretrained import save_weights
from detection.ml.training.quantisation import compare

SMALL = Preprocessing(height=64, width=96)


def scores(logits, labels, *, sources=None, maps=()) -> Scores:
    count = len(logits)
    return Scores(
        logits=np.array(logits, np.float64),
        labels=np.array(labels, bool),
        groups=np.arange(count).astype(str),
        sources=np.array(sources or ["one"] * count),
        pointing=np.zeros(0, bool),
        maps=maps,
    )


def drawn(seed: int = 0, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.random(count) < 0.5
    return generator.normal(0, 1, count) + 4 * labels - 2, labels


def boxed_map(*, peak: float) -> BoxedMap:
    """An image whose stone lies on a cell of this logit."""
    sample = Sample(
        path=Path("a.png"), image="a.png", source="one", is_stone=True, finding="stone",
        group="a", boxes=(Box(40, 24, 48, 32),),
    )  # fmt: skip
    cells = np.full((8, 12), -20, np.float32)
    cells[3, 5] = peak
    _, box = letterbox(np.zeros((64, 96), np.uint8), SMALL)
    return BoxedMap(sample, cells, box, (64, 96))


def test_int8_is_read_with_its_own_calibration():
    logits, labels = drawn()

    told = compare(scores(logits, labels), scores(logits * 0.5 + 3, labels), preprocessing=SMALL)

    # Float32's thresholds on these logits would call every image a stone.
    assert told["accepted"]
    assert told["largest_operating_point_shift"] < 0.02
    assert (told["n"], told["auc_int8"]) == (200, told["auc_float32"])
    assert (told["froc_float32"], told["froc_int8"], told["stones"]) == (None, None, 0)


def test_a_shift_of_the_operating_points_decides_nothing(monkeypatch):
    monkeypatch.setattr(quantisation, "_largest_shift", lambda *_: 0.5)
    logits, labels = drawn()

    told = compare(scores(logits, labels), scores(logits, labels), preprocessing=SMALL)

    assert told["accepted"]
    assert told["largest_operating_point_shift"] == 0.5


def test_int8_that_is_worse_on_one_source_alone_is_refused():
    logits, labels = drawn(count=2000)
    sources = ["small"] * 60 + ["large"] * 1940
    worse = logits.copy()
    worse[:60] = np.random.default_rng(1).permutation(worse[:60])

    told = compare(
        scores(logits, labels, sources=sources),
        scores(worse, labels, sources=sources),
        preprocessing=SMALL,
    )

    assert not told["accepted"]
    assert told["sources"]["large"]["auc_int8"] == told["sources"]["large"]["auc_float32"]
    assert told["sources"]["small"]["auc_int8"] < told["sources"]["small"]["auc_float32"] - 0.002


def test_int8_that_finds_fewer_boxed_stones_is_refused():
    logits, labels = drawn()
    before = scores(logits, labels, maps=(boxed_map(peak=9), boxed_map(peak=9)))
    after = scores(logits, labels, maps=(boxed_map(peak=9), boxed_map(peak=-20)))

    told = compare(before, after, preprocessing=SMALL)

    assert (told["froc_float32"], told["froc_int8"], told["stones"]) == (1.0, 0.5, 2)
    assert told["auc_int8"] == told["auc_float32"]
    assert not told["accepted"]
    assert compare(before, before, preprocessing=SMALL)["accepted"]


def test_stones_are_found_below_what_is_shown():
    """Where the list of findings ends is no matter of the network, but of its calibration."""
    logits, labels = drawn()
    faint = boxed_map(peak=-1.2)

    ((_, probability),) = faint.findings(fit_platt(logits, labels), SMALL)
    assert 0.001 < probability < MIN_PROBABILITY
    told = compare(
        scores(logits, labels, maps=(boxed_map(peak=9), boxed_map(peak=9))),
        scores(logits, labels, maps=(boxed_map(peak=9), faint)),
        preprocessing=SMALL,
    )
    assert told["accepted"]


@pytest.mark.parametrize("lost", [2, 3])
def test_two_thousandths_may_be_lost(monkeypatch, lost):
    logits, labels = drawn()
    found = iter([{"value": 1.0, "n": 1000}, {"value": 1 - lost / 1000, "n": 1000}])
    monkeypatch.setattr(quantisation, "stones_found", lambda *_, **__: next(found))

    told = compare(scores(logits, labels), scores(logits, labels), preprocessing=SMALL)

    assert told["accepted"] == (lost == 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("quantisation") / "data"
    write_phantoms(folder, images=40, seed=1)
    return folder


@pytest.fixture
def trained(tiny, data, tmp_path) -> Bundle:
    """A bundle that serves float16 and has a series rule; its model.json is never read."""
    parts = split(load_dataset(data).samples, parts=PARTS)
    keras.utils.set_random_seed(1)
    save_weights(build_network(tiny, height=64, width=96), tmp_path / "weights.npz")
    manifest = {
        "name": "tiny-1",
        "backbone": "tiny",
        "preprocessing": SMALL.to_dict(),
        "training": {"seed": 3},
        "data": {"fingerprint": "d" * 64},
        "split": {part: len(held) for part, held in parts.items()},
        "series": {"threshold": 0.5},
    }
    return Bundle(path=tmp_path, digest="e" * 64, manifest=manifest)


def with_manifest(bundle: Bundle, **told) -> Bundle:
    return replace(bundle, manifest={**bundle.manifest, **told})


def make(bundle: Bundle, data: Path, **given) -> Bundle:
    return load_bundle(
        quantise_bundle(
            bundle,
            data=data,
            out=bundle.path / "new",
            report=lambda progress: None,
            **given,
        )
    )


@pytest.mark.slow
def test_a_bundle_is_made_anew_to_serve_int8(trained, data, monkeypatch):
    monkeypatch.setattr(export_module, "_export_apart", export_float32)
    monkeypatch.setattr(quantisation, "MAX_LOSS", 1.0)
    held_out = with_manifest(trained, name="without-it")

    made = make(with_manifest(trained, training={"refit": True}), data, held_out=held_out)

    assert made.manifest["serving"]["precision"] == "int8"
    assert made.manifest["serving"]["int8"]["accepted"]
    assert "series" not in made.manifest
    assert made.manifest["provenance"]["parent"] == {"name": "tiny-1", "digest": "e" * 64}
    head = {"head_width": 128, "head_kernel": 3}
    assert made.manifest["training"] == {"refit": True, "calibrated_by": "without-it", **head}
    assert made.manifest["data"] == trained.manifest["data"]
    assert (made.path / "weights.npz").read_bytes() == (trained.path / "weights.npz").read_bytes()
    assert set(made.metrics) == {"validation", "test"}


def test_no_bundle_is_made_where_int8_loses_too_much(trained, data, monkeypatch):
    logits, labels = drawn()
    worse = np.random.default_rng(1).permutation(logits)
    told = compare(scores(logits, labels), scores(worse, labels), preprocessing=SMALL)
    monkeypatch.setattr(
        export_module, "_choose_precision", lambda *_, **__: ("float16", None, told)
    )

    with pytest.raises(MLError, match=r"not accepted.*AUC of all 0\.99.*No bundle was made"):
        make(trained, data)

    assert list((trained.path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"split": {"train": 1, "validation": 1, "test": 1}}, "was trained on other parts"),
        ({"training": {"refit": True}}, "have seen the validation part"),
    ],
)
def test_a_bundle_that_cannot_be_judged_is_refused(trained, data, told, sentence):
    with pytest.raises(MLError, match=sentence):
        make(with_manifest(trained, **told), data)


def test_a_held_out_bundle_of_another_architecture_is_refused(trained, data):
    with pytest.raises(MLError, match="another architecture"):
        make(trained, data, held_out=with_manifest(trained, backbone="resnet50"))


def test_the_verb_says_what_is_wrong(tmp_path, capsys):
    bundle, data = str(tmp_path / "none"), str(tmp_path)

    assert main(["quantise", bundle, data, "--out", str(tmp_path / "new")]) == 1

    assert "is missing" in capsys.readouterr().err
