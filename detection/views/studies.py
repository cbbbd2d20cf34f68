"""The history, and the page of one study."""

import datetime
import hashlib
from collections.abc import Sequence
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
from detection.filters import MAX_WORD, StudyFilter
from detection.imaging.errors import Code, notices_told, once
from detection.models import Series, Study
from detection.models.encryption import Unreadable, decrypt, encrypt
from detection.selectors.answers import SeriesState, series_states
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
from detection.services.series import (
    MAX_REASON,
    series_read,
    series_set_aside,
    series_take_back,
)

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
    if word := request.POST.get("q", "").strip()[:MAX_WORD]:
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
def study_series_read(request: SignedInRequest, uuid: UUID, series: UUID) -> HttpResponse:
    """Have another series of the study read, and show it."""
    study, row = _study_and_series(request, uuid, series)
    try:
        series_read(series=row)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect(f"{study.get_absolute_url()}?series={row.uuid}")


@login_required
@permission_required(("detection.view_study", "detection.set_aside_series"), raise_exception=True)
@require_POST
def study_series_aside(
    request: SignedInRequest, uuid: UUID, series: UUID, *, is_aside: bool
) -> HttpResponse:
    """Set a series of the study aside, or take it back."""
    study, row = _study_and_series(request, uuid, series)
    change = series_set_aside if is_aside else series_take_back
    try:
        change(series=row, user=request.user, reason=request.POST.get("reason", ""))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect(study)


def _study_and_series(request: SignedInRequest, uuid: UUID, series: UUID) -> tuple[Study, Series]:
    study = get_object_or_404(study_list(user=request.user), uuid=uuid)
    return study, get_object_or_404(study.series, uuid=series)


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
    """Return the context of the study's answer, and of the series asked for with its reading.

    Without a wish it is the series that decided, else the one to look at first.
    """
    version = model_version_active()
    states = series_states(study=study, series=series_list(study=study), version=version)
    asked_for = request.GET.get("series")
    shown = next((one for one in states if str(one.series.uuid) == asked_for), None)
    if asked_for and shown is None:
        raise Http404
    decides = next((one for one in states if one.decides), None)
    if shown is None:
        by_rule = (one for one in states if one.series.is_first and not one.series.is_aside)
        left = (one for one in states if not one.series.is_aside)
        shown = decides or next(by_rule, None) or next(left, None)
    series, prediction = (shown.series, shown.shown) if shown else (None, None)
    notices = [*(series.notices if series else []), *(prediction.notices if prediction else [])]
    pending = [one for one in states if one.is_pending and not one.series.is_aside]
    is_read = any(not reading.is_finished for one in states for reading in one.series.readings)
    is_final = study.is_final and not is_read
    waiting_since = min(
        (one.newest.created_at for one in states if one.newest and one.is_pending),
        default=study.created_at,
    )
    return {
        "study": study,
        "states": states,
        "shown": shown,
        "decides": decides,
        "series": series,
        "prediction": prediction,
        # The answer of the study stands alone where it is that of the series that is shown.
        "is_apart": shown is not None
        and len(states) > 1
        and not shown.decides
        and (study.is_final or bool(asked_for)),
        "is_asked_for": bool(asked_for),
        "is_final": is_final,
        "pending": pending,
        # What waits says when it is tried again.
        "waiting": next(
            (one.newest for one in pending if one.newest and one.newest.retry_at), None
        ),
        "can_read_again": any(
            is_read_again(prediction=one.newest, active=version)
            for one in states
            if one.newest and not one.series.is_aside
        ),
        # The list of the study's series says itself that there are several.
        "notices": [
            notice for notice in once(notices_told(notices)) if notice.code != Code.SEVERAL_SERIES
        ],
        "findings": list(prediction.findings.all()) if prediction else [],
        "is_slow": is_slow(waiting_since),
        "max_reason": MAX_REASON,
        "state": _state(study, states, shown, is_slow=is_slow(waiting_since)),
    }


def _state(
    study: Study, states: Sequence[SeriesState], shown: SeriesState | None, *, is_slow: bool
) -> str:
    """Return a word that changes whenever the page has something new to show."""
    seen = [study.status, str(study.prediction_id), str(is_slow), str(study.series_aside)]
    seen.append(str(study.series_pending))
    seen += [one.newest.status if one.newest else "unread" for one in states]
    seen += [str(one.newest.faults) for one in states if one.newest and one.newest.retry_at]
    if shown and shown.newest:
        seen.append(str(shown.newest.slices_done))
    return hashlib.sha256(" ".join(seen).encode()).hexdigest()[:16]


def is_slow(since: datetime.datetime) -> bool:
    """Say whether something has waited for unusually long, by when it was asked for."""
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
