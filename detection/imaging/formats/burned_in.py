"""Finds lines of text that a viewer has burnt into a grey picture, beside the body."""

import numpy as np
from numpy.typing import NDArray

from detection.imaging.errors import Code, Notice

BURNED_IN = Notice(
    Code.BURNED_IN,
    "Text is burnt into the image: it may name the patient, and marks on it are not of the body.",
)
_TISSUE, _INK = 30, 150
# Strokes of letters are thinner than this; the body is not.
_STROKE_PX, _MARGIN_PX = 7, 9
# Letters, as shares of the shorter side of the picture, and by their own height: at most so wide,
# so much lower or higher than their neighbour, so far from it.
_HEIGHT, _MIN_HEIGHT_PX = (0.012, 0.06), 5
_WIDTH, _UNLIKE, _GAP = 1.6, (0.6, 1.7), 1.2
# Side letters and scale marks are shorter than a line of this many letters. Of 3,609 training
# pictures, many with single marks, none has more than four in a row.
_LETTERS = 5


def has_burned_in_text(grey: NDArray[np.uint8]) -> bool:
    """Say whether a picture shows a line of five or more bright letters outside the body.

    Parameters
    ----------
    grey : np.ndarray
        uint8 `(rows, columns)`.
    """
    # Only pictures need it: a child that decodes DICOM does not load it.
    import cv2

    ink = ((grey >= _INK) & ~_around_body(grey)).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    low, high = (share * min(grey.shape) for share in _HEIGHT)
    letters = [
        (int(x), int(y + height), int(width), int(height))
        for x, y, width, height, _ in stats[1:]
        if max(low, _MIN_HEIGHT_PX) <= height <= high and width <= _WIDTH * height
    ]
    return any(_line_length(one, letters) >= _LETTERS for one in letters)


def _around_body(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    import cv2

    tissue = (grey > _TISSUE).astype(np.uint8)
    thick = cv2.morphologyEx(tissue, cv2.MORPH_OPEN, np.ones((_STROKE_PX, _STROKE_PX), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(thick)
    if count < 2:
        return np.zeros(grey.shape, bool)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    contours, _ = cv2.findContours(
        (labels == largest).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    body = cv2.drawContours(np.zeros_like(thick), contours, -1, 1, cv2.FILLED)
    return cv2.dilate(body, np.ones((_MARGIN_PX, _MARGIN_PX), np.uint8)).astype(bool)


def _line_length(
    letter: tuple[int, int, int, int], letters: list[tuple[int, int, int, int]]
) -> int:
    """Count the letters in the longest unbroken row at the height of one of them."""
    _, foot, _, height = letter
    low, high = _UNLIKE
    row = sorted(
        one
        for one in letters
        if abs(one[1] - foot) <= height / 3 and low <= one[3] / height <= high
    )
    longest = length = 1
    for left, right in zip(row, row[1:], strict=False):
        length = length + 1 if right[0] - left[0] - left[2] <= _GAP * height else 1
        longest = max(longest, length)
    return longest
