"""The health check of process runners and load balancers; it needs no sign-in."""

from django.contrib.auth.decorators import login_not_required
from django.db import Error
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from detection.selectors.predictions import waits_for_installation
from detection.selectors.registry import model_version_active
from detection.services.faults import fault_sentence
from detection.services.media import media_root
from detection.services.space import has_reserve


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    try:
        is_in_service = model_version_active() is not None
        is_waiting = waits_for_installation()
    except Error:
        return unavailable("The database does not answer.")
    if not is_in_service:
        return unavailable("No detection model is in service.")
    try:
        media_root()
    except OSError as error:
        return JsonResponse({"status": "degraded", "reason": fault_sentence(error)})
    # It serves, and somebody should look: a load balancer goes on sending visitors here.
    if not has_reserve():
        return JsonResponse({"status": "degraded", "reason": "The server has too little space."})
    if is_waiting:
        reason = "Uploads or readings wait for the installation. The log says why."
        return JsonResponse({"status": "degraded", "reason": reason})
    return JsonResponse({"status": "ok"})


def unavailable(reason: str) -> JsonResponse:
    return JsonResponse({"status": "unavailable", "reason": reason}, status=503)
