"""How a network is trained unless somebody asks for other values, and what may be asked for."""

from dataclasses import dataclass

from detection.ml.errors import MLError

MAX_EPOCHS = 20
MIN_LEARNING_RATE, MAX_LEARNING_RATE = 1e-6, 1e-2
WRONG_EPOCHS = f"The number of epochs must be between 1 and {MAX_EPOCHS}."
WRONG_LEARNING_RATE = (
    f"The learning rate must be between {MIN_LEARNING_RATE:f} and {MAX_LEARNING_RATE}."
)
# What the last stage of a training changes, by the name that `--unfreeze` takes.
TRAINED = {
    "head": "the head and the deepest stage",
    "upper": "the head and the two deepest stages",
    "all": "every convolution",
}
# Height and width of the parts of a canvas that cost a third less than all of it.
CROP = (288, 352)
# The kinds of weights that a training starts from.
BUNDLE, IMAGENET, RANDOM = "bundle", "imagenet", "random"


@dataclass(frozen=True)
class Recipe:
    """The values of a training; `trained` is a name of `TRAINED`."""

    epochs: int
    learning_rate: float
    trained: str


# An architecture takes the recipe of the weights that there are for it. From random values it
# needs more and larger steps; the lower stages of a bundle have learnt what they can.
RECIPES = {
    BUNDLE: Recipe(epochs=4, learning_rate=1e-4, trained="upper"),
    IMAGENET: Recipe(epochs=5, learning_rate=2e-4, trained="all"),
    RANDOM: Recipe(epochs=12, learning_rate=1e-3, trained="all"),
}


def check_bounds(*, epochs: int | None, learning_rate: float | None) -> None:
    """Raise MLError, with the sentence of the administration, for a number out of bounds."""
    if epochs is not None and not 1 <= epochs <= MAX_EPOCHS:
        raise MLError(WRONG_EPOCHS)
    if learning_rate is not None and not (MIN_LEARNING_RATE <= learning_rate <= MAX_LEARNING_RATE):
        raise MLError(WRONG_LEARNING_RATE)
