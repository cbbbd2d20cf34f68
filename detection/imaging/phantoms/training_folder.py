"""A training data folder of synthetic slices, in the format of any other one."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from detection.imaging.phantoms.slices import View, make_phantom
from detection.imaging.window import SOFT_TISSUE, apply_window

SMALLEST_FOLDER = 8
_MARK = "phantoms.json"
_SOURCE = "phantom"
# An empty value says nothing: the images themselves decide.
_FACTS: dict[str, str | float] = {
    "source": _SOURCE,
    "boxes": "tight",
    "groups_are_runs": "no",
    "neighbours_are_one_patient": "no",
    "halved": "",
    "may_be_shown": "yes",
    "credit": "drawn phantoms",
}


def write_phantoms(folder: Path, *, images: int, seed: int) -> int:
    """Write a training data folder of phantoms: manifest, boxes, sources and PNG images.

    Each pair of images (one axial, one coronal) is one group, as of one patient; every other
    group has stones. The same numbers give the same bytes.

    Parameters
    ----------
    folder : Path
        Made if need be. A folder that this function filled before is filled anew.
    images : int
        At least `SMALLEST_FOLDER`.

    Returns
    -------
    int
        How many of the images show a stone.

    Raises
    ------
    FileExistsError
        If the folder holds anything that was not made here; nothing is changed then.
    ValueError
        If there would be too few images to train on.
    """
    if images < SMALLEST_FOLDER:
        raise ValueError(f"A training needs at least {SMALLEST_FOLDER} images, not {images}.")
    _clear(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    _write_text(folder / _MARK, json.dumps({"images": images, "seed": seed}) + "\n")
    _write_text(folder / "README.md", _README.format(images=images, seed=seed))
    manifest: list[tuple[str | float, ...]] = []
    boxes: list[tuple[str | float, ...]] = []
    for number in range(images):
        group, is_coronal = divmod(number, 2)
        has_stone = group % 2 == 0
        view: View = "coronal" if is_coronal else "axial"
        # Each image has numbers of its own, so that asking for more leaves the first ones alone.
        generator = np.random.default_rng([seed, number])
        phantom = make_phantom(view, has_stone=has_stone, generator=generator)
        name = f"images/phantom_{number:04d}.png"
        _, data = cv2.imencode(".png", apply_window(phantom.pixels_hu, SOFT_TISSUE))
        (folder / name).write_bytes(bytes(data))
        rows, columns = phantom.pixels_hu.shape
        label, finding = ("stone", "stone") if has_stone else ("no_stone", "normal")
        manifest.append(
            (name, _SOURCE, label, finding, f"phantom-G{group:03d}", view, columns, rows)
        )
        boxes.extend((name, *box) for box in phantom.boxes)
    _write_csv(folder / "boxes.csv", ("image", "x0", "y0", "x1", "y1"), boxes)
    _write_csv(folder / "sources.csv", tuple(_FACTS), [tuple(_FACTS.values())])
    header = ("image", "source", "label", "finding", "group", "view", "width", "height")
    # The manifest comes last: a folder without it is no data folder yet.
    _write_csv(folder / "manifest.csv", header, manifest)
    return sum(row[2] == "stone" for row in manifest)


def _clear(folder: Path) -> None:
    """Remove what an earlier run wrote, and refuse a folder that is somebody else's."""
    if not folder.exists():
        return
    ours = folder.is_dir() and (folder / _MARK).is_file()
    if not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} already holds something else, which is left as it is. "
            "Please name an empty or a new folder."
        )
    for name in ("manifest.csv", "boxes.csv", "sources.csv"):
        (folder / name).unlink(missing_ok=True)
    for image in (folder / "images").glob("phantom_*.png"):
        image.unlink()


def _write_csv(
    path: Path, header: tuple[str, ...], rows: Iterable[tuple[str | float, ...]]
) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


_README = """# Phantoms: synthetic training data

{images} drawn CT slices (seed {seed}) with known stones, made by `manage.py make_phantoms`. No
person was measured. They are for trying the training, never for a model that is to be used.

`manifest.csv`: image, source, label, finding, group, view, width, height. `boxes.csv`: image, x0,
y0, x1, y1 in pixels, tight around every stone. `sources.csv`: what holds for all of them.
"""
