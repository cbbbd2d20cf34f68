"""What a model says of an image or a volume."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imaging.errors import Notice
from detection.ml.serving.findings import Finding

STONE = "stone"
NO_STONE = "no_stone"
CANNOT_ASSESS = "cannot_assess"


@dataclass(frozen=True)
class Assessment:
    """What the model says of a volume.

    `probability` is None exactly when the verdict is cannot_assess, and `reason` then says why.
    `stone_map` is floating `(slices, rows, columns)`, probabilities, covering exactly the image.
    `slice_probabilities` has one entry for each slice, None where it was not read;
    `coronal_probabilities` one for each coronal cut at the LPS y of `coronal_positions_mm`, and is
    empty where none was made. `findings` are the most probable first: the places on a picture,
    or the stones of a volume. `key_slices` are of volumes only. `operating_point` is the one that
    decided; empty where nothing was.
    """

    verdict: str
    probability: float | None
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    stone_map: NDArray[np.floating[Any]] | None = None
    notices: tuple[Notice, ...] = ()
    slice_probabilities: tuple[float | None, ...] = ()
    coronal_probabilities: tuple[float | None, ...] = ()
    coronal_positions_mm: tuple[float, ...] = ()
    key_slices: tuple[int, ...] = ()
    operating_point: Mapping[str, Any] = field(default_factory=dict)
