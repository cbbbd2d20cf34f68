"""The record of a reading: the answer of a model about an image or a volume."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imaging.errors import Notice
from detection.ml.serving.answer import Extent
from detection.ml.serving.findings import Finding


@dataclass(frozen=True)
class Assessment:
    """The answer of a model about an image or a volume.

    Attributes
    ----------
    verdict : str
        `STONE`, `NO_STONE` or `CANNOT_ASSESS` of `answer`. With the last one places, map and scores
        are those of the slices that were read, if any.
    probability : float or None
        Calibrated for a single image, and of the highest slice of a volume in HU; None exactly if
        the verdict is `CANNOT_ASSESS`.
    reason : str
        The sentence that says why the image cannot be assessed, else "".
    extent : Extent or None
        How much was read; None only while the answer is being made.
    findings : tuple of Finding
        The places on a picture, or the stones of a volume, the most probable first.
    stone_map : np.ndarray or None
        Floating `(slices, rows, columns)`: probabilities over exactly the area of the image, as the
        network gives them, marks that do not stand included.
    notices : tuple of Notice
        What must stand beside the answer about a volume.
    slice_probabilities : tuple of float or None
        One for each slice; None for a slice that was not read.
    unread_because : tuple of str
        For each slice of a volume why it was not read, as `answer.unread_words` takes it; "" for
        one that was.
    key_slices : tuple of int
        The slices of a volume to look at first.
    operating_point : mapping
        The operating point that decided, as in `model.json`.
    """

    verdict: str
    probability: float | None
    reason: str = ""
    extent: Extent | None = None
    findings: tuple[Finding, ...] = ()
    stone_map: NDArray[np.floating[Any]] | None = None
    notices: tuple[Notice, ...] = ()
    slice_probabilities: tuple[float | None, ...] = ()
    unread_because: tuple[str, ...] = ()
    key_slices: tuple[int, ...] = ()
    operating_point: Mapping[str, Any] = field(default_factory=dict)
