import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from detection.ml.data import Sample, check_near_copies, check_split_file, near_copies
from detection.ml.data.copies import perceptual_hash
from detection.ml.errors import DatasetError
from tests.pictures import smooth_picture as body


@pytest.fixture
def sample(tmp_path):
    def make(pixels, *, group="p1"):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.png"
        cv2.imwrite(str(path), pixels)
        return Sample(
            path=path,
            image=path.name,
            source="phantom",
            is_stone=True,
            finding="stone",
            group=group,
        )

    return make


def test_other_bodies_are_no_near_copies(sample):
    parts = {"train": [sample(body(1))], "test": [sample(body(2))]}

    assert near_copies(parts) == []
    check_near_copies(parts)


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: pixels,
        lambda pixels: cv2.convertScaleAbs(pixels, alpha=0.8, beta=20),
        lambda pixels: cv2.resize(pixels, (256, 205), interpolation=cv2.INTER_AREA),
        lambda pixels: np.ascontiguousarray(pixels[:, ::-1]),
        lambda pixels: cv2.add(
            pixels, np.random.default_rng(0).integers(0, 20, pixels.shape, np.uint8)
        ),
    ],
    ids=["copy", "window", "resolution", "mirrored", "brightness"],
)
def test_a_split_with_a_near_copy_on_both_sides_is_refused(sample, change):
    first, second = sample(body(1)), sample(change(body(1)), group="p2")
    parts = {"train": [sample(body(3)), first], "validation": [], "test": [second]}

    with pytest.raises(DatasetError, match=f"{first.image}.*{second.image}.*near-copies"):
        check_near_copies(parts)


def test_near_copies_within_one_part_are_welcome(sample):
    check_near_copies(
        {
            "train": [sample(body(1)), sample(body(1))],
            "test": [sample(body(2))],
        }
    )


def test_the_hash_has_its_bits():
    assert perceptual_hash(body(1)).shape == (255,)


def test_a_split_that_left_its_file_is_refused(sample, tmp_path):
    first, second, new = (
        sample(body(1)),
        sample(body(2)),
        sample(body(3)),
    )
    file = tmp_path / "split.csv"
    sums = [hashlib.sha256(one.path.read_bytes()).hexdigest() for one in (first, second)]
    file.write_text(f"sha256,part\n{sums[0]},train\n{sums[1]},test\n")

    check_split_file({"train": [first, new], "test": [second]}, file)
    # Renamed, it is still the same image.
    moved = replace(second, image="renamed.png")
    with pytest.raises(DatasetError, match="renamed.png stands in the train part"):
        check_split_file({"train": [first, moved], "test": []}, file)
