"""Which members of an ensemble see a place that the ensemble marks.

A member sees a place if its own map, calibrated by its own calibration, reaches its own balanced
threshold there. `seen_by` holds a truth value for each member, in the order of the ensemble; it is
empty for a single network.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.ml.serving.findings import Rectangle
from detection.ml.serving.stone_map import part_of

SeenBy = tuple[bool, ...]


def seen_by(
    box: Rectangle,
    *,
    maps: Sequence[NDArray[np.float32]],
    thresholds: Sequence[float],
    size: tuple[int, int],
) -> SeenBy:
    """Say of each member whether it sees what lies in a box.

    Parameters
    ----------
    box : tuple of float
        x0, y0, x1, y1 in pixels of the slice.
    maps : sequence of np.ndarray
        The map of each member over exactly the area of the slice, as probabilities.
    thresholds : sequence of float
        The balanced threshold of each member.
    size : tuple of int
        `(rows, columns)` of the slice.
    """
    return tuple(
        bool(part_of(one, box, size=size)[0].max() >= threshold)
        for one, threshold in zip(maps, thresholds, strict=True)
    )


def seen_anywhere(held: Iterable[SeenBy]) -> SeenBy:
    """Say of each member whether it sees at least one of several places."""
    return tuple(any(one) for one in zip(*held, strict=True))


def agreement(seen: SeenBy) -> dict[str, Any]:
    """Return the fields of a `Finding` that count the members; none for a single network."""
    return {"members_seeing": sum(seen), "members": len(seen)} if seen else {}
