"""What a retraining can be of, and what it would start from."""

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from detection.ml.backbones import BACKBONES, DEFAULT_BACKBONE
from detection.ml.bundle import backbone_name
from detection.selectors.model_card import model_manifest
from detection.selectors.registry import model_version_active, model_version_path


@dataclass(frozen=True)
class TrainingStart:
    """What a training starts from: the value of `--init`, and how a person is told.

    `warning` is a sentence where the start is a poor one.
    """

    init: str
    text: str
    warning: str = ""


def architecture_in_service() -> str:
    """Return the architecture of the model in service, or the default one if there is none.

    A model version whose bundle cannot be read counts as one of before there was a choice: to
    train from it then fails with the sentence that says what is wrong with the bundle.
    """
    active = model_version_active()
    if active is None:
        return DEFAULT_BACKBONE
    return backbone_name(model_manifest(model_version=active) or {})


def training_start(*, architecture: str) -> TrainingStart:
    """Return what a training of this architecture, one of `BACKBONES`, starts from now.

    The model in service if it is of that architecture, else the ImageNet weights that the
    installation keeps below IMAGENET_ROOT, else random values.
    """
    active = model_version_active()
    if active is not None and architecture_in_service() == architecture:
        return TrainingStart(init=str(model_version_path(model_version=active)), text=active.name)
    backbone = BACKBONES[architecture]
    weights = Path(settings.IMAGENET_ROOT) / backbone.imagenet.file
    if weights.is_file():
        source = f"{backbone.imagenet.source} (licence: {backbone.imagenet.licence})"
        return TrainingStart(init=str(weights), text=f"ImageNet weights of {source}")
    return TrainingStart(
        init="random",
        text="random weights",
        warning=(
            f"The model in service is not a {backbone.title}, and this installation has no "
            f"ImageNet weights of one ({backbone.imagenet.file}). From random weights a training "
            "needs many more images and epochs."
        ),
    )
