"""Makes the pictures that the network reads of a volume, each with its place in the volume."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detection.imaging.anatomy import BodyPart, volume_parts
from detection.imaging.trunk import Trunk, find_trunk
from detection.imaging.volume import Plane, Volume
from detection.imaging.window import Window, apply_window, grey_slice
from detection.ml.preprocess import Preprocessing
from detection.ml.serving.findings import Edges, Rectangle


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture as it is read, and its place in the volume.

    Attributes
    ----------
    grey : np.ndarray
        uint8 `(rows, columns)`, windowed.
    spacing_mm : tuple of float or None
        Distance between its rows and between its columns.
    colour_spread : float
        As in `Volume`.
    is_known_ct : bool
        Whether the file says that the slice is axial or coronal and in Hounsfield units.
    plane, slice_index : str, int
        Plane, and index of the slice in the volume.
    image, origin : tuple of int
        `(rows, columns)` of the slice of which the picture is a part, and row and column where the
        part begins. Without `image` the picture is the whole slice.
    """

    grey: NDArray[np.uint8]
    spacing_mm: tuple[float, float] | None = None
    colour_spread: float = 0.0
    is_known_ct: bool = False
    plane: Plane = "unknown"
    slice_index: int = 0
    image: tuple[int, int] | None = None
    origin: tuple[int, int] = (0, 0)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the whole slice; boxes are given in its pixels."""
        rows, columns = self.image or self.grey.shape
        return rows, columns

    def to_volume(self, box: Rectangle) -> Edges:
        """Turn a box of the slice (x0, y0, x1, y1) into edges in the volume, as `Mark` has them."""
        x0, y0, x1, y1 = box
        return (x0, y0, float(self.slice_index), x1, y1, float(self.slice_index + 1))


@dataclass(frozen=True, eq=False)
class VolumePictures:
    """The pictures of a volume, each made when it is asked for.

    An axial volume in HU is cut to the trunk. Without a trunk every slice is a picture. Slices of
    another part of the body than the abdomen are none; `parts` names the part of each slice.
    """

    volume: Volume
    window: Window
    parts: tuple[BodyPart, ...]
    trunk: Trunk | None

    @property
    def count(self) -> int:
        """Number of pictures that `slices` makes."""
        return len(self._indices)

    def midline(self, slice_index: int) -> float | None:
        """Return the column of the body's middle in a slice; None without a trunk or an affine."""
        return self.trunk.midline(slice_index) if self.trunk and self.volume.affine_lps else None

    def slices(self) -> Iterator[Picture]:
        """Make a picture of each slice that shows the trunk, or of every slice without a trunk."""
        if self.trunk is None:
            for index in self._indices:
                yield _whole_slice(self.volume, index, self.window)
            return
        _, rows, columns = self.volume.pixels.shape
        top, _, left, _ = self.trunk.box
        for index in self._indices:
            pixels_hu = self.trunk.cut(self.volume.pixels[index], index)
            part = _slice_picture(self.volume, index, apply_window(pixels_hu, self.window))
            yield replace(part, image=(rows, columns), origin=(top, left))

    @property
    def _indices(self) -> list[int]:
        shown = self.trunk.slices if self.trunk else range(len(self.parts))
        return [index for index in shown if self.parts[index] is BodyPart.ABDOMEN]


def volume_pictures(volume: Volume, *, preprocessing: Preprocessing) -> VolumePictures:
    """Find the abdomen and its trunk in a volume, without making a picture yet."""
    parts = volume_parts(volume)
    trunk = find_trunk(volume)
    if trunk:
        abdomen = {i for i, part in enumerate(parts) if part is BodyPart.ABDOMEN}
        trunk = trunk.within(abdomen)
    return VolumePictures(volume=volume, window=_window(preprocessing), parts=parts, trunk=trunk)


def image_picture(volume: Volume, *, preprocessing: Preprocessing) -> Picture:
    """Make the picture of a single image, which is the whole of its first slice."""
    return _whole_slice(volume, 0, _window(preprocessing))


def _whole_slice(volume: Volume, index: int, window: Window) -> Picture:
    return _slice_picture(volume, index, grey_slice(volume, index, window=window))


def _slice_picture(volume: Volume, index: int, grey: NDArray[np.uint8]) -> Picture:
    return Picture(
        grey=grey,
        spacing_mm=volume.spacing_mm[1:] if volume.spacing_mm else None,
        colour_spread=volume.colour_spread,
        is_known_ct=volume.is_hu and volume.plane in ("axial", "coronal"),
        plane=volume.plane,
        slice_index=index,
    )


def _window(preprocessing: Preprocessing) -> Window:
    return Window(center_hu=preprocessing.window_center_hu, width_hu=preprocessing.window_width_hu)
