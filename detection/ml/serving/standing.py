"""Which marks of a map stand on a dense object, and what the others leave of the answer.

The map that is shown stays what the network said. The score of a slice is pooled from its cells
without those of marks that do not stand, so that slices, series, key slices and findings agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detection.imaging.measure import (
    DenseObject,
    Lack,
    Measurement,
    dense_object,
    measure_stone,
)
from detection.imaging.volume import Volume
from detection.ml.calibration import apply_platt
from detection.ml.preprocess import Letterbox, Preprocessing
from detection.ml.serving.findings import MIN_PROBABILITY, RIM, Edges, Rectangle

# A smaller bright spot is noise around one voxel.
_MIN_DIAMETER_MM = 1.0
# How far the contour of a stone may lie beyond what is joined to its peak, in mm.
_MARGIN_MM = 10.0


@dataclass(frozen=True, eq=False)
class Stone:
    """A dense object that a mark stands on, and its measures where the volume allows them."""

    object: DenseObject
    measurement: Measurement | None


@dataclass(eq=False)
class Ground:
    """Finds what the marks of a volume in Hounsfield units stand on.

    One object is judged and measured once, however many marks stand on it: those get the same
    `Stone`.
    """

    volume: Volume
    stones: list[Stone] = field(default_factory=list)

    def under(self, edges: Edges, *, peak: tuple[float, float] | None = None) -> Stone | None:
        """Return the stone under a mark; None if the mark holds none, or none to be measured.

        Parameters
        ----------
        edges : tuple of float
            Column, row and slice where the mark begins, then where it ends.
        peak : tuple of float, optional
            Column and row of the peak of the map.
        """
        found = dense_object(self.volume, edges, peak=peak)
        if isinstance(found, Lack):
            return None
        for stone in self.stones:
            if stone.object.peak == found.peak:
                return stone
        measurement = None
        if can_measure(self.volume):
            measurement = measure_stone(
                self.volume, found.peak, reach_mm=found.reach_mm + _MARGIN_MM
            )
            if measurement is None or measurement.diameter_mm < _MIN_DIAMETER_MM:
                return None
        self.stones.append(Stone(found, measurement))
        return self.stones[-1]


def can_measure(volume: Volume) -> bool:
    """Say whether stones of a volume can be measured in millimetres across its slices."""
    return (
        volume.is_hu
        and volume.spacing_mm is not None
        and min(volume.spacing_mm) > 0
        and volume.is_evenly_spaced
        and volume.pixels.shape[0] > 1
    )


def quieted(
    cells: NDArray[np.float32],
    *,
    box: Letterbox,
    origin: tuple[int, int],
    marks: Sequence[Rectangle],
    stands: Sequence[bool],
    calibration: dict[str, float],
) -> NDArray[np.float32]:
    """Return the cells of a canvas without those of the marks that do not stand.

    A cell whose probability could belong to a mark belongs to the nearest. Those of marks that do
    not stand get the median of the canvas, which is background.

    Parameters
    ----------
    cells : np.ndarray
        Logits of the canvas, float32 `(canvas height / 8, canvas width / 8)`.
    box : Letterbox
        The place of the picture on the canvas.
    origin : tuple of int
        Row and column of the slice where the picture begins.
    marks : sequence of tuple
        Boxes (x0, y0, x1, y1) in pixels of the slice.
    stands : sequence of bool
        Whether each mark stands.
    """
    if all(stands):
        return cells
    boxes = np.array(marks, np.float64)
    rows, columns = np.nonzero(apply_platt(cells, calibration) >= MIN_PROBABILITY * RIM)
    x = ((columns + 0.5) * Preprocessing.stride - box.offset_x) / box.scale_x + origin[1]
    y = ((rows + 0.5) * Preprocessing.stride - box.offset_y) / box.scale_y + origin[0]
    beside_x = np.maximum(np.maximum(boxes[:, 0] - x[:, None], x[:, None] - boxes[:, 2]), 0)
    beside_y = np.maximum(np.maximum(boxes[:, 1] - y[:, None], y[:, None] - boxes[:, 3]), 0)
    nearest = np.argmin(np.hypot(beside_x, beside_y), axis=1)
    falls = ~np.array(stands, bool)[nearest]
    quiet = cells.copy()
    quiet[rows[falls], columns[falls]] = np.median(cells)
    return quiet
