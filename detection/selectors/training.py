"""What a retraining starts from and learns from, and the values it takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

from detection.ml.backbones import (
    BACKBONES,
    BUNDLE,
    DEFAULT_BACKBONE,
    IMAGENET,
    RANDOM,
    RECIPES,
    TRAINED,
)
from detection.ml.bundle import backbone_name
from detection.models import ModelVersion
from detection.selectors.model_card import model_manifest, model_members
from detection.selectors.registry import model_root, model_version_active

# For a form: the kinds of start in words.
STARTS = {
    BUNDLE: "the model in service or a member of it, else the newest of that architecture",
    IMAGENET: "ImageNet weights of this installation",
    RANDOM: "random values",
}


@dataclass(frozen=True)
class TrainingStart:
    """The start of a training: its kind, the value of `--init`, and its name for people.

    `warning` is a sentence if the start is a poor one.
    """

    kind: str
    init: str
    text: str
    warning: str = ""


@dataclass(frozen=True)
class TrainingPlan:
    """What a training will do: the values that were asked for, and the advised ones of the rest.

    `teacher` is the name of a bundle whose map is learnt too, or "". `trained` is a name of
    `ml.backbones.TRAINED`.
    """

    architecture: str
    start: TrainingStart
    epochs: int
    learning_rate: float
    trained: str
    crop: bool
    refit: bool
    teacher: str

    @property
    def options(self) -> dict[str, Any]:
        """Return the values that a run keeps beside its own columns."""
        return {
            "start": self.start.kind,
            "bundle": self.start.text if self.start.kind == BUNDLE else "",
            "learning_rate": self.learning_rate,
            "trained": self.trained,
            "crop": self.crop,
            "refit": self.refit,
            "teacher": self.teacher,
        }


@dataclass(frozen=True)
class _Network:
    """A network in service: the model itself, or a member of an ensemble with its weight."""

    name: str
    architecture: str
    weight: float


def architecture_in_service() -> str:
    """Return the architecture of the model in service, or the default one if there is none.

    Of an ensemble it is that of the heaviest member. A bundle that cannot be read counts as one
    that names no architecture. A training from it fails with a sentence on what is wrong with it.
    """
    heaviest = _heaviest(_in_service())
    return heaviest.architecture if heaviest else DEFAULT_BACKBONE


def training_start(*, architecture: str, wanted: str = "") -> TrainingStart:
    """Return the start of a training of this architecture, one of `BACKBONES`.

    It is the model in service (or its heaviest member) of that architecture, else the newest
    recorded one, else the ImageNet weights below IMAGENET_ROOT, else random values; `wanted`, one
    of `STARTS`, asks for one kind.

    Raises ValidationError if there are no such weights here.
    """
    backbone = BACKBONES[architecture]
    serving = [one for one in _in_service() if one.architecture == architecture]
    bundle = _heaviest(serving) or _newest(architecture)
    file = Path(settings.IMAGENET_ROOT) / backbone.imagenet.file
    has_weights = bool(backbone.imagenet.file) and file.is_file()
    if wanted == BUNDLE and not bundle:
        raise ValidationError(
            f"No model of this installation is a {backbone.title}. Please choose another start."
        )
    if wanted == IMAGENET and not has_weights:
        raise ValidationError(f"{_no_imagenet(architecture)} Please choose another start.")
    if bundle and wanted in ("", BUNDLE):
        path = bundle_path(name=bundle.name)
        return TrainingStart(kind=BUNDLE, init=str(path), text=bundle.name)
    if has_weights and wanted in ("", IMAGENET):
        source = f"{backbone.imagenet.source} (licence: {backbone.imagenet.licence})"
        return TrainingStart(kind=IMAGENET, init=str(file), text=f"ImageNet weights of {source}")
    told = "" if wanted else f"No model of this installation is a {backbone.title}. "
    told += "" if has_weights else f"{_no_imagenet(architecture)} "
    return TrainingStart(
        kind=RANDOM,
        init=RANDOM,
        text="random values",
        warning=f"{told}From random values a training needs many more images and epochs.",
    )


def training_plan(
    *,
    architecture: str,
    start: str = "",
    epochs: int | None = None,
    learning_rate: float | None = None,
    trained: str = "",
    crop: bool = False,
    refit: bool = False,
    teacher: bool = True,
) -> TrainingPlan:
    """Return what a training will do. An empty value stands for the advised one.

    A teacher is the model in service (or its heaviest member) of another architecture; a training
    that starts from more than random values has none.

    Raises ValidationError if the start that is asked for is not to be had.
    """
    chosen = training_start(architecture=architecture, wanted=start)
    recipe = RECIPES[chosen.kind]
    others = [one for one in _in_service() if one.architecture != architecture]
    learns_from = _heaviest(others) if teacher and chosen.kind == RANDOM else None
    return TrainingPlan(
        architecture=architecture,
        start=chosen,
        epochs=recipe.epochs if epochs is None else epochs,
        learning_rate=recipe.learning_rate if learning_rate is None else learning_rate,
        trained=trained or recipe.trained,
        crop=crop,
        refit=refit,
        teacher=learns_from.name if learns_from else "",
    )


def training_facts(options: dict[str, Any]) -> list[tuple[str, str]]:
    """Say in words what the options of a plan or a run are; nothing of a run that has none."""
    if not options:
        return []
    return [
        ("Starts from", options["bundle"] or STARTS[options["start"]]),
        ("Learns from", options["teacher"] or "the labels alone"),
        ("Learning rate", f"{options['learning_rate']:g}"),
        ("Trained", TRAINED.get(options["trained"], options["trained"])),
        ("Pictures", "parts of them" if options["crop"] else "whole"),
        ("Refit", "trained again with the validation part" if options["refit"] else "no"),
    ]


def bundle_path(*, name: str) -> Path:
    """Return the folder of a bundle of this installation, whether or not it is still there."""
    shipped, own = (
        model_root(origin=origin) / name
        for origin in (ModelVersion.Origin.SHIPPED, ModelVersion.Origin.SITE)
    )
    return shipped if shipped.is_dir() else own


def _no_imagenet(architecture: str) -> str:
    backbone = BACKBONES[architecture]
    if not backbone.imagenet.file:
        return f"There are no ImageNet weights of {backbone.title}."
    return (
        f"This installation has no ImageNet weights of {backbone.title}: "
        f"{backbone.imagenet.file} is not in {Path(settings.IMAGENET_ROOT).name}/ of its data "
        "folder."
    )


def _heaviest(networks: list[_Network]) -> _Network | None:
    return max(networks, key=lambda network: network.weight, default=None)


def _newest(architecture: str) -> _Network | None:
    """Return the newest recorded network of an architecture whose bundle is as recorded."""
    for version in ModelVersion.objects.order_by("-pk"):
        manifest = model_manifest(model_version=version)
        if manifest and backbone_name(manifest) == architecture:
            return _Network(version.name, architecture, 1.0)
    return None


def _in_service() -> list[_Network]:
    """List the networks in service; of an ensemble its members that are what it names."""
    active = model_version_active()
    if active is None:
        return []
    members = model_members(model_version=active)
    if not members:
        manifest = model_manifest(model_version=active) or {}
        return [_Network(active.name, backbone_name(manifest), 1.0)]
    return [_Network(one.name, one.backbone, one.weight) for one in members if one.manifest]
