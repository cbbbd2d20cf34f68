"""The uploads and studies that a user may see, with their series and import reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.db.models import Case, Count, Prefetch, QuerySet, When

from accounts.models import User
from detection.models import Prediction, Series, SourceFile, Study, StudyIdentifiers, Upload

M = TypeVar("M", Upload, Study)
# A report shows so many rows, problems first, and only counts the rest.
REPORT_ROWS = 200
_REPORT_ORDER = (
    SourceFile.Status.REFUSED,
    SourceFile.Status.SKIPPED,
    SourceFile.Status.RECEIVED,
    SourceFile.Status.ACCEPTED,
)


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
        return [row for row in self.rows if row.status != SourceFile.Status.ACCEPTED]

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


def series_list(*, study: Study) -> list[Series]:
    """Return the series of a study, each with `readings`: its predictions, oldest first."""
    readings = Prediction.objects.order_by("pk").select_related("model_version")
    return list(
        study.series.order_by("pk").prefetch_related(
            Prefetch("predictions", queryset=readings, to_attr="readings")  # type: ignore[no-redef]
        )
    )


def import_report(*, of: Study | Upload) -> ImportReport:
    """Return the import report of a study or an upload, problems first."""
    files = of.source_files
    counts = dict(files.order_by().values_list("status").annotate(Count("pk")))
    order = Case(*(When(status=status, then=at) for at, status in enumerate(_REPORT_ORDER)))
    rows = list(files.order_by(order, "pk")[:REPORT_ROWS]) if counts else []
    return ImportReport(
        accepted=counts.get(SourceFile.Status.ACCEPTED, 0),
        skipped=counts.get(SourceFile.Status.SKIPPED, 0),
        refused=counts.get(SourceFile.Status.REFUSED, 0),
        waiting=counts.get(SourceFile.Status.RECEIVED, 0),
        rows=rows,
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
