"""Images and stone maps, for those who may see them."""

from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from detection.imaging.errors import ImageError
from detection.imaging.render import overlay_png, slice_png
from detection.imaging.volume import load_volume
from detection.imaging.window import BONE, SOFT_TISSUE, STONE
from detection.ml.predictor import load_stone_map
from detection.selectors.predictions import prediction_latest, prediction_map_path
from detection.selectors.studies import series_volume_path, study_list

WINDOWS = {"soft-tissue": SOFT_TISSUE, "stone": STONE, "bone": BONE}


@login_required
@permission_required("detection.view_pixels", raise_exception=True)
@require_safe
def study_image(request, uuid):
    study = get_object_or_404(study_list(user=request.user), uuid=uuid)
    window = WINDOWS.get(request.GET.get("window", "soft-tissue"))
    prediction = prediction_latest(study=study)
    series = prediction.series if prediction else study.series.first()
    if window is None or series is None:
        raise Http404
    try:
        volume = load_volume(series_volume_path(series=series))
        return _png(slice_png(volume, _slice_index(request), window))
    except (ImageError, IndexError) as error:
        raise Http404 from error


@login_required
@permission_required("detection.view_pixels", raise_exception=True)
@require_safe
def study_map(request, uuid):
    study = get_object_or_404(study_list(user=request.user), uuid=uuid)
    prediction = prediction_latest(study=study)
    if prediction is None or not prediction.map_path:
        raise Http404
    size = (prediction.series.columns, prediction.series.rows)
    try:
        stone_map = load_stone_map(prediction_map_path(prediction=prediction))
        return _png(overlay_png(stone_map[_slice_index(request)], size=size))
    except (OSError, ValueError, IndexError) as error:
        raise Http404 from error


def _slice_index(request):
    text = request.GET.get("slice", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise Http404
    return int(text)


def _png(content):
    response = HttpResponse(content, content_type="image/png")
    response["Cache-Control"] = "private, no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response
