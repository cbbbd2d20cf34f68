"""What is judged: an image, or each half of an image where a source has no stone-free images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.ml.data.dataset import Box, Sample

UNIT = "image, or half image where a source is judged by halves"
# As in the published pointing game: a place this close to a box counts as on it.
POINTING_PX = 12.0
WHOLE, LEFT, RIGHT = "", "left", "right"


@dataclass(frozen=True)
class Item:
    """One judged picture: a sample, or its left or right half as it is displayed."""

    sample: Sample
    half: str
    is_stone: bool

    @property
    def key(self) -> str:
        return f"{self.sample.image}#{self.half}" if self.half else self.sample.image

    def crop(self, grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the item's part of the sample's pixels."""
        middle = grey.shape[1] // 2
        if self.half == LEFT:
            return grey[:, :middle]
        return grey[:, middle:] if self.half == RIGHT else grey


def halved_sources(samples: Sequence[Sample]) -> frozenset[str]:
    """Name the sources whose halves are judged.

    Those that the data folder says are, and, where it says nothing, those that hold stone images
    alone.
    """
    labels: dict[str, set[bool]] = {}
    said: dict[str, bool] = {}
    for sample in samples:
        labels.setdefault(sample.source, set()).add(sample.is_stone)
        if sample.facts.is_halved is not None:
            said[sample.source] = sample.facts.is_halved
    return frozenset(source for source, seen in labels.items() if said.get(source, seen == {True}))


def judged_items(samples: Sequence[Sample], *, halved: frozenset[str]) -> list[Item]:
    """List the items of the samples, in their order.

    A half is positive if it holds the centre of a box.

    Parameters
    ----------
    halved : frozenset of str
        The sources judged by halves, as `halved_sources` of the whole data set names them: a
        part or a subsample must be judged like the whole.
    """
    items = []
    for sample in samples:
        if sample.source not in halved or not sample.boxes:
            items.append(Item(sample=sample, half=WHOLE, is_stone=sample.is_stone))
            continue
        middle = sample.read().shape[1] / 2
        centres = [(box.x0 + box.x1) / 2 for box in sample.boxes]
        left, right = any(x < middle for x in centres), any(x >= middle for x in centres)
        items.append(Item(sample=sample, half=LEFT, is_stone=left))
        items.append(Item(sample=sample, half=RIGHT, is_stone=right))
    return items


def is_near_box(sample: Sample, x: float, y: float) -> bool:
    """Say whether a place of the image, in pixels, lies within `POINTING_PX` of a box."""
    return any(_distance(x, y, box) <= POINTING_PX for box in sample.boxes)


def _distance(x: float, y: float, box: Box) -> float:
    across = max(box.x0 - x, 0.0, x - box.x1)
    down = max(box.y0 - y, 0.0, y - box.y1)
    return float(np.hypot(across, down))
