"""What is not a readable CT slice is not assessed: cheap checks before the network sees it."""

import numpy as np
from numpy.typing import NDArray

MIN_SIDE_PX = 128
# Mean spread between the channels of a colour picture, of 255; JPEG noise of a grey one is below.
MAX_COLOUR_SPREAD = 4.0
_MIN_STANDARD_DEVIATION = 8.0
_MAX_ASPECT = 2.5


def refusal(grey: NDArray[np.uint8], *, colour_spread: float) -> str:
    """Say why a slice cannot be assessed, in one sentence, or return "".

    Parameters
    ----------
    grey : np.ndarray
        uint8 `(rows, columns)`, windowed.
    colour_spread : float
        As in `Volume`: mean over pixels of the largest minus the smallest colour channel.
    """
    rows, columns = grey.shape
    if min(rows, columns) < MIN_SIDE_PX:
        return (
            f"The image is too small to be assessed ({columns} x {rows} pixels; at least "
            f"{MIN_SIDE_PX} on each side are needed). Please upload it at its full size."
        )
    if max(rows, columns) > _MAX_ASPECT * min(rows, columns):
        return "The image is too long and narrow to be an abdominal CT slice."
    if colour_spread > MAX_COLOUR_SPREAD:
        return "The image is in colour: a CT slice is grey. Please upload the CT image itself."
    if float(grey.std()) < _MIN_STANDARD_DEVIATION:
        return "The image is almost blank: there is nothing to assess."
    if _body_share(grey) < 0.05:
        return "The image shows no body: there is nothing to assess."
    return ""


def _body_share(grey: NDArray[np.uint8]) -> float:
    """Share of pixels brighter than air under the soft-tissue window."""
    return float((grey > 30).mean())
