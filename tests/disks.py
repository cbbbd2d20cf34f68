"""Real disks that are full or read-only; tests of them are skipped where nothing may be mounted."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# What nobody can write any more: the smallest piece that a file system hands out.
_PIECE = b"\0" * 4096


@contextmanager
def small_disk(folder: Path, *, size_bytes: int) -> Iterator[Path]:
    """Mount a disk of this size for the block; skip the test where that is forbidden.

    The empty files of the folder whose names begin with a dot are there too: they mark it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    marks = [path for path in folder.iterdir() if path.name.startswith(".") and path.is_file()]
    mounted = _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", str(folder))
    if not mounted:
        pytest.skip("Nothing may be mounted here.")
    for mark in marks:
        mark.touch()
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fill a small disk for the block."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(_PIECE):
                pass
        except OSError:
            # It is full: that is what was wanted.
            pass
    try:
        yield
    finally:
        filler.unlink(missing_ok=True)


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """Let a small disk be read-only for the block."""
    assert _run("mount", "-o", "remount,ro", str(disk))
    try:
        yield
    finally:
        assert _run("mount", "-o", "remount,rw", str(disk))


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
