"""Draws a contact sheet of the images that were judged wrongly."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.ml.data import Sample
from detection.ml.evaluation.readings import Reading

_TILE_PX = 176


_GALLERY_LIMIT = 48


def draw_gallery(
    failures: Sequence[dict[str, Any]],
    *,
    samples: dict[str, Sample],
    readings: dict[str, Reading],
    stone_map: Callable[[Sample], NDArray[np.float32]],
    path: Path,
) -> int:
    """Draw a contact sheet of the failures as JPEG; return the number of images on it.

    Boxes of the reference are green, findings orange. The stone map replaces the pictures of a
    source that may not be shown.
    """
    shown = list({row["image"]: row for row in failures}.values())[:_GALLERY_LIMIT]
    if not shown:
        return 0
    tiles = []
    for row in shown:
        sample = samples[row["image"]]
        reading = readings[row["image"]]
        if sample.facts.may_be_shown:
            background = sample.read()
        else:
            cells = np.sqrt(np.clip(stone_map(sample), 0, 1))
            background = cv2.resize((cells * 200).astype(np.uint8), (reading.width, reading.height))
        tiles.append(_tile(background, sample, reading, row))
    columns = min(6, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    height, width = tiles[0].shape[:2]
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        y, x = index // columns * height, index % columns * width
        sheet[y : y + height, x : x + width] = tile
    cv2.imwrite(str(path), sheet, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return len(tiles)


def gallery_credits(samples: Sequence[Sample]) -> str:
    """Name the sources whose images the sheet shows, and those of whose it shows maps alone."""
    facts = {sample.source: sample.facts for sample in samples}
    shown, hidden = (
        ", ".join(
            facts[source].credit or source
            for source in sorted(facts)
            if facts[source].may_be_shown is may_be_shown
        )
        for may_be_shown in (True, False)
    )
    if not hidden:
        return f"Images of {shown}."
    whose = f"Images of {shown}; of" if shown else "Of"
    return f"{whose} {hidden} the stone map alone is shown."


def _tile(
    background: NDArray[np.uint8], sample: Sample, reading: Reading, row: dict[str, Any]
) -> NDArray[np.uint8]:
    scale = _TILE_PX / max(background.shape)
    small = cv2.resize(background, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture = cv2.cvtColor(small, cv2.COLOR_GRAY2BGR)
    for box in sample.boxes:
        _rectangle(picture, (box.x0, box.y0, box.x1, box.y1), scale, (80, 200, 0))
    for place, probability in reading.findings[:5]:
        if probability >= 0.2:
            _rectangle(picture, place, scale, (0, 140, 255))
    tile = np.full((_TILE_PX + 34, _TILE_PX + 8, 3), 255, np.uint8)
    tile[4 : 4 + picture.shape[0], 4 : 4 + picture.shape[1]] = picture
    where = f" {row['half']}" if row["half"] else ""
    first = f"{row['kind']}{where} p={row['probability']:.2f}"
    for line, text in enumerate((first, Path(row["image"]).stem[-26:])):
        cv2.putText(
            tile,
            text,
            (4, _TILE_PX + 16 + 13 * line),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.36,
            (40, 40, 40),
            1,
            cv2.LINE_AA,
        )
    return tile


def _rectangle(
    picture: NDArray[np.uint8],
    place: tuple[float, float, float, float],
    scale: float,
    colour: tuple[int, int, int],
) -> None:
    x0, y0, x1, y1 = (round(side * scale) for side in place)
    cv2.rectangle(picture, (x0 - 1, y0 - 1), (x1 + 1, y1 + 1), colour, 1)
