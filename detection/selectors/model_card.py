"""The manifest of a model version, and the shipped model card with its figures."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from detection.ml.backbones import BACKBONES
from detection.ml.bundle import MANIFEST_NAME, backbone_name, members_told
from detection.ml.card import FOR, NOT_FOR, NOT_SEEN, Section, card_sections
from detection.ml.errors import BundleError
from detection.models import ModelVersion
from detection.selectors.registry import model_version_path

_METRICS_NAME = "metrics.json"


@dataclass(frozen=True)
class ModelCard:
    """The metrics of a report, and its sections in words, tables and figures."""

    metrics: dict[str, Any]
    sections: tuple[Section, ...]

    def describes(self, model_version: ModelVersion) -> bool:
        """Say whether the card is about exactly this version."""
        return self.metrics["model"]["digest"] == model_version.digest


@dataclass(frozen=True)
class MemberState:
    """One member of an ensemble, as its own `model.json` tells of it.

    `manifest` is None if the member is missing or not the one that the ensemble names.
    """

    name: str
    digest: str
    weight: float
    path: Path
    manifest: dict[str, Any] | None

    @property
    def backbone(self) -> str:
        """The name of its backbone; "" if it cannot be told."""
        return backbone_name(self.manifest) if self.manifest else ""

    @property
    def architecture(self) -> str:
        """The title of its backbone, or the name of one that this release does not know."""
        known = BACKBONES.get(self.backbone)
        return known.title if known else self.backbone

    @property
    def served_bytes(self) -> int | None:
        """The size of the file that is served."""
        told = self.manifest or {}
        file = told.get("serving", {}).get("file")
        return told.get("files", {}).get(file, {}).get("bytes")


def model_manifest(*, model_version: ModelVersion) -> dict[str, Any] | None:
    """Return the version's model.json; None if it is missing or not the registered one."""
    return _manifest(model_version_path(model_version=model_version), model_version.digest)


def model_members(*, model_version: ModelVersion) -> list[MemberState]:
    """Return the members of an ensemble, those that are gone too; an empty list for a network."""
    root = model_version_path(model_version=model_version).parent
    try:
        named = members_told(model_manifest(model_version=model_version) or {})
    except BundleError:
        # It was registered by a newer release: the page then shows the version alone.
        named = []
    return [
        MemberState(
            name=member.name,
            digest=member.digest,
            weight=member.weight,
            path=root / member.name,
            manifest=_manifest(root / member.name, member.digest),
        )
        for member in named
    ]


def _manifest(folder: Path, digest: str) -> dict[str, Any] | None:
    try:
        content = (folder / MANIFEST_NAME).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != digest:
        return None
    return json.loads(content)


def model_card() -> ModelCard | None:
    """Return the shipped model card; None if there is none that this release can read."""
    try:
        metrics = json.loads((_root() / _METRICS_NAME).read_text(encoding="utf-8"))
        return ModelCard(metrics=metrics, sections=tuple(card_sections(metrics)))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        # A card of an older report counts as none: the page then shows the model alone.
        return None


def intended_use() -> dict[str, tuple[str, ...]]:
    """Return what the model is for, what it is not for, and what it has not seen."""
    return {"uses": FOR, "not_uses": NOT_FOR, "not_seen": NOT_SEEN}


def model_card_figure(*, name: str) -> Path | None:
    """Return the path of a figure that the card names; None for every other name."""
    card = model_card()
    if card is None or name not in card.metrics["figures"]:
        return None
    path = _root() / name
    return path if path.is_file() and path.parent == _root() else None


def _root() -> Path:
    return Path(settings.MODEL_CARD_ROOT)
