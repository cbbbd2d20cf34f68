"""Reads files, folders and archives into series of volumes, with a report on each file."""

import os
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from detection.imaging.ingest.ingestion import Ingestion, Progress
from detection.imaging.ingest.jobs import Worker
from detection.imaging.ingest.result import IngestResult
from detection.imaging.ingest.sandbox import Sandbox
from detection.imaging.limits import LIMITS, Limits


def ingest(
    paths: Sequence[Path],
    *,
    target_folder: Path,
    limits: Limits = LIMITS,
    progress: Progress | None = None,
    worker: Worker | None = None,
) -> IngestResult:
    """Read files, folders and ZIP archives into series.

    A limited child process decodes the files. A file over which it dies or hangs is refused with a
    sentence, and the others are read. Each picture and each NIfTI volume is a series of its own;
    `plan_series` sorts DICOM slices into series.

    Parameters
    ----------
    target_folder : Path
        An existing folder. Volume files are written here, and nothing else is left.
    progress : callable, optional
        Called with steps done and steps known so far.
    worker : Worker, optional
        Does the jobs in place of a new child process.

    Raises
    ------
    OSError
        If not a file but the installation is at fault: no space, a read-only disk, an error of the
        disk, a child process that does not start (ChildProcessError). No file is refused for it.
    """
    if worker is None:
        with Sandbox(limits=limits) as sandbox:
            return ingest(
                paths,
                target_folder=target_folder,
                limits=limits,
                progress=progress,
                worker=sandbox,
            )
    # Unpacked and half-written files are deleted with this folder, whatever happens.
    with tempfile.TemporaryDirectory(prefix=".ingest-", dir=target_folder) as scratch:
        ingestion = Ingestion(
            scratch=Path(scratch).resolve(), limits=limits, worker=worker, progress=progress
        )
        for index, path in enumerate(paths):
            ingestion.add_path(path, index)
        ingestion.read_all()
        moved: list[Path] = []
        try:
            for series in ingestion.series:
                moved.append(target_folder / f"{uuid.uuid4().hex}.volume")
                os.replace(series.volume_path, moved[-1])
        except BaseException:
            for path in moved:
                path.unlink(missing_ok=True)
            raise
    return ingestion.result(moved)
