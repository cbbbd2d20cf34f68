"""Writes a bundle: whole, once, under a name of its own."""

import errno
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detection.ml.bundle.reading import FORMAT, MANIFEST_NAME, NAME, Bundle, load_bundle, sha256_of
from detection.ml.errors import BundleError


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write `model.json`, adding size and SHA-256 of every other file of the folder.

    Raises
    ------
    BundleError
        If the folder has one already: a bundle never changes.
    """
    if not NAME.fullmatch(manifest["name"]):
        raise ValueError(f"Not a bundle name: {manifest['name']!r}")
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
        for file in sorted(folder.iterdir())
        if file.name != MANIFEST_NAME
    }
    content = json.dumps({"format": FORMAT, **manifest, "files": files}, indent=2)
    try:
        with (folder / MANIFEST_NAME).open("x", encoding="utf-8") as file:
            file.write(content + "\n")
    except FileExistsError as error:
        raise BundleError(
            f"The model bundle {folder.name} is complete, and a bundle never changes. Make a new "
            "one with a name of its own."
        ) from error


@contextmanager
def building(root: Path) -> Iterator[Path]:
    """Make a folder in `root` for a bundle in the making; it goes unless it is renamed."""
    folder = Path(tempfile.mkdtemp(prefix=".building-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, manifest: Mapping[str, Any], *, kind: str) -> Path:
    """Name a finished bundle after its kind, the second and its data, and let it appear.

    Where another bundle has the name of that second, this one takes the next.

    Parameters
    ----------
    folder : Path
        What `building` made. The bundle appears beside it.
    manifest : mapping
        All of `model.json` but the name and the files.

    Returns
    -------
    Path
        The bundle's folder.
    """
    while True:
        made = time.strftime("%Y%m%d-%H%M%S")
        target = folder.parent / f"{kind}-{made}-{manifest['data']['fingerprint'][:6]}"
        _complete(folder, {"name": target.name, **manifest})
        if _appears(folder, target):
            return target
        (folder / MANIFEST_NAME).unlink()
        time.sleep(1 - time.time() % 1)


def derive_bundle(parent: Bundle, *, name: str, changes: Mapping[str, Any]) -> Bundle:
    """Make a new bundle beside its parent: the same files, other entries of `model.json`.

    The parent is left as it is; the provenance of the new bundle names it. The new folder appears
    when it is complete.

    Raises
    ------
    BundleError
        If there is a bundle of that name, or the parent's files are no longer what they were.
    """
    root = parent.path.resolve().parent
    target = root / name
    provenance = {
        **parent.manifest.get("provenance", {}),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "parent": {"name": parent.name, "digest": parent.digest},
    }
    with building(root) as folder:
        for file_name in parent.manifest["files"]:
            shutil.copyfile(parent.path / file_name, folder / file_name)
        manifest = {**parent.manifest, **changes, "name": name, "provenance": provenance}
        if _complete(folder, manifest).manifest["files"] != parent.manifest["files"]:
            raise BundleError(f"The model bundle {parent.name} is damaged. Restore its folder.")
        if not _appears(folder, target):
            raise BundleError(f"A model bundle {name} is there already.")
    return load_bundle(target)


def _complete(folder: Path, manifest: dict[str, Any]) -> Bundle:
    write_manifest(folder, manifest)
    folder.chmod(0o755)
    return load_bundle(folder)


def _appears(folder: Path, target: Path) -> bool:
    """Give a whole bundle its place; say False if another one has it."""
    if target.exists():
        return False
    try:
        folder.rename(target)
    except OSError as error:
        # Another process was faster.
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    return True
