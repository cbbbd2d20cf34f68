"""The architecture of the model in service, and the weights a retraining starts from."""

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from detection.ml.backbones import BACKBONES, DEFAULT_BACKBONE
from detection.ml.bundle import backbone_name
from detection.selectors.model_card import model_manifest, model_members
from detection.selectors.registry import model_version_active, model_version_path


@dataclass(frozen=True)
class TrainingStart:
    """The start of a training: the value of `--init`, and its name for people.

    `warning` is a sentence if the start is a poor one.
    """

    init: str
    text: str
    warning: str = ""


def architecture_in_service() -> str:
    """Return the architecture of the model in service, or the default one if there is none.

    Of an ensemble it is that of the member that weighs most. A bundle that cannot be read counts
    as one that names no architecture. A training from it fails with a sentence on what is wrong
    with the bundle.
    """
    active = model_version_active()
    if active is None:
        return DEFAULT_BACKBONE
    if members := model_members(model_version=active):
        return max(members, key=lambda member: member.weight).backbone or DEFAULT_BACKBONE
    return backbone_name(model_manifest(model_version=active) or {})


def training_start(*, architecture: str) -> TrainingStart:
    """Return the start of a training of this architecture, one of `BACKBONES`.

    It is the model in service if that has the architecture; of an ensemble the member that has it,
    and of several the one that weighs most. Else it is the ImageNet weights below IMAGENET_ROOT,
    else random weights.
    """
    active = model_version_active()
    members = model_members(model_version=active) if active else []
    if fitting := [member for member in members if member.backbone == architecture]:
        member = max(fitting, key=lambda one: one.weight)
        return TrainingStart(
            init=str(member.path), text=f"{member.name}, a member of the model in service"
        )
    if active is not None and not members and architecture_in_service() == architecture:
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
            f"The model in service {'has no' if members else 'is not a'} {backbone.title}, and "
            "this installation has no "
            f"ImageNet weights of one ({backbone.imagenet.file}). From random weights a training "
            "needs many more images and epochs."
        ),
    )
