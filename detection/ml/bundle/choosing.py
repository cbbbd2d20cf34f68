"""Finds the bundle that a person named, or the default one of a folder of bundles."""

import os
from collections.abc import Sequence
from pathlib import Path

from detection.ml.bundle.reading import MANIFEST_NAME, NAME, Bundle, load_bundle
from detection.ml.errors import BundleError


def open_bundle(model: str | Path | None, *, roots: Sequence[Path]) -> Bundle:
    """Load the bundle that a person named.

    Parameters
    ----------
    model : str or Path, optional
        The folder of a bundle, or the name of one that lies below one of `roots`; by default the
        default bundle of the first root.

    Raises
    ------
    BundleError
        If there is none; for an unknown name the sentence lists those that are there.
    """
    if model is None:
        return load_default_bundle(roots[0])
    path = Path(model)
    if (path / MANIFEST_NAME).is_file() or not NAME.fullmatch(str(model)):
        return load_bundle(path)
    for root in roots:
        if (root / path).is_dir():
            return load_bundle(root / path)
    held = {found.parent.name for root in roots for found in root.glob(f"*/{MANIFEST_NAME}")}
    names = ", ".join(sorted(name for name in held if NAME.fullmatch(name))) or "none"
    raise BundleError(f"There is no model bundle {model}. Those that are there: {names}.")


def default_bundle_path(root: Path) -> Path:
    """Return the folder of the default bundle, which `root/default` names.

    Raises BundleError if the file is missing or names no folder of `root`.
    """
    return root / _default_entry(root)[0]


def load_default_bundle(root: Path) -> Bundle:
    """Load the default bundle of `root`, pinned by the digest that `root/default` holds."""
    name, digest = _default_entry(root)
    return load_bundle(root / name, expected_digest=digest)


def set_default_bundle(root: Path, bundle: Bundle) -> None:
    """Make a bundle of `root` the default: one line, its name and the digest of its model.json."""
    temporary = root / "default.new"
    temporary.write_text(f"{bundle.name} {bundle.digest}\n", encoding="utf-8")
    os.replace(temporary, root / "default")


def _default_entry(root: Path) -> tuple[str, str]:
    try:
        name, digest = (root / "default").read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{root.name}/default does not name a model bundle and its digest. Restore the file "
            "from the release."
        ) from error
    if not NAME.fullmatch(name):
        raise BundleError(f"{root.name}/default names {name!r}, which is no bundle of this folder.")
    return name, digest
