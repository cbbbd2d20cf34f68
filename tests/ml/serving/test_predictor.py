import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from detection.imaging.volume import Volume
from detection.ml.bundle import default_bundle_path, load_bundle, load_default_bundle
from detection.ml.calibration import apply_platt
from detection.ml.errors import BundleError
from detection.ml.preprocess import letterbox
from detection.ml.serving import Predictor, classify_paths, load_stone_map, pool, save_stone_map
from tests.pictures import body

ROOT = Path(__file__).resolve().parents[3]
MODELS = ROOT / "ml_models"
AXIAL = ROOT / "tests/samples/ct_slices/A027284_01.dcm"


@pytest.fixture(scope="module")
def predictor():
    # The bodies drawn here are no CT slices: the shipped gate would refuse to read them.
    return Predictor(load_default_bundle(MODELS), is_gated=False)


def test_shipped_files_are_below_sixty_megabytes():
    for file in MODELS.rglob("*"):
        assert file.stat().st_size < 60e6


def test_probability_comes_from_the_map(predictor):
    volume = Volume(pixels=body()[None], is_hu=False)

    assessment = predictor.assess(volume)

    canvas, _ = letterbox(volume.pixels[0], predictor.preprocessing)
    pooled = np.array(pool(predictor.network.map_logits(canvas[None])[0]))
    expected = float(apply_platt(pooled, predictor.bundle.calibration))
    assert assessment.probability == pytest.approx(expected)
    assert assessment.verdict == ("stone" if expected >= predictor.threshold else "no_stone")


def test_slices_of_a_volume_answer_as_single_images_do(predictor):
    slices = np.stack([body(), body(stone_at=(110, 160))] * 5)

    together = predictor.assess(Volume(pixels=slices, is_hu=False))
    singly = [predictor.assess(Volume(pixels=one[None], is_hu=False)) for one in slices[:2]]

    assert together.slice_probabilities[:2] == pytest.approx(
        [one.probability for one in singly], abs=2e-3
    )
    assert together.stone_map.shape[0] == 10


def test_findings_lie_on_the_image_and_none_is_above_the_image(predictor):
    assessment = predictor.assess(Volume(pixels=body(stone_at=(280, 150))[None], is_hu=False))

    for finding in assessment.findings:
        x0, y0, x1, y1 = finding.box
        assert 0 <= x0 < x1 <= 391
        assert 0 <= y0 < y1 <= 320
        assert finding.probability <= assessment.probability + 1e-6


def test_sagittal_slices_cannot_be_assessed(predictor):
    assessment = predictor.assess(Volume(pixels=body()[None], is_hu=False, plane="sagittal"))

    assert (assessment.verdict, assessment.probability) == ("cannot_assess", None)
    assert "Sagittal" in assessment.reason


def test_a_refused_image_has_no_probability_and_no_findings(predictor):
    assessment = predictor.assess(Volume(pixels=np.zeros((1, 300, 300), np.uint8), is_hu=False))

    assert assessment.verdict == "cannot_assess"
    assert assessment.probability is None
    assert assessment.findings == ()
    assert assessment.reason


def test_stone_map_survives_its_file(tmp_path):
    stone_map = np.random.default_rng(1).random((2, 30, 40)).astype(np.float32)

    save_stone_map(stone_map, tmp_path / "maps" / "one.npz")

    assert np.allclose(load_stone_map(tmp_path / "maps" / "one.npz"), stone_map, atol=1e-3)


def test_a_damaged_bundle_is_refused_and_answers_nothing(tmp_path):
    source = default_bundle_path(MODELS)
    copy = tmp_path / source.name
    shutil.copytree(source, copy)
    with (copy / "model.onnx").open("r+b") as file:
        file.seek(5000)
        file.write(b"\x00\x01\x02")

    with pytest.raises(BundleError, match="damaged"):
        load_bundle(copy)


def test_classify_gives_the_documented_keys(predictor):
    out = io.StringIO()
    assert classify_paths([str(AXIAL)], predictor=predictor, out=out)
    result = json.loads(out.getvalue())

    assert list(result) == [
        "path", "status", "probability", "reason", "model_version", "size", "findings",
        "notices", "answer", "scope", "slices_read", "slices_unread",
    ]  # fmt: skip
    assert result["status"] in ("stone", "no_stone")
    assert result["size"] == [512, 512]
    for finding in result["findings"]:
        assert list(finding)[:4] == ["plane", "slice", "box", "probability"]
        assert finding["probability"] >= 0.05


def classify(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "detection.ml", "classify", *arguments, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_command_answers_each_path_and_nothing_else(tmp_path):
    (tmp_path / "note.txt").write_text("not an image")

    run = classify(str(AXIAL), str(tmp_path / "note.txt"), str(tmp_path / "absent.png"))

    results = [json.loads(line) for line in run.stdout.splitlines()]
    assert [r["status"] for r in results][1:] == ["error", "error"]
    assert [r["path"] for r in results][0] == str(AXIAL)
    assert all(r["reason"] for r in results[1:])
    assert all(r["probability"] is None for r in results[1:])
    assert run.returncode == 1


def test_command_ends_with_zero_when_every_input_got_an_answer():
    assert classify(str(AXIAL)).returncode == 0


def test_command_without_a_bundle_says_so(tmp_path):
    run = classify(str(AXIAL), "--model", str(tmp_path / "absent"))

    assert run.returncode == 1
    assert run.stdout == ""
    assert "is missing" in run.stderr


def test_serving_never_imports_the_training_framework():
    program = (
        "import sys, detection.ml.serving;"
        "print([m for m in ('tensorflow', 'keras', 'sklearn') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )

    assert run.stdout.strip() == "[]"
