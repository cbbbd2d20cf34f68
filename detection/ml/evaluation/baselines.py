"""Features that know nothing of stones, and the file of the baselines' scores."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.ml.errors import DatasetError

FORMAT = 1
_BODY_GREY = 30


def body_brightness(grey: NDArray[np.uint8]) -> float:
    """Return the share of body pixels with grey 140 to 225; contrast medium raises it."""
    body = grey > _BODY_GREY
    return float(((grey >= 140) & (grey <= 225)).sum() / max(1, int(body.sum())))


def bright_blobs(grey: NDArray[np.uint8]) -> float:
    """Count small bright spots: components of a white top-hat, up to about a stone in size."""
    scale = 320 / max(grey.shape)
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15))
    spots = (cv2.morphologyEx(small, cv2.MORPH_TOPHAT, kernel) > 90).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(spots, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return float(((areas >= 4) & (areas <= 400)).sum())


def image_width(grey: NDArray[np.uint8]) -> float:
    """Return the width in pixels, which depends on the export and through it on the class."""
    return float(grey.shape[1])


def load_baselines(path: Path, *, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Read a file of `run_baselines` and put its scores into the order of `keys`.

    Raises
    ------
    DatasetError
        If the file cannot be read, has another format, or lacks an item of `keys`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"The baselines in {path.name} cannot be read.") from error
    if content.get("format") != FORMAT or set(keys) - set(content["keys"]):
        raise DatasetError(f"{path.name} holds no baselines of this test part. Run them again.")
    place = {key: index for index, key in enumerate(content["keys"])}
    order = [place[key] for key in keys]
    return [
        {**row, "scores": [row["scores"][index] for index in order]} for row in content["baselines"]
    ]
