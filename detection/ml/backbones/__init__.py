"""The backbones of the stone-map network, by name; a new one is its file and a line here.

Nothing here imports Keras, because the web process reads these records too.
"""

from detection.ml.backbones.densenet169 import DENSENET169
from detection.ml.backbones.googlenet import GOOGLENET
from detection.ml.backbones.mobilenetv2 import MOBILENETV2
from detection.ml.backbones.recipe import (
    BUNDLE,
    CROP,
    IMAGENET,
    MAX_EPOCHS,
    MAX_LEARNING_RATE,
    MIN_LEARNING_RATE,
    RANDOM,
    RECIPES,
    TRAINED,
    WRONG_EPOCHS,
    WRONG_LEARNING_RATE,
    Recipe,
    check_bounds,
)
from detection.ml.backbones.record import Arrays, Backbone, ImageNetWeights, Normalisation, Stage
from detection.ml.backbones.resnet50 import RESNET50
from detection.ml.errors import MLError

BACKBONES: dict[str, Backbone] = {
    RESNET50.name: RESNET50,
    DENSENET169.name: DENSENET169,
    MOBILENETV2.name: MOBILENETV2,
    GOOGLENET.name: GOOGLENET,
}
# The backbone that is trained unless another one is asked for.
DEFAULT_BACKBONE = RESNET50.name
# The backbone of bundles and trainings that are older than the choice and name none.
FIRST_BACKBONE = RESNET50.name

__all__ = [
    "Arrays",
    "BACKBONES",
    "BUNDLE",
    "Backbone",
    "CROP",
    "DEFAULT_BACKBONE",
    "FIRST_BACKBONE",
    "IMAGENET",
    "ImageNetWeights",
    "MAX_EPOCHS",
    "MAX_LEARNING_RATE",
    "MIN_LEARNING_RATE",
    "Normalisation",
    "RANDOM",
    "RECIPES",
    "Recipe",
    "Stage",
    "TRAINED",
    "WRONG_EPOCHS",
    "WRONG_LEARNING_RATE",
    "backbone_of",
    "check_bounds",
]


def backbone_of(name: str) -> Backbone:
    """Return the backbone of this name. Raises MLError, which lists the names, for another one."""
    if name not in BACKBONES:
        raise MLError(
            f"There is no architecture called {name!r} here. Choose one of: {', '.join(BACKBONES)}."
        )
    return BACKBONES[name]
