"""Reads values of the command line: sizes, numbers for each source, augmentations to leave out."""

import re
from typing import TYPE_CHECKING

from detection.ml.errors import MLError

if TYPE_CHECKING:
    from detection.ml.training import Augmentation


def crop_size(text: str | None) -> tuple[int, int] | None:
    """Read HEIGHTxWIDTH in pixels, both multiples of 32. Raises MLError for anything else."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise MLError("--crop takes a height and a width in pixels, for example 288x352.")
    height, width = (int(side) for side in match.groups())
    if not height or not width or height % 32 or width % 32:
        raise MLError("--crop takes multiples of 32, for example 288x352.")
    return height, width


def numbers(texts: list[str]) -> dict[str, int]:
    """Read SOURCE=N pairs, N above 0. Raises MLError for anything else."""
    found = {}
    for text in texts:
        source, _, number = text.partition("=")
        if not source or not number.isdecimal() or not int(number):
            raise MLError("--per-source takes a source and a number, for example islam2022=20.")
        found[source] = int(number)
    return found


def augmentation(switched_off: list[str]) -> "Augmentation":
    """Return the default augmentation without the named changes. Raises MLError for other names."""
    # `detection.ml.training` imports Keras, which takes seconds: only the verbs that train need it.
    from detection.ml.training import Augmentation, without

    try:
        return without(Augmentation(), switched_off)
    except ValueError as error:
        raise MLError(str(error)) from error
