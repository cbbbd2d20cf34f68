"""Believes that a picture lies the wrong way only if it passes the gate once it is put right."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detection.ml.serving.gate import Gate
from detection.ml.serving.network import ServedNetwork
from detection.ml.serving.picture_checks import Refusal, refused
from detection.ml.serving.pictures import Picture

Grey = NDArray[np.uint8]

# What undoes each wrong way that the gate names; a slice on its left is one on its right, mirrored.
_RIGHTED: Mapping[str, tuple[Callable[[Grey], Grey], ...]] = {
    "rotated_90": (lambda grey: np.rot90(grey), lambda grey: np.rot90(grey, 3)),
    "rotated_180": (lambda grey: np.rot90(grey, 2), np.flipud),
    "inverted": (lambda grey: 255 - grey,),
}


def confirmed(
    refusals: Sequence[Refusal | None],
    pictures: Sequence[Picture],
    *,
    network: ServedNetwork,
    gate: Gate,
) -> list[Refusal | None]:
    """Read the pictures that are said to lie the wrong way once more, put right.

    A slice between the parts that the gate knows, as at the lung base or in the pelvis, is unlike
    them both upright and turned. It is called unlike the abdomen, not turned.

    Parameters
    ----------
    refusals : sequence of Refusal or None
        The gate's refusals of the pictures.

    Returns
    -------
    list of Refusal or None
        As given, but "unlike_abdomen" where no way of putting the picture right makes it pass.
    """
    judged = list(refusals)
    for index, refusal in enumerate(refusals):
        ways = _RIGHTED.get(refusal.code, ()) if refusal else ()
        righted = [_righted(pictures[index], way) for way in ways]
        batches = list(network.read(righted)) if righted else []
        passes = [one is None for batch in batches for one in gate.refusals(batch.features)]
        if righted and not any(passes):
            judged[index] = refused("unlike_abdomen")
    return judged


def _righted(picture: Picture, way: Callable[[Grey], Grey]) -> Picture:
    grey = np.ascontiguousarray(way(picture.grey))
    spacing = picture.spacing_mm
    if spacing and grey.shape != picture.grey.shape:
        spacing = (spacing[1], spacing[0])
    return replace(picture, grey=grey, spacing_mm=spacing)
