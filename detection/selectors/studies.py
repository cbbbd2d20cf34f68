"""Which uploads and studies a person may see."""

from pathlib import Path

from django.conf import settings
from django.db.models import Prefetch, QuerySet

from accounts.models import User
from detection.models import Series, Study, Upload


def study_list(*, user: User) -> QuerySet[Study]:
    """Return the studies that `user` may see, newest first, with their uploader and files."""
    studies = Study.objects.select_related("uploaded_by", "upload").prefetch_related("source_files")
    return _visible(studies, user=user)


def upload_list(*, user: User) -> QuerySet[Upload]:
    """Return the uploads that `user` may see, newest first, with their studies and files."""
    studies = Study.objects.order_by("pk").prefetch_related("source_files")
    uploads = Upload.objects.select_related("uploaded_by").prefetch_related(
        Prefetch("studies", queryset=studies)
    )
    return _visible(uploads, user=user)


def series_volume_path(*, series: Series) -> Path:
    """Return where the pixels of a series lie. Only for views that have checked the user."""
    return Path(settings.MEDIA_ROOT) / series.volume_path


def _visible(rows: QuerySet, *, user: User) -> QuerySet:
    if user.has_perm("detection.view_all_studies"):
        visible = rows
    elif user.has_perm("detection.view_study"):
        visible = rows.filter(uploaded_by=user)
    else:
        visible = rows.none()
    return visible.order_by("-created_at", "-pk")
