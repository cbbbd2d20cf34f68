"""The input gate: it refuses pictures that are no axial or coronal CT slice of the abdomen.

The cheap checks of `picture_checks` judge the picture itself. A `Gate` judges the features of the
network: which way up the picture lies, and how far its features are from those of the training
images. `training.gate_fit` fits it on the training images of a model.
"""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detection.ml.bundle import Bundle, gate_bundle
from detection.ml.errors import BundleError
from detection.ml.serving.network import Array, Features
from detection.ml.serving.picture_checks import Refusal, refused

GATE_NAME = "gate.npz"

# The nearest-neighbour distance is that to the 10th nearest training image.
NEIGHBOURS = 10
# The classes of the orientation classifier, in the order of its outputs.
UPRIGHT = "upright"
ORIENTATIONS = (UPRIGHT, "rotated_90", "rotated_180", "inverted")

_DEPTH_ARRAYS = ("mean", "components", "whitening", "memory")
_GATE_ARRAYS = ("center", "scale", "weights", "bias", "far")
_LIMITS = ("max_score", "min_upright")


@dataclass(frozen=True, eq=False)
class Depth:
    """The training images' features at one depth of the network, each vector of length 1.

    Attributes
    ----------
    mean : np.ndarray
        `(d,)`.
    components : np.ndarray
        `(k, d)`, the principal components.
    whitening : np.ndarray
        `(k, k)`: turns principal coordinates into ones of unit variance, so that their length is
        the Mahalanobis distance.
    memory : np.ndarray
        `(m, d)`, vectors of training images.
    """

    mean: Array
    components: Array
    whitening: Array
    memory: Array

    def distances(self, features: Array) -> Array:
        """Measure in three ways how far vectors lie from the training images.

        Parameters
        ----------
        features : np.ndarray
            `(n, d)`, vectors of any length.

        Returns
        -------
        np.ndarray
            `(n, 3)`. First, the Mahalanobis distance within the principal components (Lee et al.
            2018, arXiv:1807.03888). Second, the length of what the components leave over. Third,
            the distance to the `NEIGHBOURS`-th nearest training image (Sun et al. 2022,
            arXiv:2204.06507).
        """
        vectors = unit_length(features)
        centred = vectors - self.mean
        principal = centred @ self.components.T
        inside = np.linalg.norm(principal @ self.whitening, axis=1)
        outside = np.linalg.norm(centred - principal @ self.components, axis=1)
        squared = np.maximum(2 - 2 * vectors @ self.memory.T, 0)
        rank = min(NEIGHBOURS, self.memory.shape[0]) - 1
        nearest = np.sqrt(np.partition(squared, rank, axis=1)[:, rank])
        return np.stack([inside, outside, nearest], axis=1)


@dataclass(frozen=True, eq=False)
class Gate:
    """A gate fitted on a model's own training images.

    Attributes
    ----------
    depths : mapping
        From the name of a feature output to the training images' features there; at least one.
    center, scale : np.ndarray
        `(3 * depths,)`: mean and standard deviation of each distance over validation images.
    weights, bias : np.ndarray
        `(d, orientations)` and `(orientations,)`: the linear orientation classifier, over the
        unit-length features of all depths.
    far : np.ndarray
        `(orientations,)`: 99th percentile of the scores of CT slices that lie so; 0 for the right
        way up.
    max_score : float
        The highest score that passes.
    min_upright : float
        The lowest probability of the right way up that passes.
    """

    depths: Mapping[str, Depth]
    center: Array
    scale: Array
    weights: Array
    bias: Array
    far: Array
    max_score: float
    min_upright: float

    def scores(self, features: Features) -> Array:
        """Return how unlike the training images slices are: their mean distance in SD, `(n,)`."""
        distances = [depth.distances(features[name]) for name, depth in self.depths.items()]
        return ((np.concatenate(distances, axis=1) - self.center) / self.scale).mean(axis=1)

    def orientations(self, features: Features) -> Array:
        """Return the probability of each of `ORIENTATIONS`, `(n, 4)`."""
        logits = joined(features, self.depths) @ self.weights + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def refusals(
        self, features: Features, *, is_known_ct: bool | Sequence[bool] = False
    ) -> list[Refusal | None]:
        """Judge slices by their features; None for a slice that passes.

        Parameters
        ----------
        features : mapping
            `(n, d)` for each feature output.
        is_known_ct : bool or sequence of bool
            Whether the file says that a slice is axial or coronal, in HU, and which way up: for all
            slices or for each. Such a slice may lie as far out as turned slices of the abdomen.
        """
        scores, odds = self.scores(features), self.orientations(features)
        known = np.broadcast_to(is_known_ct, scores.shape)
        return [
            self._refusal(float(score), shares, is_known_ct=bool(one))
            for score, shares, one in zip(scores, odds, known, strict=True)
        ]

    def _refusal(self, score: float, odds: Array, *, is_known_ct: bool) -> Refusal | None:
        if is_known_ct:
            return refused("unlike_abdomen") if score > self._far_turned else None
        wrong = int(odds[1:].argmax()) + 1
        is_wrong = bool(odds[0] < self.min_upright)
        # A picture that is farther out than CT slices that lie so is no such slice.
        if is_wrong and score <= self.far[wrong]:
            return refused(ORIENTATIONS[wrong])
        if score > self._far_turned:
            return refused("unlike_ct")
        return refused("unlike_abdomen") if is_wrong or score > self.max_score else None

    @property
    def _far_turned(self) -> float:
        turned = [self.far[ORIENTATIONS.index(name)] for name in ("rotated_90", "rotated_180")]
        return float(max(self.max_score, *turned))


def unit_length(features: Array) -> Array:
    """Scale vectors `(n, d)` to length 1: direction carries content, length mostly contrast."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)


def joined(features: Features, names: Iterable[str]) -> Array:
    """Join the unit-length features of several depths: `(n, sum of d)`."""
    return np.concatenate([unit_length(features[name]) for name in names], axis=1)


def load_gate(bundle: Bundle) -> Gate | None:
    """Read the gate of a bundle; None for a bundle without one.

    The gate of an ensemble is that of the member it names: it judges that network's features.

    Raises
    ------
    BundleError
        If the file is not a gate. (`load_bundle` has compared its checksum already.)
    """
    bundle = gate_bundle(bundle)
    told: dict[str, Any] = bundle.manifest.get("gate", {})
    if "file" not in told:
        return None
    try:
        return read_gate(bundle.path / told["file"], told)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BundleError(
            f"The input gate of the model bundle {bundle.name} cannot be read."
        ) from error


def read_gate(path: Path, told: Mapping[str, Any]) -> Gate:
    """Read the arrays that `write_gate` wrote; `told` holds the limits, as in `model.json`."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name].astype(np.float32) for name in archive.files}
    names = sorted({name.split("/")[0] for name in arrays if "/" in name})
    fields: dict[str, Any] = {key: arrays[key] for key in _GATE_ARRAYS}
    fields |= {key: float(told[key]) for key in _LIMITS}
    return Gate(
        depths={
            name: Depth(**{key: arrays[f"{name}/{key}"] for key in _DEPTH_ARRAYS}) for name in names
        },
        **fields,
    )


def write_gate(gate: Gate, path: Path) -> dict[str, float]:
    """Write the arrays of a gate, those of its depths as float16; return its limits.

    The limits go into `model.json`.
    """
    arrays = {key: getattr(gate, key) for key in _GATE_ARRAYS}
    for name, depth in gate.depths.items():
        for key in _DEPTH_ARRAYS:
            arrays[f"{name}/{key}"] = getattr(depth, key).astype(np.float16)
    np.savez_compressed(path, **arrays)
    return {key: float(getattr(gate, key)) for key in _LIMITS}
