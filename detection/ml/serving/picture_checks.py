"""Cheap checks that refuse a picture, and the sentence for each refusal."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_SIDE_PX = 128
# Least side of a slice in HU, whose size in mm is known; it is cut to the trunk.
MIN_KNOWN_CT_SIDE_PX = 64
# Mean spread between the channels of a colour picture, of 255; JPEG noise of a grey one is below.
MAX_COLOUR_SPREAD = 4.0
_MAX_ASPECT = 2.5
_MIN_STANDARD_DEVIATION = 8.0
_MIN_BODY_SHARE = 0.05
# Correlation of neighbouring pixels: slices are above 0.88, noise of any kind is near 0.
_MIN_CORRELATION = 0.6
# Share of almost white pixels. Bone and contrast medium fill a fifth at most, paper nine tenths.
_WHITE = 240
_MAX_WHITE_SHARE = 0.4
# Air fills an eighth of a slice at least, and is white in an inverted one.
_MIN_INVERTED_WHITE_SHARE = 0.1

_SENTENCES = {
    "sagittal": "Sagittal slices cannot be assessed: please send axial or coronal ones.",
    "narrow": (
        "The image is too long and narrow to be an abdominal CT slice. Please upload one slice, "
        "not a strip or a sheet of several."
    ),
    "colour": "The image is in colour: a CT slice is grey. Please upload the CT image itself.",
    "blank": "The image is almost blank: there is nothing to assess. Please upload another slice.",
    "no_body": (
        "The image shows no body: there is nothing to assess. Please upload a slice at the level "
        "of the kidneys, with a soft-tissue window."
    ),
    "noise": (
        "The image is noise, without the smooth tissue of a CT slice. Please export it again from "
        "the scanner or the archive."
    ),
    "text": (
        "The image is mostly white, like a page of text or an inverted grey scale. Please upload "
        "the CT image itself, with white bone and black air."
    ),
    "rotated_90": (
        "The image lies on its side (turned by 90 degrees). Please turn it so that the front of "
        "the body (axial) or the head (coronal) is at the top."
    ),
    "rotated_180": (
        "The image is upside down (turned by 180 degrees or flipped). Please turn it so that the "
        "front of the body (axial) or the head (coronal) is at the top."
    ),
    "inverted": (
        "The grey scale is inverted: bone must be white and air black. Please export the image "
        "again with the usual grey scale."
    ),
    "unlike_ct": (
        "The image does not look like a CT slice in a soft-tissue window (it may be an "
        "ultrasound, a plain X-ray, an MRI or a photograph). Please upload an axial or coronal CT "
        "slice."
    ),
    "unlike_abdomen": (
        "The image does not look like a CT slice of the abdomen (it may show another part of the "
        "body, use another window, or be no CT). Please upload an axial or coronal slice at the "
        "level of the kidneys, with a soft-tissue window."
    ),
}


@dataclass(frozen=True)
class Refusal:
    """The reason why a slice is not assessed: a code for tables, a sentence for the reader."""

    code: str
    sentence: str


def refused(code: str) -> Refusal:
    return Refusal(code, _SENTENCES[code])


def picture_refusal(
    grey: NDArray[np.uint8], *, colour_spread: float, min_side_px: int = MIN_SIDE_PX
) -> Refusal | None:
    """Check the picture itself; return None if it passes.

    Parameters
    ----------
    grey : np.ndarray
        uint8 `(rows, columns)`, windowed.
    colour_spread : float
        As in `Volume`: mean over pixels of the largest minus the smallest colour channel.
    min_side_px : int
        Least length of the shorter side.
    """
    rows, columns = grey.shape
    if min(rows, columns) < min_side_px:
        return Refusal(
            "too_small",
            f"The image is too small to be assessed ({columns} x {rows} pixels; at least "
            f"{min_side_px} on each side are needed). Please upload it at its full size.",
        )
    if max(rows, columns) > _MAX_ASPECT * min(rows, columns):
        return refused("narrow")
    if colour_spread > MAX_COLOUR_SPREAD:
        return refused("colour")
    if float(grey.std()) < _MIN_STANDARD_DEVIATION:
        return refused("blank")
    if float((grey > 30).mean()) < _MIN_BODY_SHARE:
        return refused("no_body")
    if float((grey >= _WHITE).mean()) > _MAX_WHITE_SHARE:
        return refused("text")
    if _neighbour_correlation(grey) < _MIN_CORRELATION:
        return refused("noise")
    return None


def slice_refusal(
    grey: NDArray[np.uint8],
    *,
    colour_spread: float,
    seen: Refusal | None,
    min_side_px: int = MIN_SIDE_PX,
) -> Refusal | None:
    """Join the checks of the picture with the refusal that a gate has `seen` in its features.

    The faults of the picture come first. An inverted slice is as white as a page of text, and only
    the features tell the two apart. A picture without white is no inverted slice.
    """
    refusal = picture_refusal(grey, colour_spread=colour_spread, min_side_px=min_side_px)
    if seen and seen.code == "inverted":
        if float((grey >= _WHITE).mean()) < _MIN_INVERTED_WHITE_SHARE:
            seen = refused("unlike_ct")
        elif refusal and refusal.code == "text":
            return seen
    return refusal or seen


def _neighbour_correlation(grey: NDArray[np.uint8]) -> float:
    """Return the correlation of pixels with those to their right; the picture is not constant."""
    pixels = grey.astype(np.float32)
    return float(np.corrcoef(pixels[:, :-1].ravel(), pixels[:, 1:].ravel())[0, 1])
