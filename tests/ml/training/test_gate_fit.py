import cv2
import numpy as np
import pytest

from detection.ml.data import Sample
from detection.ml.preprocess import Preprocessing, letterbox
from detection.ml.serving import GATE_NAME
from detection.ml.serving.gate import read_gate
from detection.ml.training import WRONG_WAYS
from detection.ml.training.gate_fit import MIN_TRAIN_IMAGES, change_mildly, fit_gate
from tests.pictures import seeded_body

pytestmark = pytest.mark.xdist_group("gate-fit")
SPEC = Preprocessing(height=64, width=96)


def outputs(canvases):
    """In place of a network: the canvas itself, seen at two sizes."""
    features = {}
    for name, size in (("features_conv3", (32, 16)), ("features_conv4", (48, 32))):
        small = [cv2.resize(canvas, size, interpolation=cv2.INTER_AREA) for canvas in canvases]
        features[name] = np.stack(small).reshape(len(canvases), -1).astype(np.float32) + 1
    return np.zeros((len(canvases), 8, 12), np.float32), features


def features_of(grey):
    return outputs(letterbox(np.ascontiguousarray(grey), SPEC)[0][None])[1]


def samples(folder, *, count, first):
    made = []
    for seed in range(first, first + count):
        path = folder / f"{seed}.png"
        cv2.imwrite(str(path), seeded_body(seed))
        made.append(
            Sample(
                path=path,
                image=path.name,
                source="phantom",
                is_stone=bool(seed % 2),
                finding="stone" if seed % 2 else "normal",
                group=f"p{seed // 2}",
            )  # fmt: skip
        )
    return made


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    told = fit_gate(
        outputs=outputs,
        parts={
            "train": samples(folder, count=MIN_TRAIN_IMAGES, first=0),
            "validation": samples(folder, count=80, first=1000),
            "test": samples(folder, count=20, first=2000),
        },
        preprocessing=SPEC,
        folder=folder,
    )
    return read_gate(folder / GATE_NAME, told), told, folder


def test_slices_of_other_patients_pass(fitted):
    gate, told, _ = fitted

    refusals = [gate.refusals(features_of(seeded_body(seed)))[0] for seed in range(3000, 3040)]

    assert sum(refusal is not None for refusal in refusals) <= 1
    assert told["test"]["n"] == 20
    assert told["test"]["refused"] <= 1


def test_mild_changes_pass(fitted):
    gate, *_ = fitted
    generator = np.random.default_rng(1)

    changed = [change_mildly(seeded_body(seed), generator) for seed in range(3000, 3040)]

    assert sum(gate.refusals(features_of(grey))[0] is not None for grey in changed) <= 4


@pytest.mark.parametrize("way", WRONG_WAYS)
def test_a_slice_that_lies_the_wrong_way_is_refused(fitted, way):
    gate, *_ = fitted

    refusals = [
        gate.refusals(features_of(WRONG_WAYS[way](seeded_body(s))))[0] for s in range(3000, 3020)
    ]

    assert all(refusals)


def test_pictures_of_something_else_are_refused(fitted):
    gate, *_ = fitted
    rows, columns = np.mgrid[:200, :240]
    pictures = [
        np.asarray(columns, np.uint8),
        np.where((rows // 20 + columns // 20) % 2, 200, 20).astype(np.uint8),
        np.random.default_rng(1).integers(0, 255, (200, 240)).astype(np.uint8),
    ]

    for picture in pictures:
        refusal = gate.refusals(features_of(picture))[0]
        assert refusal is not None
        assert refusal.sentence


def test_slices_are_judged_one_by_one(fitted):
    gate, *_ = fitted
    canvases = np.stack([letterbox(seeded_body(seed), SPEC)[0] for seed in (1, 2, 3)])
    canvases[1] = 255

    together = gate.refusals(outputs(canvases)[1])

    assert [refusal is None for refusal in together] == [True, False, True]
    assert together == [gate.refusals(outputs(one[None])[1])[0] for one in canvases]


def test_the_file_is_small(fitted):
    *_, folder = fitted

    assert (folder / GATE_NAME).stat().st_size < 4e6


def test_with_too_few_images_the_gate_is_open_and_says_so(tmp_path):
    few = samples(tmp_path, count=8, first=0)

    told = fit_gate(
        outputs=outputs,
        parts={"train": few, "validation": few, "test": []},
        preprocessing=SPEC,
        folder=tmp_path,
    )

    assert "too few" in told["open"]
    assert not (tmp_path / GATE_NAME).exists()
