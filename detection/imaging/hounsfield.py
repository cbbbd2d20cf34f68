"""Judges by all its values whether an image holds Hounsfield units, whatever its format."""

import numpy as np
from numpy.typing import NDArray

from detection.imaging.errors import Code, ImageError, Notice

# Air, and the outside of the field of view.
AIR_HU = -1024
# Metal is brighter than this, and never lies in all corners of a slice.
_BRIGHTEST_HU = 2000
_LOWEST, _BINS = -(2**15), 2**16
# Fewer values than those of two of the smallest slices that are read (64 x 64) prove nothing.
_LEAST_VALUES = 2 * 64 * 64
# Padding is a value at either end (or a few next to each other, where lossy compression spread it)
# that is this common, and so many times as common as the values next to it. A scan is padded with
# up to three values: around a circle, a tilt, a cut.
_PADDING_SHARE, _PADDING_SPIKE, _PADDINGS_AT_MOST = 0.005, 4.0, 3
_SPREAD, _BEYOND, _STRAY = 16, 64, 0.0005
# An image of fewer other values was drawn without noise: then nothing is left out.
_LEAST_LEFT = 0.05
# Gas and lung. Their peak is at most this wide, and holds a quarter of what is darker than fat.
_GAS, _DARK, _PEAK_WIDTH, _PEAK_SHARE = (-1200, -600), -200, 200, 0.25
_AIR = (-1100, -900)
# Less than the first is no body: the image shows air or lung alone. Noise and streaks put less than
# the second below gas.
_LEAST_TISSUE, _TOO_LOW = 0.05, 0.05
# Peak of fat, muscle or organs, contrast medium included; bone never makes the highest peak.
_TISSUE, _SMOOTH = (-160, 300), 25
# Where tissue comes to lie if the usual intercept of -1024 (or -1000) is lost. A scan has some
# dense bone there, but always more bone of less density.
_LOST, _LESS_DENSE = (850, 1200), (400, 800)
_SENTENCE = "The values are not Hounsfield units: {why}. {advice}"
_OTHER_KIND = "this is a mask, a rescaled copy or another kind of image"
_EXPORT = "Please export the CT itself, in Hounsfield units."
_DOUBTFUL = Notice(
    Code.HU_DOUBTFUL,
    "The values look like Hounsfield units, but no air is seen to prove it. "
    "Please check densities against the original images.",
)


class HounsfieldJudge:
    """Collects the values of an image, slice by slice, and says whether they can be HU.

    HU are told by their peaks: air near -1000, fat and soft tissue between -120 and +80. Padding
    is left out: single values far more common than their neighbours, whatever they are.

    Parameters
    ----------
    is_declared : bool
        Whether the file says that its values are HU, as DICOM does. So few values that they prove
        nothing are then believed.
    """

    def __init__(self, *, is_declared: bool) -> None:
        self._is_declared = is_declared
        self._counts = np.zeros(_BINS, np.int64)
        self._range: tuple[float, float] | None = None

    def add(
        self, pixels_hu: NDArray[np.int16], *, representable: tuple[float, float] | None = None
    ) -> None:
        """Take in the values of one slice, of any shape.

        Parameters
        ----------
        representable : tuple of float, optional
            Lowest and highest HU that the stored bits can say, if they have a sign.
        """
        shifted = pixels_hu.ravel().astype(np.int32) - _LOWEST
        self._counts += np.bincount(shifted, minlength=_BINS)
        self._range = representable

    def is_offset_lost(self) -> bool:
        """Say whether the values are HU + 1024, as stored values without their intercept are."""
        content, _ = _without_padding(self._counts)
        seen = _Content(content)
        return self._counts.sum() >= _LEAST_VALUES and seen.is_offset_lost(least=0.1)

    def judge(self) -> tuple[Notice, ...]:
        """Return a notice if HU cannot be proved.

        Raises
        ------
        ImageError
            If the values are not HU.
        """
        if self._counts.sum() < _LEAST_VALUES:
            return () if self._is_declared else self._judge_few()
        content, padding = _without_padding(self._counts)
        if self._range and _is_wrapped(content, self._range):
            raise not_hu("negative and high values are mixed up (Pixel Representation)")
        below = content[: _GAS[0] - _LOWEST].sum() / content.sum()
        # Resampling smears padding over values that are no gas yet.
        content[: _GAS[0] - _LOWEST] = 0
        if not content.any():
            raise not_hu("they are far too low")
        seen = _Content(content)
        has_gas, is_gas_alone = seen.has_gas(), seen.share(_DARK, None) < _LEAST_TISSUE
        if seen.is_too_high() or (below > _TOO_LOW and (is_gas_alone or not has_gas)):
            raise not_hu("they are too low or too high, or of another unit")
        if has_gas and is_gas_alone:
            return ()
        if seen.is_offset_lost(least=0.1 if has_gas else 0.02):
            raise not_hu("they are about 1024 too high (Rescale Intercept)")
        if not has_gas and not seen.has_both_sides():
            raise not_hu(_OTHER_KIND)
        if not seen.has_tissue():
            raise not_hu("neither air nor soft tissue has the values it must have")
        has_air = has_gas or any(_AIR[0] <= value <= _AIR[1] for value in padding)
        return () if has_air else (_DOUBTFUL,)

    def _judge_few(self) -> tuple[Notice, ...]:
        seen = _Content(self._counts)
        if not seen.share(None, -50) or not seen.share(50, None) or seen.is_too_high():
            raise not_hu(_OTHER_KIND)
        return () if seen.share(None, -500) else (_DOUBTFUL,)


def darken_padding(pixels_hu: NDArray[np.int16]) -> None:
    """Make air, in place, of padding that would shine: one value in all four corners of a slice.

    Padding is not always told, and may be brighter than any bone: often it is a negative number
    that was read without its sign.
    """
    corners = pixels_hu[[0, 0, -1, -1], [0, -1, 0, -1]]
    if corners.min() == corners.max() and corners[0] > _BRIGHTEST_HU:
        pixels_hu[pixels_hu == corners[0]] = AIR_HU


def not_hu(why: str) -> ImageError:
    """Return the one error for values that are not HU, of whatever format."""
    return ImageError(_SENTENCE.format(why=why, advice=_EXPORT), code=Code.NOT_HU)


class _Content:
    """The counts of the values that are not padding."""

    def __init__(self, counts: NDArray[np.int64]) -> None:
        self._counts = counts
        self._below = np.concatenate([[0], np.cumsum(counts)])

    def share(self, first: int | None, end: int | None) -> float:
        """Return the share of values from `first` (None: the lowest) up to and without `end`."""
        low = 0 if first is None else first - _LOWEST
        high = _BINS if end is None else end - _LOWEST
        return float((self._below[high] - self._below[low]) / self._below[-1])

    def is_too_high(self) -> bool:
        # Metal and teeth seldom fill a tenth.
        return self.share(10_000, None) > 0.01 or self.share(_BRIGHTEST_HU, None) > 0.1

    def has_gas(self) -> bool:
        dark = self.share(_GAS[0], _DARK)
        starts = range(_GAS[0], _GAS[1] - _PEAK_WIDTH + 1, _SMOOTH)
        peak = max(self.share(start, start + _PEAK_WIDTH) for start in starts)
        return dark >= 0.02 and peak >= _PEAK_SHARE * dark

    def has_both_sides(self) -> bool:
        """Say whether values go below fat and above water, and what is dark is not too much."""
        return (
            self.share(None, -50) >= 0.005
            and self.share(50, None) >= 0.005
            and self.share(_GAS[0], _DARK) < 0.2
        )

    def is_offset_lost(self, *, least: float) -> bool:
        displaced = self.share(*_LOST)
        return displaced >= least and displaced > 1.5 * self.share(*_LESS_DENSE)

    def has_tissue(self) -> bool:
        start = _DARK - _LOWEST
        smooth = np.convolve(self._counts[start:], np.ones(_SMOOTH), "same")
        peak = int(np.argmax(smooth)) + _DARK
        return _TISSUE[0] <= peak <= _TISSUE[1]


def _without_padding(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[int]]:
    """Return the counts without padding, and the values that were left out."""
    left, padding = counts.copy(), []
    for _ in range(_PADDINGS_AT_MOST):
        found = _padding(left)
        if found is None:
            break
        padding.append(int(np.argmax(left[found])) + found.start + _LOWEST)
        left[found] = 0
    if left.sum() < _LEAST_LEFT * counts.sum():
        return counts.copy(), []
    return left, padding


def _padding(counts: NDArray[np.int64]) -> slice | None:
    """Find padding at the lower or the upper end of the values."""
    below = np.cumsum(counts)
    total = int(below[-1])
    low = int(np.searchsorted(below, _STRAY * total, "right"))
    high = int(np.searchsorted(below, (1 - _STRAY) * total))
    for padding, near in (
        (slice(0, low + _SPREAD), slice(low + _SPREAD, low + _BEYOND)),
        (
            slice(max(0, high - _SPREAD + 1), _BINS),
            slice(max(0, high - _BEYOND + 1), max(0, high - _SPREAD + 1)),
        ),
    ):
        inside = int(counts[padding].sum())
        if inside >= _PADDING_SHARE * total and inside > _PADDING_SPIKE * counts[near].sum():
            return padding
    return None


def _is_wrapped(counts: NDArray[np.int64], representable: tuple[float, float]) -> bool:
    """Say whether bone goes on at the lowest values where it leaves the highest.

    Values without a sign that are read with one do so: the half of them with the highest bit
    becomes negative.
    """
    lowest, highest = (round(value) - _LOWEST for value in representable)
    if lowest < 0 or highest >= _BINS:
        return False
    # The ends themselves may be padding or metal.
    top, bottom = counts[highest - 100 : highest].sum(), counts[lowest + 1 : lowest + 101].sum()
    return bool(top > 0 and 0.2 * top < bottom < 5 * top and bottom + top >= 20)
