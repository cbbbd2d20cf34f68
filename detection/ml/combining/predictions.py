"""Stores the maps that a bundle has of one part of a data folder, and joins those of members."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.ml.bundle import Bundle, open_bundle
from detection.ml.combining.maps import maps_of
from detection.ml.combining.progress import Progress, Report
from detection.ml.data import PARTS, Dataset, Sample, load_dataset, split
from detection.ml.errors import MLError
from detection.ml.serving import ServedNetwork

Maps = NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Predictions:
    """The maps that one network has of some images.

    Attributes
    ----------
    images : tuple of str
        Names of the images in the data folder.
    maps : np.ndarray
        float16 `(n, h / 8, w / 8)`: logits before the calibration.
    about : dict
        `bundle`, `digest`, `calibration` and `trained_on` (a fingerprint) of the network, and
        `fingerprint` of the data folder.
    """

    images: tuple[str, ...]
    maps: Maps
    about: dict[str, Any]

    def calibrated(self) -> dict[str, NDArray[np.float32]]:
        """Return the calibrated logits of each image's map."""
        told = self.about["calibration"]
        maps = told["slope"] * self.maps.astype(np.float32) + np.float32(told["intercept"])
        return dict(zip(self.images, maps.astype(np.float32), strict=True))

    def save(self, path: Path) -> None:
        """Write a file of arrays `images` and `maps`, with `about` as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                images=np.array(self.images, str),
                maps=self.maps,
                about=np.array(json.dumps(self.about)),
            )


def load_predictions(path: Path) -> Predictions:
    """Read a file of `Predictions.save`. Raises MLError if it is none."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return Predictions(
                images=tuple(archive["images"].tolist()),
                maps=archive["maps"],
                about=json.loads(str(archive["about"])),
            )
    except (OSError, ValueError, KeyError) as error:
        raise MLError(f"{path.name} is not a file that the verb predict wrote.") from error


def predicted(
    samples: Sequence[Sample],
    *,
    network: ServedNetwork,
    bundle: Bundle,
    fingerprint: str,
    progress: Progress,
) -> Predictions:
    """Read samples with the network of a bundle."""
    return Predictions(
        images=tuple(sample.image for sample in samples),
        maps=maps_of(samples, network=network, progress=progress),
        about={
            "bundle": bundle.name,
            "digest": bundle.digest,
            "calibration": bundle.calibration,
            "trained_on": bundle.manifest.get("data", {}).get("fingerprint", ""),
            "fingerprint": fingerprint,
        },
    )


def predict(
    *,
    data: Path,
    model: str,
    root: Path,
    part: str,
    out: Path,
    threads: int,
    report: Report,
) -> Predictions:
    """Read one part of a data folder with a bundle and write the maps to a file.

    Parameters
    ----------
    model : str
        The folder of a bundle, or its name in `root`.

    Raises
    ------
    MLError
        If the data or the bundle cannot be used.
    """
    bundle = open_bundle(model, roots=[root])
    dataset = load_dataset(data)
    samples = split(dataset.samples, parts=PARTS)[part]
    predictions = predicted(
        samples,
        network=ServedNetwork(bundle, threads=threads),
        bundle=bundle,
        fingerprint=dataset.fingerprint,
        progress=Progress("images read", total=len(samples), report=report),
    )
    predictions.save(out)
    return predictions


def check_fold(
    predictions: Predictions, *, dataset: Dataset, parts: Mapping[str, Sequence[Sample]]
) -> None:
    """Refuse predictions on which no weights may be fitted.

    Raises
    ------
    MLError
        If they are of other data, hold an image of the test part, or were made by a network that
        was trained on the images.
    """
    about, name = predictions.about, predictions.about["bundle"]
    if about["fingerprint"] != dataset.fingerprint:
        raise MLError(f"The predictions of {name} are those of another data folder.")
    held = set(predictions.images)
    if strangers := held - {sample.image for sample in dataset.samples}:
        raise MLError(f"The predictions of {name} name {min(strangers)}, which is no image here.")
    if tested := held & {sample.image for sample in parts["test"]}:
        raise MLError(
            f"The predictions of {name} hold {len(tested)} images of the test part, such as "
            f"{min(tested)}: no weights are fitted on the test part."
        )
    known = held & {sample.image for sample in parts["train"]}
    if known and about["trained_on"] == dataset.fingerprint:
        raise MLError(
            f"{name} was trained on {len(known)} of the images that it predicts, such as "
            f"{min(known)}. Please name predictions of a training without them."
        )


def joined(
    members: Sequence[Sequence[Predictions]],
) -> tuple[list[str], NDArray[np.float32]]:
    """Return the images of which every member has a map, and the calibrated maps.

    Where a member has several maps of an image, the first counts.

    Returns
    -------
    images : list of str
        Sorted.
    cells : np.ndarray
        float32 `(members, images, h / 8, w / 8)`.
    """
    held = []
    for several in members:
        maps: dict[str, NDArray[np.float32]] = {}
        for one in several:
            maps = one.calibrated() | maps
        held.append(maps)
    images = sorted(set.intersection(*(set(maps) for maps in held)))
    return images, np.stack([np.stack([maps[image] for image in images]) for maps in held])
