"""Reads a bundle, and verifies it whenever it is loaded."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detection.ml.backbones import FIRST_BACKBONE
from detection.ml.calibration import wilson_interval
from detection.ml.errors import BundleError
from detection.ml.preprocess import Preprocessing

FORMAT = 1
MANIFEST_NAME = "model.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,98}")
_ENSEMBLE = "ensemble"
# The weights of an ensemble are written with few digits.
_WEIGHT_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Member:
    """One network of an ensemble, as the ensemble's `model.json` names it.

    `digest` is the SHA-256 of the member's own `model.json`. The weights of an ensemble are not
    negative, and their sum is 1.
    """

    name: str
    digest: str
    weight: float


@dataclass(frozen=True)
class Bundle:
    """One verified bundle: what `model.json` says, and where the files are.

    `networks` are the verified bundles of an ensemble's members, in its order.
    """

    path: Path
    digest: str
    manifest: dict[str, Any]
    networks: tuple["Bundle", ...] = ()

    @property
    def name(self) -> str:
        return self.manifest["name"]

    @property
    def backbone(self) -> str:
        """The name of its backbone, whether or not this version knows one of that name."""
        return backbone_name(self.manifest)

    @property
    def is_ensemble(self) -> bool:
        """Whether it holds no network of its own, but names other bundles: its `members`."""
        return self.manifest.get("kind") == _ENSEMBLE

    @property
    def members(self) -> tuple[Member, ...]:
        """The members of an ensemble, in its order; empty for a single network."""
        return tuple(members_told(self.manifest))

    @property
    def preprocessing(self) -> Preprocessing:
        with _complete(self.path):
            return Preprocessing(**self.manifest["preprocessing"])

    @property
    def operating_point(self) -> dict[str, Any]:
        """The default operating point: name, threshold, sensitivity, specificity, unit, n."""
        with _complete(self.path):
            return self.manifest["operating_points"][self.manifest["default_operating_point"]]

    @property
    def series_point(self) -> dict[str, Any]:
        """The point that decides about a series; without a series rule, that of single images."""
        told = self.manifest.get("series")
        if told is None:
            return dict(self.operating_point)
        with _complete(self.path):
            return dict(told.get("operating_point") or _point_of_counts(told))

    @property
    def checked_point(self) -> dict[str, Any]:
        """The point that decides about a volume in HU; without one, that of single images."""
        told = self.manifest.get("series", {}).get("checked", {})
        return dict(told.get("operating_point") or self.operating_point)

    @property
    def metrics(self) -> dict[str, Any]:
        return self.manifest["metrics"]

    @property
    def calibration(self) -> dict[str, float]:
        return self.manifest["calibration"]

    @property
    def serving_path(self) -> Path:
        self.check_single()
        with _complete(self.path):
            name = self.manifest["serving"]["file"]
            # Only what is listed was verified.
            _ = self.manifest["files"][name]
        return self.path / name

    def check_single(self) -> None:
        """Raise a BundleError if it is an ensemble, which has no weights of its own."""
        if self.is_ensemble:
            names = ", ".join(member.name for member in self.members)
            raise BundleError(
                f"{self.name} is an ensemble, which has no weights of its own. Please name one of "
                f"its members: {names}."
            )


def load_bundle(path: Path, *, expected_digest: str | None = None) -> Bundle:
    """Verify a bundle and return it.

    Every file named in `model.json` is read and its SHA-256 compared. `expected_digest` is the
    SHA-256 of `model.json` itself, as the registry or `ml_models/default` recorded it. The members
    of an ensemble are verified with it.

    Raises
    ------
    BundleError
        If anything is missing, damaged or of another format. Nothing is ever read from a
        bundle that fails.
    """
    manifest_path = path / MANIFEST_NAME
    try:
        content = manifest_path.read_bytes()
        manifest = json.loads(content)
    except FileNotFoundError as error:
        raise BundleError(
            f"The model bundle {path.name} is missing. Restore its folder from the release, or "
            "put another model version into service."
        ) from error
    except (OSError, ValueError) as error:
        raise BundleError(f"The model bundle {path.name} has an unreadable model.json.") from error
    digest = hashlib.sha256(content).hexdigest()
    if expected_digest and digest != expected_digest:
        raise BundleError(
            f"The model bundle {path.name} is not the one that was registered: its model.json "
            "has changed. Restore its folder, or put another model version into service."
        )
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(
            f"The model bundle {path.name} has a format that this version does not read."
        )
    with _complete(path):
        recorded_sums = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        _ = manifest["name"]
    for file_name, recorded_sum in recorded_sums.items():
        if Path(file_name).name != file_name:
            raise BundleError(f"The model bundle {path.name} names a file outside its folder.")
        try:
            actual = sha256_of(path / file_name)
        except OSError as error:
            raise BundleError(
                f"The model bundle {path.name} lacks its file {file_name}. Restore the folder."
            ) from error
        if actual != recorded_sum:
            raise BundleError(
                f"The model bundle {path.name} is damaged: the checksum of {file_name} is wrong. "
                "Restore its folder, or put another model version into service."
            )
    bundle = Bundle(path=path, digest=digest, manifest=manifest)
    networks = tuple(_member_of(bundle, member) for member in bundle.members)
    return replace(bundle, networks=networks)


def members_told(manifest: Mapping[str, Any]) -> list[Member]:
    """Return the members that a `model.json` names; an empty list for a single network.

    Raises
    ------
    BundleError
        If it is of an unknown kind, if its members are not at least two different bundles with
        weights that are not negative and have the sum 1, or if its gate is that of no member.
    """
    name, kind = manifest.get("name"), manifest.get("kind")
    if kind is None:
        return []
    if kind != _ENSEMBLE:
        raise BundleError(f"The model bundle {name} is of a kind that this version does not read.")
    try:
        members = [
            Member(name=str(one["name"]), digest=str(one["digest"]), weight=float(one["weight"]))
            for one in manifest["members"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"The ensemble {name} does not say of each member its name, digest and weight."
        ) from error
    names = [member.name for member in members]
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise BundleError(f"The ensemble {name} does not name at least two different members.")
    for one in names:
        if not NAME.fullmatch(one):
            raise BundleError(f"The ensemble {name} names {one!r}, which is no bundle.")
    weights = [member.weight for member in members]
    if not min(weights) >= 0 or not math.isclose(sum(weights), 1, abs_tol=_WEIGHT_TOLERANCE):
        raise BundleError(
            f"The weights of the ensemble {name} are not convex: none may be negative, and their "
            "sum must be 1."
        )
    gate = manifest.get("gate") or {}
    if gate and gate.get("member") not in names:
        raise BundleError(f"The ensemble {name} takes its input gate from none of its members.")
    return members


def gate_bundle(bundle: Bundle) -> Bundle:
    """Return the bundle whose input gate judges: itself, or the member that an ensemble names."""
    told = bundle.manifest.get("gate") or {}
    return next((one for one in bundle.networks if one.name == told.get("member")), bundle)


def _member_of(bundle: Bundle, member: Member) -> Bundle:
    """Verify a member, which stands beside the ensemble.

    Raises
    ------
    BundleError
        If it is missing, damaged, changed, itself an ensemble, or of another preprocessing than the
        ensemble. The sentence names it.
    """
    path = bundle.path.resolve().parent / member.name
    try:
        # Before it is loaded: two ensembles that name each other would never end.
        _refuse_nested(path)
        found = load_bundle(path, expected_digest=member.digest)
        if found.preprocessing != bundle.preprocessing:
            raise BundleError(f"{member.name} reads images on another canvas or window.")
    except BundleError as error:
        raise BundleError(
            f"A member of the ensemble {bundle.name} cannot be used. {error}"
        ) from error
    return found


def _refuse_nested(path: Path) -> None:
    try:
        told = json.loads((path / MANIFEST_NAME).read_bytes())
    except (OSError, ValueError):
        return  # `load_bundle` says what is wrong.
    if isinstance(told, dict) and told.get("kind") == _ENSEMBLE:
        raise BundleError(f"{path.name} is itself an ensemble, and an ensemble has no ensembles.")


def backbone_name(manifest: dict[str, Any]) -> str:
    """Return the name of the backbone that a `model.json` is about."""
    return manifest.get("backbone", FIRST_BACKBONE)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _complete(path: Path) -> Iterator[None]:
    """Say of a key that model.json lacks, or that holds something else, that it is incomplete."""
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        raise BundleError(
            f"The model bundle {path.name} has an incomplete model.json. Restore its folder, or "
            "put another model version into service."
        ) from error


def _point_of_counts(told: dict[str, Any]) -> dict[str, Any]:
    """Describe the point of a series rule by its counts: bundles up to 2026-11 hold no more."""
    point = {"name": "series rule", "threshold": told["threshold"], "unit": told.get("unit", "")}
    for side, count in (("sensitivity", "n_positive"), ("specificity", "n_negative")):
        hits, total = told.get("test", {}).get(side, (0, 0))
        if total:
            point |= {
                side: hits / total,
                f"{side}_interval": wilson_interval(hits, total),
                count: total,
            }
    return point
