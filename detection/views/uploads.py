"""The page that sends files, and the page that follows their import."""

import hashlib
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required, permission_required
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.requests import SignedInRequest
from detection.forms import UploadForm
from detection.models import Upload
from detection.selectors.predictions import waiting_since
from detection.selectors.registry import model_version_active
from detection.selectors.studies import (
    groups_waiting,
    import_report,
    upload_list,
    upload_outcomes,
)
from detection.services.space import NOT_STORED
from detection.services.uploads import (
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_UPLOAD_BYTES,
    upload_create,
)
from detection.views.studies import PAGE_SIZE, STOP_POLLING, is_slow

# The server has no room for what was sent (RFC 4918, 11.5).
INSUFFICIENT_STORAGE = 507


@login_required
@permission_required("detection.add_study", raise_exception=True)
@require_http_methods(["GET", "HEAD", "POST"])
def upload_create_page(request: SignedInRequest) -> HttpResponse:
    form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
    # What had arrived by then is no upload: the form would call it incomplete.
    error = getattr(request, "receiving_error", None)
    if error is None and form.is_valid():
        try:
            return redirect(
                upload_create(uploaded_by=request.user, files=form.cleaned_data["files"])
            )
        except ValidationError as refused:
            error = refused
    if error is not None:
        form.errors.pop("files", None)
        form.add_error("files", error)
    context = {
        "form": form,
        "max_files": MAX_FILES,
        "max_file_bytes": MAX_FILE_BYTES,
        "max_total_bytes": MAX_UPLOAD_BYTES,
        "model_in_service": model_version_active(),
    }
    is_fault = getattr(error, "code", "") in NOT_STORED
    status = INSUFFICIENT_STORAGE if is_fault else 200
    return render(request, "detection/upload_form.html", context, status=status)


@login_required
@permission_required("detection.view_study", raise_exception=True)
@require_safe
@never_cache
def upload_list_page(request: SignedInRequest) -> HttpResponse:
    """Show what was sent, with how many files were refused: those are in no study."""
    uploads = upload_list(user=request.user).prefetch_related(None)
    page = Paginator(uploads, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {"page": page, "rows": upload_outcomes(uploads=list(page))}
    return render(request, "detection/upload_list.html", context)


@login_required
@permission_required("detection.view_study", raise_exception=True)
@require_safe
@never_cache
def upload_detail(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    upload = get_object_or_404(upload_list(user=request.user), uuid=uuid)
    return render(request, "detection/upload_detail.html", _progress_context(upload))


@login_required
@permission_required("detection.view_study", raise_exception=True)
@require_safe
@never_cache
def upload_status(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    upload = get_object_or_404(upload_list(user=request.user), uuid=uuid)
    context = _progress_context(upload)
    if not context["is_finished"] and request.GET.get("state") == context["state"]:
        return HttpResponse(status=204)
    return render(
        request,
        "detection/_upload_progress.html",
        context,
        status=STOP_POLLING if context["is_finished"] else 200,
    )


def _progress_context(upload: Upload) -> dict[str, Any]:
    studies = list(upload.studies.all())
    waiting = groups_waiting(upload=upload)
    # A stone is shown at once, while other series of its study are still being read.
    in_work = waiting_since(upload=upload)
    done = sum(1 for study in studies if study.is_final and study.pk not in in_work)
    total = len(studies) + waiting.total
    is_finished = upload.is_finished and done == len(studies)
    since = upload.created_at
    if upload.is_finished:
        # What is read a second time has not waited since the upload.
        since = min(in_work.values(), default=upload.created_at)
    slow = not is_finished and is_slow(since)
    seen = [upload.status, slow, waiting.total, upload.faults if upload.retry_at else 0]
    seen += [
        f"{study.status} {study.message} {study.prediction_id} {study.series_pending} "
        f"{study.series_unread} {study.series_aside} {study.has_stone_aside} {study.pk in in_work}"
        for study in studies
    ]
    return {
        "upload": upload,
        "studies": studies,
        "waiting": waiting,
        "done": done,
        "total": total,
        "is_finished": is_finished,
        "report": import_report(of=upload),
        "is_slow": slow,
        "state": hashlib.sha256(repr(seen).encode()).hexdigest()[:16],
    }
