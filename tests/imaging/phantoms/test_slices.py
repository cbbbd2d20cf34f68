import csv

import cv2
import numpy as np
import pytest

from detection.imaging.phantoms import write_phantoms
from detection.imaging.phantoms.slices import SPACING_MM, make_phantom
from detection.imaging.window import SOFT_TISSUE, apply_window
from detection.ml.data import PARTS, load_dataset, split


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, images=24, seed=1)
    return folder


@pytest.mark.parametrize("view", ["axial", "coronal"])
@pytest.mark.parametrize("seed", range(6))
def test_every_box_is_tight_around_something_bright_in_a_kidney(view, seed):
    phantom = make_phantom(view, has_stone=True, generator=np.random.default_rng(seed))

    assert phantom.boxes
    for x0, y0, x1, y1 in phantom.boxes:
        left, top, right, bottom = (int(side) for side in (x0, y0, x1, y1))
        stone = phantom.pixels_hu[top:bottom, left:right]
        assert phantom.pixels_hu[(top + bottom) // 2, (left + right) // 2] > 240
        # The stone touches all four sides; one pixel of blur further out it ends.
        assert min(stone[0].max(), stone[-1].max(), stone[:, 0].max(), stone[:, -1].max()) > 110
        around = phantom.pixels_hu[top - 4 : bottom + 4, left - 4 : right + 4].copy()
        around[2:-2, 2:-2] = 0
        assert around.max() < 150
        longest_mm = max(right - left, bottom - top) * SPACING_MM
        assert 2 <= longest_mm <= 14


@pytest.mark.parametrize("view", ["axial", "coronal"])
def test_without_stone_the_kidneys_hold_nothing_bright(view):
    # The same numbers draw the same body; only what the stones add differs.
    seeds = range(3)
    for seed in seeds:
        with_stone = make_phantom(view, has_stone=True, generator=np.random.default_rng(seed))
        without = make_phantom(view, has_stone=False, generator=np.random.default_rng(seed))
        assert without.boxes == ()
        for x0, y0, x1, y1 in with_stone.boxes:
            place = without.pixels_hu[int(y0) : int(y1), int(x0) : int(x1)]
            assert place.max() < 150


def test_tissues_have_their_hu():
    hu = make_phantom("axial", has_stone=False, generator=np.random.default_rng(0)).pixels_hu
    shares = {
        "air": (hu < -900).mean(),
        "fat": ((hu > -160) & (hu < -50)).mean(),
        "soft": ((hu > 0) & (hu < 100)).mean(),
        "bone": (hu > 300).mean(),
    }

    assert shares["air"] > 0.3
    assert min(shares["fat"], shares["soft"]) > 0.1
    assert 0.005 < shares["bone"] < 0.1


def test_folder_is_a_training_data_folder(folder):
    dataset = load_dataset(folder)
    parts = split(dataset.samples, parts=PARTS)

    assert dataset.snapshot() | {"fingerprint": ""} == {
        "fingerprint": "",
        "images": 24,
        "stone_images": 12,
        "groups": 12,
    }
    for held in parts.values():
        assert {sample.is_stone for sample in held} == {True, False}


def test_manifest_says_what_the_images_are(folder):
    rows = rows_of(folder / "manifest.csv")
    boxed = {row["image"] for row in rows_of(folder / "boxes.csv")}

    assert {row["view"] for row in rows} == {"axial", "coronal"}
    assert {row["source"] for row in rows} == {"phantom"}
    assert {(row["label"], row["finding"]) for row in rows} == {
        ("stone", "stone"),
        ("no_stone", "normal"),
    }
    assert boxed == {row["image"] for row in rows if row["label"] == "stone"}
    for row in rows:
        pixels = cv2.imread(str(folder / row["image"]), cv2.IMREAD_UNCHANGED)
        assert pixels.dtype == np.uint8
        assert pixels.shape == (int(row["height"]), int(row["width"]))


def test_boxes_of_the_folder_are_bright_in_its_pictures(folder):
    for row in rows_of(folder / "boxes.csv"):
        pixels = cv2.imread(str(folder / row["image"]), cv2.IMREAD_UNCHANGED)
        x = (float(row["x0"]) + float(row["x1"])) / 2
        y = (float(row["y0"]) + float(row["y1"])) / 2
        assert pixels[int(y), int(x)] == 255


def test_same_seed_same_bytes_and_another_seed_others(folder, tmp_path):
    write_phantoms(tmp_path / "same", images=24, seed=1)
    write_phantoms(tmp_path / "other", images=24, seed=2)

    fingerprint = load_dataset(folder).fingerprint
    assert load_dataset(tmp_path / "same").fingerprint == fingerprint
    assert load_dataset(tmp_path / "other").fingerprint != fingerprint


def test_picture_is_the_soft_tissue_window(folder):
    phantom = make_phantom("axial", has_stone=True, generator=np.random.default_rng([1, 0]))
    pixels = cv2.imread(str(folder / "images/phantom_0000.png"), cv2.IMREAD_UNCHANGED)

    assert np.array_equal(pixels, apply_window(phantom.pixels_hu, SOFT_TISSUE))


def test_own_folder_is_filled_anew(tmp_path):
    write_phantoms(tmp_path, images=10, seed=1)
    write_phantoms(tmp_path, images=8, seed=1)

    assert len(rows_of(tmp_path / "manifest.csv")) == 8
    assert len(list((tmp_path / "images").iterdir())) == 8


def test_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "manifest.csv").write_text("image,source,label,group\n")

    with pytest.raises(FileExistsError, match="left as it is"):
        write_phantoms(tmp_path, images=8, seed=1)

    assert [path.name for path in tmp_path.iterdir()] == ["manifest.csv"]


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 8"):
        write_phantoms(tmp_path / "new", images=7, seed=1)

    assert not (tmp_path / "new").exists()
