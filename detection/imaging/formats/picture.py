"""Decodes PNG and JPEG pictures by Pillow to 8-bit grey without Hounsfield units."""

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from detection.imaging.errors import Code, ImageError, Notice, is_of_the_machine
from detection.imaging.formats.burned_in import BURNED_IN, has_burned_in_text
from detection.imaging.formats.kinds import Kind
from detection.imaging.limits import LIMITS, Limits
from detection.imaging.volume import Volume

EIGHT_BIT = Notice(Code.EIGHT_BIT, "8-bit picture: Hounsfield units are lost.")
_SIXTEEN_BIT = Notice(
    Code.SIXTEEN_BIT,
    "16-bit picture: read at 8 bits, from its darkest to its brightest value; "
    "Hounsfield units are lost.",
)
_SIXTEEN_BIT_COLOUR = Notice(
    Code.SIXTEEN_BIT, "16-bit colour picture: read at 8 bits; Hounsfield units are lost."
)
_ROWS_AT_ONCE = 512


def decode_picture(path: Path, *, kind: Kind, limits: Limits = LIMITS) -> Volume:
    """Decode a PNG or JPEG file.

    Parameters
    ----------
    kind : Kind
        PNG or JPEG, as `sniff` tells it.

    Returns
    -------
    Volume
        One slice, uint8 grey, turned by its EXIF orientation (274), with transparent parts black.
        The plane is unknown and there is no spacing.

    Raises
    ------
    ImageError
        If the picture is too large, animated, truncated or damaged, or needs too much memory.
    OSError
        If the file cannot be read.
    """
    try:
        # `_decode` refuses too many pixels with a sentence; this guards Pillow's own paths.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _decode(path, kind=kind, limits=limits)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(
            "The image needs more memory to be read than is allowed. "
            "Please upload the CT slice at its original size.",
            code=Code.OUT_OF_MEMORY,
        ) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(
            "The picture is too large to be read. Please upload the CT slice at its original size.",
            code=Code.TOO_MANY_PIXELS,
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"The {kind.upper()} picture is damaged or of a kind that cannot be read. "
            "Please export it again as an 8-bit picture."
        ) from error
    # Pillow raises these for a file that ends early, has a wrong checksum or a broken structure.
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        struct.error,
    ) as error:
        if is_of_the_machine(error):
            raise
        raise ImageError(
            f"The {kind.upper()} picture is damaged or was not copied completely. "
            "Please export or upload it again."
        ) from error


def _decode(path: Path, *, kind: Kind, limits: Limits) -> Volume:
    with Image.open(path, formats=[kind.upper()]) as image:
        refusal = limits.pixels_refusal(rows=image.height, columns=image.width)
        if refusal:
            raise ImageError(refusal, code=Code.TOO_MANY_PIXELS)
        if kind is Kind.PNG:
            if getattr(image, "is_animated", False):
                raise ImageError(
                    "The PNG picture is an animation. Please export the slice as a single picture.",
                    code=Code.ANIMATION,
                )
            # Loading alone does not check the checksums of the chunks.
            image.verify()
    with Image.open(path, formats=[kind.upper()]) as image:
        image.load()
        return _to_volume(image, is_sixteen_bit=kind is Kind.PNG and _png_bit_depth(path) == 16)


def _to_volume(loaded: Image.Image, *, is_sixteen_bit: bool) -> Volume:
    image = ImageOps.exif_transpose(loaded)
    if image.mode.startswith("I"):
        grey = _stretch(np.asarray(image))
        return _grey_volume(grey, (_SIXTEEN_BIT,))
    if image.has_transparency_data:
        upright = image.convert("RGBA")
        black = Image.new("RGBA", upright.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, upright).convert("RGB")
    colour_spread = 0.0
    if image.mode not in ("1", "L"):
        image = image.convert("RGB")
        colour_spread = _colour_spread(image)
    notices = (_SIXTEEN_BIT_COLOUR if is_sixteen_bit else EIGHT_BIT,)
    grey = np.asarray(image.convert("L"), np.uint8)
    return _grey_volume(grey, notices, colour_spread=colour_spread)


def _grey_volume(
    grey: NDArray[np.uint8], notices: tuple[Notice, ...], *, colour_spread: float = 0.0
) -> Volume:
    return Volume(
        pixels=grey[np.newaxis],
        is_hu=False,
        notices=(*notices, BURNED_IN) if has_burned_in_text(grey) else notices,
        colour_spread=colour_spread,
    )


def _stretch(values: NDArray[Any]) -> NDArray[np.uint8]:
    # Viewers write 10, 12 or 16 significant bits into such a file without saying how many.
    lowest, highest = int(values.min()), int(values.max())
    if lowest == highest:
        return np.zeros(values.shape, np.uint8)
    grey = (values.astype(np.float32) - lowest) * np.float32(255 / (highest - lowest))
    return np.rint(grey).astype(np.uint8)


def _colour_spread(image: Image.Image) -> float:
    total = 0
    for top in range(0, image.height, _ROWS_AT_ONCE):
        bottom = min(top + _ROWS_AT_ONCE, image.height)
        strip = np.asarray(image.crop((0, top, image.width, bottom)))
        total += int((strip.max(axis=-1) - strip.min(axis=-1)).sum(dtype=np.int64))
    return total / (image.width * image.height)


def _png_bit_depth(path: Path) -> int:
    with path.open("rb") as file:
        # The header chunk always comes first: signature 8, length and name 8, width, height.
        return file.read(25)[24]
