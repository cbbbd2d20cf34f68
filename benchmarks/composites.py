"""Draws stones into a real stone-free series and counts how many are found, by size and density.

    python -m benchmarks.composites SERIES --at COLUMN,ROW,SLICE --at COLUMN,ROW,SLICE ...

Each `--at` is the middle of a kidney on one slice. A stone of each size and density is drawn at
each place, with the blur of a scanner and the share of each voxel that it covers, and the slices
around it are read.
"""

import argparse
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from detection.imaging.ingest import ingest
from detection.imaging.volume import Volume, load_volume
from detection.ml.serving import open_predictor

SIZES_MM, DENSITIES_HU = (3, 4, 5, 6, 8, 10, 12), (300, 600, 1100)
_TISSUE_HU, _BLUR_MM, _SAMPLES = 33, 0.6, 5
_MODELS = Path(__file__).resolve().parent.parent / "ml_models"


def main() -> None:
    parser = argparse.ArgumentParser(description="Count drawn stones in a real series.")
    parser.add_argument("series", type=Path)
    parser.add_argument("--at", action="append", required=True, metavar="COLUMN,ROW,SLICE")
    options = parser.parse_args()
    places = [tuple(float(part) for part in place.split(",")) for place in options.at]
    predictor = open_predictor(root=_MODELS, model=None)
    with tempfile.TemporaryDirectory() as folder:
        (series,) = ingest([options.series], target_folder=Path(folder)).series
        volume = load_volume(series.volume_path)
        found: dict[tuple[int, int], list[bool]] = defaultdict(list)
        for size_mm in SIZES_MM:
            for hu in DENSITIES_HU:
                for number, place in enumerate(places):
                    generator = np.random.default_rng([size_mm, hu, number])
                    found[size_mm, hu].append(
                        _is_found(predictor, volume, place, size_mm, hu, generator)
                    )
        print(f"stone-free: {predictor.assess(volume).probability:.3f}")
    print("| mm | " + " | ".join(f"{hu} HU" for hu in DENSITIES_HU) + " |")
    print("|---|" + "---:|" * len(DENSITIES_HU))
    for size_mm in SIZES_MM:
        cells = (found[size_mm, hu] for hu in DENSITIES_HU)
        print(f"| {size_mm} | " + " | ".join(f"{sum(c)}/{len(c)}" for c in cells) + " |")


def _is_found(predictor, volume, place, size_mm, hu, generator) -> bool:
    """Say whether the slices around a drawn stone are called, with the stone among the findings."""
    column, row, index = np.array(place) + generator.uniform(-3, 3, 3) * (1, 1, 0.16)
    spacing = volume.spacing_mm
    reach = int(np.ceil(size_mm / 2 / spacing[0])) + 2
    first = max(0, round(index) - reach)
    around = replace(volume, pixels=volume.pixels[first : round(index) + reach + 1].copy())
    assessment = predictor.assess(_drawn(around, (column, row, index - first), size_mm, hu))
    return assessment.verdict == "stone" and any(
        x0 - 4 <= column <= x1 + 4 and y0 - 4 <= row <= y1 + 4
        for x0, y0, x1, y1 in (one.box for one in assessment.findings)
    )


def _drawn(volume: Volume, at: tuple[float, float, float], size_mm: float, hu: float) -> Volume:
    column, row, index = at
    slice_mm, row_mm, column_mm = volume.spacing_mm
    offsets = (np.arange(_SAMPLES) + 0.5) / _SAMPLES - 0.5
    margin = int(size_mm / min(row_mm, column_mm)) + 6
    top, left = int(row) - margin, int(column) - margin
    y = ((np.arange(top, top + 2 * margin)[:, None] + offsets).ravel() - row) * row_mm
    x = ((np.arange(left, left + 2 * margin)[:, None] + offsets).ravel() - column) * column_mm
    for number, pixels_hu in enumerate(volume.pixels):
        cover = np.zeros((2 * margin, 2 * margin), np.float32)
        for offset in offsets:
            z = (number + offset - index) * slice_mm
            inside = y[:, None] ** 2 + x[None] ** 2 + z**2 <= (size_mm / 2) ** 2
            shape = (2 * margin, _SAMPLES, 2 * margin, _SAMPLES)
            cover += inside.reshape(shape).mean(axis=(1, 3)) / _SAMPLES
        cover = cv2.GaussianBlur(cover, (0, 0), _BLUR_MM / column_mm)
        part = pixels_hu[top : top + 2 * margin, left : left + 2 * margin]
        part[:] = np.rint(part + cover * (hu - _TISSUE_HU)).clip(-1024, 3071)
    return volume


if __name__ == "__main__":
    main()
