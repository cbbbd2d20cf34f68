"""The backbones that a network can be trained on, by name. Adding one: its file, and its line here.

Nothing here imports Keras: the web process asks these records too.
"""

from detection.ml.backbones.record import Arrays, Backbone, ImageNetWeights, Normalisation, Stage
from detection.ml.backbones.resnet50 import RESNET50
from detection.ml.errors import MLError

BACKBONES: dict[str, Backbone] = {
    RESNET50.name: RESNET50,
}
# What is trained unless another one is asked for.
DEFAULT_BACKBONE = RESNET50.name
# What bundles and trainings hold that are older than the choice, and name none.
FIRST_BACKBONE = RESNET50.name

__all__ = [
    "Arrays",
    "BACKBONES",
    "Backbone",
    "DEFAULT_BACKBONE",
    "FIRST_BACKBONE",
    "ImageNetWeights",
    "Normalisation",
    "Stage",
    "backbone_of",
]


def backbone_of(name: str) -> Backbone:
    """Return the backbone of this name. Raises MLError, naming those there are, if it is none."""
    if name not in BACKBONES:
        raise MLError(
            f"There is no architecture called {name!r} here. Choose one of: {', '.join(BACKBONES)}."
        )
    return BACKBONES[name]
