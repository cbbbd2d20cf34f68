"""Model bundles: a folder of weights and `model.json`, written whole and once."""

from detection.ml.bundle.choosing import (
    default_bundle_path,
    load_default_bundle,
    open_bundle,
    set_default_bundle,
)
from detection.ml.bundle.reading import (
    MANIFEST_NAME,
    Bundle,
    Member,
    backbone_name,
    gate_bundle,
    load_bundle,
    members_told,
    sha256_of,
)
from detection.ml.bundle.writing import building, derive_bundle, publish, write_manifest

__all__ = [
    "MANIFEST_NAME",
    "Bundle",
    "Member",
    "backbone_name",
    "building",
    "default_bundle_path",
    "derive_bundle",
    "gate_bundle",
    "load_bundle",
    "load_default_bundle",
    "members_told",
    "open_bundle",
    "publish",
    "set_default_bundle",
    "sha256_of",
    "write_manifest",
]
