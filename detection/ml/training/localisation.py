"""Matches findings with boxed stones: the pointing game and the FROC curve."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.ml.data import Box, Sample, is_near_box
from detection.ml.serving import Located, Rectangle

FALSE_FINDINGS = (0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Stones:
    """The boxed stones of a list of images, and the findings that overlap none of them.

    Attributes
    ----------
    scores : np.ndarray
        Probability of the highest finding that overlaps each stone, 0 without one.
    sides : np.ndarray
        Longest side of each stone's box in px.
    groups, image_index : np.ndarray
        Patient group of each stone, and index of its image in the list.
    false_scores : np.ndarray
        Probabilities of the findings that overlap no stone.
    images : int
        Number of images.
    """

    scores: NDArray[np.float64]
    sides: NDArray[np.float64]
    groups: NDArray[np.str_]
    image_index: NDArray[np.int64]
    false_scores: NDArray[np.float64]
    images: int

    def found(self, threshold: float) -> NDArray[np.bool_]:
        """Mark the stones that a finding at or above the threshold overlaps."""
        return (self.scores >= threshold) & (self.scores > 0)


def match_stones(samples: Sequence[Sample], findings: Sequence[Sequence[Located]]) -> Stones:
    """Match the findings of each image with its boxes by any overlap."""
    scores: list[float] = []
    sides: list[float] = []
    groups: list[str] = []
    places: list[int] = []
    false_scores: list[float] = []
    for index, (sample, located) in enumerate(zip(samples, findings, strict=True)):
        for box in sample.boxes:
            hits = [p for place, p in located if overlaps(place, box)]
            scores.append(max(hits, default=0.0))
            sides.append(max(box.x1 - box.x0, box.y1 - box.y0))
            groups.append(sample.group)
            places.append(index)
        false_scores += [
            probability
            for place, probability in located
            if not any(overlaps(place, box) for box in sample.boxes)
        ]
    return Stones(
        scores=np.array(scores, np.float64),
        sides=np.array(sides, np.float64),
        groups=np.array(groups, str),
        image_index=np.array(places, np.int64),
        false_scores=np.array(false_scores, np.float64),
        images=len(samples),
    )


def threshold_at(stones: Stones, *, false_per_image: float) -> float:
    """Return the lowest threshold with at most `false_per_image` false findings an image."""
    allowed = int(np.floor(false_per_image * stones.images + 1e-9))
    ordered = np.sort(stones.false_scores)[::-1]
    if len(ordered) <= allowed:
        return 0.0
    # The threshold lies just above the first false finding too many; equal ones fall together.
    return float(np.nextafter(ordered[allowed], np.inf))


def froc_curve(stones: Stones) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false findings an image and share of stones found, from the highest threshold down."""
    thresholds = np.unique(np.concatenate([stones.scores, stones.false_scores]))[::-1]
    thresholds = thresholds[thresholds > 0]
    if not len(thresholds) or not len(stones.scores):
        return np.zeros(0), np.zeros(0)
    false = np.array([(stones.false_scores >= t).sum() for t in thresholds], np.float64)
    found = np.array([stones.found(t).mean() for t in thresholds], np.float64)
    return false / max(1, stones.images), found


def points_at_stone(sample: Sample, findings: Sequence[Located]) -> bool:
    """Say whether the centre of the best finding lies within 12 px of a boxed stone."""
    if not findings:
        return False
    (x0, y0, x1, y1), _ = max(findings, key=lambda finding: finding[1])
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return is_near_box(sample, x, y)


def overlaps(place: Rectangle, box: Box) -> bool:
    """Say whether two rectangles share some area."""
    x0, y0, x1, y1 = place
    return x0 < box.x1 and box.x0 < x1 and y0 < box.y1 and box.y0 < y1


def size_classes(sides: NDArray[np.float64]) -> tuple[NDArray[np.int64], list[float]]:
    """Return the tertile of each stone by its longest side, 0 to 2, and the two limits."""
    limits = [float(limit) for limit in np.percentile(sides, (100 / 3, 200 / 3))]
    return np.searchsorted(limits, sides, side="left").astype(np.int64), limits
