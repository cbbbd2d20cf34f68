"""Near-copies: neighbouring slices and exports of one scan, found by a perceptual hash.

Two of them on the two sides of a split would let a model recognise what it should judge.
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.ml.data.dataset import Sample
from detection.ml.errors import DatasetError

# Which part each known image belongs to, whatever folder it lies in: no retraining on a site can
# learn from what the shipped model was judged on.
SPLIT_FILE = Path(__file__).with_name("split.csv")
HASH_BITS = 255
# Of 255 bits. In the training data half of all slices differ from their nearest neighbour of the
# same series by at most 8, and no two images of different patients by less than 50.
MAX_DISTANCE = 24
_SIDE = 64
_FREQUENCIES = 16


@dataclass(frozen=True)
class NearCopy:
    """Two images of different parts that look alike."""

    first: str
    second: str
    parts: tuple[str, str]
    distance: int


def perceptual_hash(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Hash an image by the signs of its low frequencies.

    The image is shrunk to 64 x 64 pixels; of its cosine transform the 16 x 16 lowest
    frequencies, without the mean, are compared with their median.

    Parameters
    ----------
    grey : np.ndarray
        uint8 `(rows, columns)`.

    Returns
    -------
    np.ndarray
        bool `(255,)`.
    """
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    return np.asarray(low > np.median(low))


def near_copies(parts: Mapping[str, Sequence[Sample]]) -> list[NearCopy]:
    """Find the pairs of images in different parts that are near-copies, mirrored ones included.

    For each image of a part at most its nearest copy in each later part is named.
    """
    hashes = {name: _hashes(held, mirrored=False) for name, held in parts.items() if len(held) > 0}
    found = []
    names = list(hashes)
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            mirrored = _hashes(parts[other], mirrored=True)
            distances = np.minimum(
                _distances(hashes[name], hashes[other]), _distances(hashes[name], mirrored)
            )
            nearest = distances.argmin(axis=1)
            for row, column in enumerate(nearest):
                distance = int(distances[row, column])
                if distance <= MAX_DISTANCE:
                    found.append(
                        NearCopy(
                            first=parts[name][row].image,
                            second=parts[other][int(column)].image,
                            parts=(name, other),
                            distance=distance,
                        )
                    )
    return found


def check_near_copies(parts: Mapping[str, Sequence[Sample]]) -> None:
    """Refuse a split with a near-copy on two sides.

    Raises
    ------
    DatasetError
        Naming the closest pair and how many there are.
    """
    found = near_copies(parts)
    if found:
        worst = min(found, key=lambda pair: pair.distance)
        raise DatasetError(
            f"{worst.first} ({worst.parts[0]}) and {worst.second} ({worst.parts[1]}) are "
            f"near-copies ({worst.distance} of {HASH_BITS} bits differ; {len(found)} such images "
            "in all): give the images of one patient the same group in manifest.csv."
        )


def check_split_file(parts: Mapping[str, Sequence[Sample]], path: Path) -> None:
    """Refuse a split that differs from the one a file has fixed.

    The file is a CSV: `sha256` of each image file, and its `part`. Images that it does not know
    may be anywhere: new data may come.

    Raises
    ------
    DatasetError
        If an image stands in another part than the file says, or the file cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            fixed = {row["sha256"]: row["part"] for row in csv.DictReader(file)}
    except (OSError, KeyError, csv.Error) as error:
        raise DatasetError(f"The split file {path.name} cannot be read.") from error
    for name, held in parts.items():
        for sample in held:
            was = fixed.get(_sha256(sample), name)
            if was != name:
                raise DatasetError(
                    f"{sample.image} stands in the {name} part, but the split file {path.name} "
                    f"has fixed it in the {was} part."
                )


def _sha256(sample: Sample) -> str:
    return hashlib.sha256(sample.path.read_bytes()).hexdigest()


def _hashes(samples: Sequence[Sample], *, mirrored: bool) -> NDArray[np.float32]:
    hashes = []
    for sample in samples:
        grey = sample.read()
        hashes.append(perceptual_hash(np.ascontiguousarray(grey[:, ::-1]) if mirrored else grey))
    return np.array(hashes, np.float32)


def _distances(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Count the differing bits of each pair, by matrix products."""
    return a @ (1 - b).T + (1 - a) @ b.T
