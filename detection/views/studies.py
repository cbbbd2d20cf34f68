"""The history, and the page of one study."""

import datetime

from django.contrib.auth.decorators import login_required, permission_required
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from detection.filters import StudyFilter
from detection.selectors.predictions import prediction_latest
from detection.selectors.studies import study_list

PAGE_SIZE = 25
# htmx stops asking when it gets this status.
STOP_POLLING = 286
# After this a reader is told that the wait is unusual.
SLOW_AFTER = datetime.timedelta(seconds=60)


@login_required
@require_safe
def home(request):
    return redirect("study-list")


@login_required
@permission_required("detection.view_study", raise_exception=True)
@require_safe
def study_list_page(request):
    study_filter = StudyFilter(request.GET, queryset=study_list(user=request.user), request=request)
    page = Paginator(study_filter.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "filter": study_filter,
        "page": page,
        "is_filtered": any(request.GET.get(name) for name in study_filter.filters),
        "sees_all": request.user.has_perm("detection.view_all_studies"),
    }
    return render(request, "detection/study_list.html", context)


@login_required
@permission_required("detection.view_study", raise_exception=True)
@require_safe
@never_cache
def study_detail(request, uuid):
    studies = study_list(user=request.user)
    study = get_object_or_404(studies, uuid=uuid)
    newer, older = _neighbours(studies, study)
    context = _result_context(study) | {"newer": newer, "older": older}
    return render(request, "detection/study_detail.html", context)


@login_required
@permission_required("detection.view_study", raise_exception=True)
@require_safe
@never_cache
def study_status(request, uuid):
    study = get_object_or_404(study_list(user=request.user), uuid=uuid)
    if not study.is_final and request.GET.get("state") == _state(study):
        return HttpResponse(status=204)
    return render(
        request,
        "detection/_study_result.html",
        _result_context(study),
        status=STOP_POLLING if study.is_final else 200,
    )


def _result_context(study):
    prediction = prediction_latest(study=study)
    series = prediction.series if prediction else study.series.first()
    caveats = [*(series.caveats if series else []), *(prediction.caveats if prediction else [])]
    return {
        "study": study,
        "prediction": prediction,
        "series": series,
        "caveats": list(dict.fromkeys(caveats)),
        "source_files": list(study.source_files.all()),
        "findings": list(prediction.findings.all()) if prediction else [],
        "state": _state(study),
        "is_slow": is_slow(study.created_at),
    }


def _state(study):
    return f"{study.status}-{is_slow(study.created_at)}"


def is_slow(since):
    return timezone.now() - since > SLOW_AFTER


def _neighbours(studies, study):
    studies = studies.select_related(None).prefetch_related(None)
    same_time = Q(created_at=study.created_at)
    newer = studies.filter(Q(created_at__gt=study.created_at) | same_time & Q(pk__gt=study.pk))
    older = studies.filter(Q(created_at__lt=study.created_at) | same_time & Q(pk__lt=study.pk))
    return (
        newer.order_by("created_at", "pk").values_list("uuid", flat=True).first(),
        older.order_by("-created_at", "-pk").values_list("uuid", flat=True).first(),
    )
