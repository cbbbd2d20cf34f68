"""The health check of process runners and load balancers; it needs no sign-in."""

from django.contrib.auth.decorators import login_not_required
from django.db import Error
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from detection.selectors.registry import model_version_active


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    try:
        is_in_service = model_version_active() is not None
    except Error:
        return unavailable("The database does not answer.")
    if not is_in_service:
        return unavailable("No detection model is in service.")
    return JsonResponse({"status": "ok"})


def unavailable(reason: str) -> JsonResponse:
    return JsonResponse({"status": "unavailable", "reason": reason}, status=503)
