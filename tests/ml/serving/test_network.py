from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detection.ml.bundle import load_default_bundle
from detection.ml.errors import BundleError, MLError
from detection.ml.preprocess import Preprocessing
from detection.ml.serving.network import BATCH, ServedNetwork, in_batches
from detection.ml.serving.pictures import Picture

MODELS = Path(__file__).resolve().parents[3] / "ml_models"


def canvas(value):
    return np.full((4, 6), value, np.uint8)


def brightness(canvases):
    return canvases[:, 0, 0].tolist()


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (3, [3]), (8, [4, 4]), (9, [4, 4, 1])])
def test_every_item_is_run_once_and_in_order(count, sizes):
    batches = list(in_batches(brightness, range(count), canvas_of=canvas, size=4))

    assert [len(items) for items, _ in batches] == sizes
    for items, output in batches:
        assert items == output
    assert [item for items, _ in batches for item in items] == list(range(count))


def test_no_item_is_taken_before_its_batch_is_needed():
    taken = []

    def items():
        for item in range(10):
            taken.append(item)
            yield item

    batches = in_batches(brightness, items(), canvas_of=canvas, size=4)

    assert taken == []
    next(batches)
    assert taken == [0, 1, 2, 3]


class FakeNetwork(ServedNetwork):
    """Gives the brightest value of each canvas, in every cell."""

    def __init__(self):
        self.preprocessing = Preprocessing(height=64, width=96)
        self._outputs = lambda canvases: (
            canvases.max((1, 2))[:, None, None] * np.ones((1, 8, 12), np.float32),
            {"mean": canvases.mean((1, 2))[:, None].astype(np.float32)},
        )


def test_pictures_come_back_with_what_is_said_of_them():
    pictures = [Picture(grey=np.full((20, 30 + n), n, np.uint8)) for n in range(BATCH + 3)]

    first, second = FakeNetwork().read(pictures)

    assert [*first.pictures, *second.pictures] == pictures
    assert first.cells[:, 0, 0].tolist() == list(range(BATCH))
    assert second.features["mean"].shape == (3, 1)
    # Fitted to the canvas by the picture's own size.
    assert first.boxes[0].width == 96
    assert second.boxes[2].scale_x == pytest.approx(96 / 40)


def test_known_spacing_decides_the_scale():
    grey = np.zeros((20, 30), np.uint8)

    (batch,) = FakeNetwork().read([Picture(grey=grey, spacing_mm=(1.9, 1.9)), Picture(grey=grey)])

    assert [box.width for box in batch.boxes] == [60, 96]


def test_numbers_that_are_none_are_no_answer():
    network = FakeNetwork()
    network._outputs = lambda canvases: (np.full((1, 8, 12), np.nan, np.float32), {})

    with pytest.raises(MLError, match="no usable numbers"):
        list(network.read([Picture(grey=np.zeros((20, 30), np.uint8))]))


def test_a_file_that_is_no_network_is_refused_by_the_name_of_its_bundle(tmp_path):
    bundle = load_default_bundle(MODELS)
    (tmp_path / "model.onnx").write_bytes(b"no network")
    serving = {**bundle.manifest["serving"], "file": str(tmp_path / "model.onnx")}

    with pytest.raises(BundleError, match=f"{bundle.name} could not be loaded"):
        ServedNetwork(replace(bundle, manifest={**bundle.manifest, "serving": serving}))
