"""Imports in tests: readers of files that say what they are told to, and what is left of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from uuid import uuid4

import numpy as np
from django.conf import settings
from django.utils import timezone

from detection.imaging.errors import Notice
from detection.imaging.formats.dicom_facts import Identifiers
from detection.imaging.ingest import FileReport, IngestedSeries, IngestResult, Sandbox
from detection.imaging.volume import Volume, save_volume
from detection.models import Upload

_SHADES = count()


@dataclass
class FakeIngest:
    """Call it as `ingest`: `series` are (study, slices, rows of the report)."""

    series: Sequence[tuple[str, int, tuple[int, ...]]]
    report: Sequence[FileReport]
    kind: str = "dicom"
    identifiers: Identifiers = Identifiers()
    notices: tuple[Notice, ...] = ()
    scan: str = ""
    seen: list[list[Path]] = field(default_factory=list)

    def __call__(
        self, paths: Sequence[Path], *, target_folder: Path, worker: Sandbox
    ) -> IngestResult:
        self.seen.append(list(paths))
        return IngestResult(
            series=tuple(self._series(target_folder, *one) for one in self.series),
            report=tuple(self.report),
        )

    def _series(self, folder: Path, study: str, slices: int, rows: tuple[int, ...]):
        volume = Volume(
            # Another image each time: the same one would be a duplicate.
            pixels=np.full((slices, 16, 16), next(_SHADES), np.int16),
            is_hu=True,
            spacing_mm=(1.5, 0.7, 0.7),
            plane="axial",
            affine_lps=((0.7, 0, 0, 0), (0, 0.7, 0, 0), (0, 0, 1.5, 0), (0, 0, 0, 1)),
        )
        return replace(
            ingested_series(folder, volume, rows=rows, study=study),
            kind=self.kind,
            description=f"axial, {slices} slices, 1.5 mm",
            notices=self.notices,
            scan=self.scan,
            identifiers=self.identifiers,
        )


def ingested_series(
    folder: Path, volume: Volume, *, rows: tuple[int, ...] = (0,), study: str = "study"
) -> IngestedSeries:
    """A picture that was read: its volume lies in `folder`."""
    path = folder / f"{uuid4().hex}.volume"
    save_volume(volume, path)
    return IngestedSeries(
        volume_path=path,
        header=volume.header(),
        kind="png",
        study=study,
        group=uuid4().hex,
        description="picture",
        is_original=True,
        notices=volume.notices,
        rows=rows,
        source_indices=rows,
    )


@dataclass
class FakePictures:
    """Call it as `ingest`: reads a picture that ends with "good", refuses any other."""

    volume: Volume
    seen: list[Path] = field(default_factory=list)

    def __call__(
        self, paths: Sequence[Path], *, target_folder: Path, worker: Sandbox
    ) -> IngestResult:
        (path,) = paths
        self.seen.append(path)
        if path.read_bytes().endswith(b"good"):
            pixels = self.volume.pixels.copy()
            pixels[0, 0, 0] = next(_SHADES) % 256
            series = ingested_series(target_folder, replace(self.volume, pixels=pixels))
            return IngestResult(series=(series,), report=(report_row(0),))
        refused = FileReport(
            source_index=0,
            name="never shown",
            member="",
            status="refused",
            code="damaged",
            reason="The file is damaged.",
        )
        return IngestResult(series=(), report=(refused,))


def report_row(
    source: int, status: str = "accepted", *, member: str = "", code: str = ""
) -> FileReport:
    """A row of the report; a reason and an advice stand beside what was not accepted."""
    is_accepted = status == "accepted"
    return FileReport(
        source_index=source,
        name="never shown",
        member=member,
        status=status,
        code=code,
        reason="" if is_accepted else "It is not a CT image.",
        advice="" if is_accepted else "Please upload CT slices.",
    )


def quarantined() -> list[Path]:
    return sorted((Path(settings.MEDIA_ROOT) / "quarantine").glob("*"))


def volumes() -> list[str]:
    return sorted(path.name for path in (Path(settings.MEDIA_ROOT) / "volumes").iterdir())


def statuses(upload: Upload) -> list[str]:
    return [file.status for file in upload.source_files.order_by("pk")]


def make_stale(upload: Upload) -> None:
    """Let the worker of an upload count as dead."""
    long_ago = timezone.now() - timedelta(seconds=30)
    Upload.objects.filter(pk=upload.pk).update(heartbeat_at=long_ago)
