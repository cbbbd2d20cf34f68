"""What is not an axial or coronal abdominal CT slice is not assessed, and the reason is said.

Cheap checks look at the picture itself; a `Gate`, fitted on the training images of a model
(`gate_fit`), looks at what the network sees: which way up the picture is, and how far its
features lie from those of every image the model was trained on.
"""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detection.ml.bundle import Bundle
from detection.ml.errors import BundleError
from detection.ml.serving.network import Array, Features
from detection.ml.serving.picture_checks import Refusal, refused

GATE_NAME = "gate.npz"

# Which training image the nearest-neighbour distance is measured to; the published choice.
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
        """How far vectors lie from the training images, in three ways.

        Parameters
        ----------
        features : np.ndarray
            `(n, d)`, of any length.

        Returns
        -------
        np.ndarray
            `(n, 3)`: the Mahalanobis distance within the principal components (Lee et al. 2018,
            arXiv:1807.03888), what the components leave over, and the distance to the
            `NEIGHBOURS`-th nearest training image (Sun et al. 2022, arXiv:2204.06507).
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
    """What a model's own training images say of a slice; without depths it lets all pass.

    Attributes
    ----------
    depths : dict
        Feature output of the network to the training images' features there.
    center, scale : np.ndarray
        `(3 * depths,)`: mean and standard deviation of each distance over validation images.
    weights, bias : np.ndarray
        `(d, orientations)` and `(orientations,)`: the linear orientation classifier, over the
        unit-length features of all depths.
    far : np.ndarray
        `(orientations,)`: the highest score of a CT slice that lies so; 0 for the right way.
    max_score : float
        The highest score that passes.
    min_upright : float
        The lowest probability of lying the right way that passes.
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
        """How unlike the training images: the mean of all distances, standardised; `(n,)`."""
        distances = [depth.distances(features[name]) for name, depth in self.depths.items()]
        return ((np.concatenate(distances, axis=1) - self.center) / self.scale).mean(axis=1)

    def orientations(self, features: Features) -> Array:
        """Probability of each of `ORIENTATIONS`, `(n, 4)`."""
        logits = joined(features, self.depths) @ self.weights + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def refusals(
        self, features: Features, *, is_known_ct: bool | Sequence[bool] = False
    ) -> list[Refusal | None]:
        """Judge slices by their features, `(n, d)` each; None where nothing speaks against one.

        Parameters
        ----------
        is_known_ct : bool or sequence of bool
            Whether the file says that these are axial or coronal slices in Hounsfield units, and
            which way up; of all, or of each. They may then lie as far out as any turned slice of
            the abdomen does.
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
        # What is farther out than any CT slice that lies so is no such slice.
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
    """Put the unit-length features of several depths side by side."""
    return np.concatenate([unit_length(features[name]) for name in names], axis=1)


def load_gate(bundle: Bundle) -> Gate | None:
    """Read the gate of a bundle; None for a bundle without one.

    Raises
    ------
    BundleError
        If the file is not a gate. (`load_bundle` has compared its checksum.)
    """
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
    """Write the arrays of a gate; return its limits, which go into `model.json`.

    What is large is stored as float16.
    """
    arrays = {key: getattr(gate, key) for key in _GATE_ARRAYS}
    for name, depth in gate.depths.items():
        for key in _DEPTH_ARRAYS:
            arrays[f"{name}/{key}"] = getattr(depth, key).astype(np.float16)
    np.savez_compressed(path, **arrays)
    return {key: float(getattr(gate, key)) for key in _LIMITS}
