"""The uploads and studies that a user may see, with their series and import reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.db.models import Case, Count, Prefetch, QuerySet, When

from accounts.models import User
from detection.imaging.ingest import PICTURE_KINDS, Kind
from detection.models import (
    Prediction,
    Series,
    SeriesAside,
    SourceFile,
    Study,
    StudyIdentifiers,
    Upload,
)

M = TypeVar("M", Upload, Study)
# A report shows so many rows, problems first, and only counts the rest.
REPORT_ROWS = 200
_REPORT_ORDER = (
    SourceFile.Status.REFUSED,
    SourceFile.Status.SKIPPED,
    SourceFile.Status.RECEIVED,
    SourceFile.Status.ACCEPTED,
)


# The row of an archive that was unpacked: its members have rows of their own.
_UNPACKED = {"kind": str(Kind.ZIP), "status": SourceFile.Status.ACCEPTED}


@dataclass(frozen=True)
class WaitingGroup:
    """Files that are to be imported together: the name of the first, and how many they are."""

    name: str
    file_count: int


@dataclass(frozen=True)
class WaitingGroups:
    """The groups of an upload that are still to be imported: how many, and the first."""

    total: int
    shown: Sequence[WaitingGroup]


@dataclass(frozen=True)
class ImportReport:
    """The outcome of the files of an upload or a study: the counts, and the first rows."""

    accepted: int
    skipped: int
    refused: int
    waiting: int
    rows: Sequence[SourceFile]

    @property
    def rows_accepted(self) -> list[SourceFile]:
        return [row for row in self.rows if row.status == SourceFile.Status.ACCEPTED]

    @property
    def rows_with_reason(self) -> list[SourceFile]:
        """The rows that were skipped or refused; waiting ones have nothing to tell yet."""
        told = (SourceFile.Status.REFUSED, SourceFile.Status.SKIPPED)
        return [row for row in self.rows if row.status in told]

    @property
    def total(self) -> int:
        return self.accepted + self.skipped + self.refused + self.waiting

    @property
    def left_off(self) -> int:
        return self.total - len(self.rows)


def study_list(*, user: User) -> QuerySet[Study]:
    """Return the studies that `user` may see, newest first, with their uploader and upload."""
    return _visible(Study.objects.select_related("uploaded_by", "upload"), user=user)


def upload_list(*, user: User) -> QuerySet[Upload]:
    """Return the uploads that `user` may see, newest first, with their studies."""
    uploads = Upload.objects.select_related("uploaded_by").prefetch_related(
        Prefetch("studies", queryset=Study.objects.order_by("pk"))
    )
    return _visible(uploads, user=user)


def upload_outcomes(*, uploads: Sequence[Upload]) -> list[tuple[Upload, dict[str, int]]]:
    """Return each upload with how many of its files have which status."""
    counts: dict[int, dict[str, int]] = {upload.pk: {} for upload in uploads}
    files = SourceFile.objects.filter(upload__in=counts).exclude(**_UNPACKED).order_by()
    for pk, status, count in files.values_list("upload", "status").annotate(Count("pk")):
        counts[pk][status] = count
    return [(upload, counts[upload.pk]) for upload in uploads]


def uploads_in_work(*, user: User) -> list[Upload]:
    """Return the uploads that `user` may see and that are not imported yet.

    Those that wait for the installation come first, and newer before older ones.
    """
    uploads = _visible(Upload.objects.all(), user=user).exclude(status=Upload.Status.FINISHED)
    return sorted(uploads, key=lambda upload: upload.retry_at is None)


def files_waiting(*, upload: Upload) -> QuerySet[SourceFile]:
    """Return the files without an outcome in order, pictures before files that take longer."""
    files = upload.source_files.filter(status=SourceFile.Status.RECEIVED)
    return files.order_by(Case(When(kind__in=PICTURE_KINDS, then=0), default=1), "pk")


def groups_waiting(*, upload: Upload) -> WaitingGroups:
    """Return what is still to be imported: the first groups by name, and how many there are."""
    alone = files_waiting(upload=upload).exclude(kind=Kind.DICOM)
    dicom = files_waiting(upload=upload).filter(kind=Kind.DICOM)
    shown = [WaitingGroup(file.display_name, 1) for file in alone[:REPORT_ROWS]]
    total = alone.count()
    if count := dicom.count():
        total += 1
        shown.append(WaitingGroup(dicom[0].display_name, count))
    return WaitingGroups(total=total, shown=shown)


def series_list(*, study: Study) -> list[Series]:
    """Return the series of a study with what its page and its answer need.

    Each has `readings`, its predictions, and `asides`, when it was set aside or taken back and by
    whom; the oldest reading and the newest aside come first.
    """
    readings = Prediction.objects.order_by("pk").select_related("model_version")
    return list(
        study.series.order_by("pk").prefetch_related(
            Prefetch("predictions", queryset=readings, to_attr="readings"),  # type: ignore[no-redef]
            Prefetch("asides", queryset=SeriesAside.objects.select_related("user")),
        )
    )


def import_report(*, of: Study | Upload) -> ImportReport:
    """Return the import report of a study or an upload, problems first."""
    files = of.source_files.exclude(**_UNPACKED)
    counts = dict(files.order_by().values_list("status").annotate(Count("pk")))
    order = Case(*(When(status=status, then=at) for at, status in enumerate(_REPORT_ORDER)))
    rows = files.select_related("study", "duplicate_of").order_by(order, "pk")[:REPORT_ROWS]
    return ImportReport(
        accepted=counts.get(SourceFile.Status.ACCEPTED, 0),
        skipped=counts.get(SourceFile.Status.SKIPPED, 0),
        refused=counts.get(SourceFile.Status.REFUSED, 0),
        waiting=counts.get(SourceFile.Status.RECEIVED, 0),
        rows=list(rows) if counts else [],
    )


def has_identifiers(*, study: Study) -> bool:
    """Say whether identifiers of a study are stored; only a service shows them."""
    return StudyIdentifiers.objects.filter(study=study).exists()


def series_volume_path(*, series: Series) -> Path:
    """Return the path of a series' volume file. The caller has checked the user."""
    return Path(settings.MEDIA_ROOT) / series.volume_path


def _visible(rows: QuerySet[M], *, user: User) -> QuerySet[M]:
    if user.has_perm("detection.view_all_studies"):
        visible = rows
    elif user.has_perm("detection.view_study"):
        visible = rows.filter(uploaded_by=user)
    else:
        visible = rows.none()
    return visible.order_by("-created_at", "-pk")
