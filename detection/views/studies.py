"""The history, and the page of one study."""

import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.requests import SignedInRequest
from detection.filters import StudyFilter
from detection.imaging.errors import Code, notices_told, once
from detection.models import Prediction, Study
from detection.models.encryption import Unreadable, decrypt, encrypt
from detection.selectors.predictions import is_read_again
from detection.selectors.registry import model_version_active
from detection.selectors.studies import (
    has_identifiers,
    import_report,
    series_list,
    study_list,
    uploads_in_work,
)
from detection.services.identifiers import identifiers_reveal
from detection.services.requeue import study_read_again
from detection.services.series import series_choose

PAGE_SIZE = 25
# htmx stops asking when it gets this status.
STOP_POLLING = 286
# After this the page says that the wait is unusual.
SLOW_AFTER = datetime.timedelta(seconds=60)


@login_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return redirect("study-list")


@login_required
@permission_required("detection.view_study", raise_exception=True)
@require_safe
def study_list_page(request: SignedInRequest) -> HttpResponse:
    # The search word may name a patient, so that the address holds it encrypted.
    query = request.GET.copy()
    query.pop("q", None)
    if token := request.GET.get("find"):
        word = decrypt(token)
        query["q"] = "" if isinstance(word, Unreadable) else word
    study_filter = StudyFilter(query, queryset=study_list(user=request.user), request=request)
    page = Paginator(study_filter.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "filter": study_filter,
        "page": page,
        "is_filtered": any(query.get(name) for name in study_filter.filters),
        "uploads_in_work": uploads_in_work(user=request.user),
        "sees_all": request.user.has_perm("detection.view_all_studies"),
    }
    return render(request, "detection/study_list.html", context)


@login_required
@permission_required("detection.view_study", raise_exception=True)
@require_POST
def study_find(request: HttpRequest) -> HttpResponse:
    """Redirect to the history with the filters in its address, the search word encrypted."""
    query = {
        name: request.POST[name]
        for name in StudyFilter.base_filters
        if name != "q" and request.POST.get(name)
    }
    if word := request.POST.get("q", "").strip()[:100]:
        query["find"] = encrypt(word)
    return redirect(f"{reverse('study-list')}?{urlencode(query)}")


@login_required
@permission_required("detection.view_study", raise_exception=True)
@require_safe
@never_cache
def study_detail(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    studies = study_list(user=request.user)
    return _study_page(request, studies, get_object_or_404(studies, uuid=uuid))


@login_required
@permission_required("detection.view_study", raise_exception=True)
@require_safe
@never_cache
def study_status(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    study = get_object_or_404(study_list(user=request.user), uuid=uuid)
    context = _result_context(request, study)
    if not context["is_final"] and request.GET.get("state") == context["state"]:
        return HttpResponse(status=204)
    return render(
        request,
        "detection/_study_result.html",
        context,
        status=STOP_POLLING if context["is_final"] else 200,
    )


@login_required
@permission_required(("detection.view_study", "detection.add_study"), raise_exception=True)
@require_POST
def study_series_choose(request: SignedInRequest, uuid: UUID, series: UUID) -> HttpResponse:
    """Let another series speak for the study, and have it read."""
    study = get_object_or_404(study_list(user=request.user), uuid=uuid)
    row = get_object_or_404(study.series, uuid=series)
    try:
        series_choose(series=row)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect(study)


@login_required
@permission_required(("detection.view_study", "detection.add_study"), raise_exception=True)
@require_POST
def study_again(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Have a study read again that failed, waits, or was read by an older model version."""
    study = get_object_or_404(study_list(user=request.user), uuid=uuid)
    try:
        study_read_again(study=study)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect(study)


@login_required
@permission_required(("detection.view_study", "detection.view_identifiers"), raise_exception=True)
@require_POST
@never_cache
def study_identifiers(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Show the identifiers of a study. A button asks for them, since every look is recorded."""
    studies = study_list(user=request.user)
    study = get_object_or_404(studies, uuid=uuid)
    identifiers = identifiers_reveal(study=study, user=request.user)
    if request.headers.get("HX-Request"):
        context = {"study": study, "identifiers": identifiers}
        return render(request, "detection/_study_identifiers.html", context)
    return _study_page(request, studies, study, identifiers=identifiers)


def _study_page(
    request: HttpRequest, studies: QuerySet[Study], study: Study, **more: Any
) -> HttpResponse:
    newer, older = _neighbours(studies, study)
    context = _result_context(request, study) | {
        "newer": newer,
        "older": older,
        "report": import_report(of=study),
        "has_identifiers": has_identifiers(study=study),
    }
    return render(request, "detection/study_detail.html", context | more)


def _result_context(request: HttpRequest, study: Study) -> dict[str, Any]:
    """Return the context of the series asked for, else of the chosen one, with its reading."""
    series_of_study = series_list(study=study)
    asked_for = request.GET.get("series")
    shown = next((one for one in series_of_study if str(one.uuid) == asked_for), None)
    if asked_for and shown is None:
        raise Http404
    chosen = next((one for one in series_of_study if one.is_chosen), None)
    series = shown or chosen or next(iter(series_of_study), None)
    readings = series.readings if series else []
    prediction = readings[-1] if readings else None
    is_chosen = series is None or series == chosen
    notices = [*(series.notices if series else []), *(prediction.notices if prediction else [])]
    findings = list(prediction.findings.all()) if prediction else []
    # The study says what its chosen series says; any other series speaks for itself alone.
    reading = study if is_chosen else prediction
    is_final = study.is_final if is_chosen else prediction is None or prediction.is_finished
    return {
        "study": study,
        "reading": reading,
        "prediction": prediction,
        "series": series,
        "series_of_study": series_of_study,
        "is_chosen": is_chosen,
        "is_final": is_final,
        "can_read_again": prediction is not None
        and is_read_again(prediction=prediction, active=model_version_active()),
        # The list of the study's series says itself that there are several.
        "notices": [
            notice for notice in once(notices_told(notices)) if notice.code != Code.SEVERAL_SERIES
        ],
        "findings": findings,
        "state": _state(reading, prediction, study),
        "is_slow": is_slow(study.created_at),
    }


def _state(reading: Study | Prediction | None, prediction: Prediction | None, study: Study) -> str:
    status = reading.status if reading else "unread"
    done = prediction.slices_done if prediction else 0
    waits = prediction.faults if prediction and prediction.retry_at else 0
    return f"{status}-{done}-{waits}-{is_slow(study.created_at)}"


def is_slow(since: datetime.datetime) -> bool:
    return timezone.now() - since > SLOW_AFTER


def _neighbours(studies: QuerySet[Study], study: Study) -> tuple[UUID | None, UUID | None]:
    studies = studies.select_related(None)
    same_time = Q(created_at=study.created_at)
    newer = studies.filter(Q(created_at__gt=study.created_at) | same_time & Q(pk__gt=study.pk))
    older = studies.filter(Q(created_at__lt=study.created_at) | same_time & Q(pk__lt=study.pk))
    return (
        newer.order_by("created_at", "pk").values_list("uuid", flat=True).first(),
        older.order_by("-created_at", "-pk").values_list("uuid", flat=True).first(),
    )
