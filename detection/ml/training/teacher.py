"""The teacher of a training: the network of a bundle, whose map another network learns."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.ml.backbones import backbone_of
from detection.ml.bundle import load_bundle
from detection.ml.calibration import sigmoid
from detection.ml.errors import MLError
from detection.ml.training.pretrained import WEIGHTS_NAME, trained_network

# From inputs, float32 `(n, h, w, 3)`, to the probabilities of their maps, `(n, h / 8, w / 8)`.
Teacher = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def open_teacher(folder: Path, *, height: int, width: int) -> Teacher:
    """Build the network of a bundle for inputs of any size, as a teacher.

    It is the network itself and not the served file, whose input has one size: a teacher reads the
    parts of canvases that its pupil reads (Beyer et al. 2022, arXiv:2106.05237).

    Parameters
    ----------
    height, width : int
        Size of the inputs in pixels.

    Raises
    ------
    MLError
        If the bundle cannot be loaded, or is none of a single network.
    """
    bundle = load_bundle(folder)
    bundle.check_single()
    path = bundle.path / WEIGHTS_NAME
    if not path.is_file():
        raise MLError(f"The model {bundle.name} holds no weights, so that it cannot be a teacher.")
    backbone = backbone_of(bundle.backbone)
    network = trained_network(path, backbone=backbone, height=height, width=width)
    network.trainable = False

    def teach(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = network.predict_on_batch(inputs)[..., 0]
        return sigmoid(logits).astype(np.float32)

    return teach
