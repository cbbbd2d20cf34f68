"""Images, cuts, stone maps and volumes, for users who may see them.

No cache of a browser or of a proxy may keep them: workplaces are shared, and a cache outlives the
sign-out. The viewer keeps what it has fetched in the memory of its page.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import cast
from uuid import UUID

import numpy as np
from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from accounts.middleware import touch_session_rarely
from accounts.requests import SignedInRequest
from detection.imaging.display import (
    cut,
    map_cut,
    nifti_parts,
    nifti_size,
    nifti_step,
    overlay_png,
    pixels_png,
    planes_of,
)
from detection.imaging.errors import ImageError
from detection.imaging.volume import Plane, Volume
from detection.imaging.window import BONE, LUNG, SOFT_TISSUE, STONE, Window
from detection.models import Series
from detection.selectors.volumes import map_latest, series_shown, stone_map_opened, volume_opened

PixelsView = Callable[[HttpRequest, Series, Volume], HttpResponseBase]
WINDOWS = {"soft-tissue": SOFT_TISSUE, "stone": STONE, "bone": BONE, "lung": LUNG}
# The three-dimensional view needs no more, and the memory of a small graphics card holds it.
LARGEST_3D_SIDE = 256
_WIDEST_WINDOW_HU = 65536.0


def pixels_view(view: PixelsView) -> Callable[..., HttpResponseBase]:
    """Require view_pixels and access to the series; answer 403 without the former, else 404."""

    @login_required
    @permission_required("detection.view_pixels", raise_exception=True)
    @require_safe
    @touch_session_rarely
    @wraps(view)
    def wrapped(request: SignedInRequest, uuid: UUID) -> HttpResponseBase:
        series = series_shown(
            user=request.user, study_uuid=uuid, series_uuid=_uuid(request.GET.get("series"))
        )
        if series is None:
            raise Http404
        try:
            response = view(request, series, volume_opened(series=series))
        except (ImageError, IndexError, ValueError) as error:
            raise Http404 from error
        response["Cache-Control"] = "private, no-store"
        response["X-Content-Type-Options"] = "nosniff"
        return response

    return wrapped


@pixels_view
def study_image(request: HttpRequest, series: Series, volume: Volume) -> HttpResponse:
    pixels = cut(volume, _plane(request, volume), _index(request))
    return _png(pixels_png(pixels, is_hu=volume.is_hu, window=_window(request)))


@pixels_view
def study_map(request: HttpRequest, series: Series, volume: Volume) -> HttpResponse:
    prediction = map_latest(series=series)
    if prediction is None:
        raise Http404
    plane, index = _plane(request, volume), _index(request)
    rows, columns = cut(volume, plane, index).shape
    stone_map = stone_map_opened(prediction=prediction)
    return _png(overlay_png(map_cut(stone_map, volume, plane, index), size=(columns, rows)))


@pixels_view
def study_slice(request: HttpRequest, series: Series, volume: Volume) -> HttpResponse:
    """Send the numbers of a cut, rows from the top: little-endian 16-bit HU or 8-bit grey."""
    pixels = cut(volume, _plane(request, volume), _index(request))
    little_endian = np.asarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    return HttpResponse(little_endian.tobytes(), content_type="application/octet-stream")


@pixels_view
def study_volume(request: HttpRequest, series: Series, volume: Volume) -> StreamingHttpResponse:
    """Send the whole volume as NIfTI, at reduced resolution, for the 3D view."""
    if len(planes_of(volume)) < 3:
        raise Http404
    step = nifti_step(volume, largest_side=LARGEST_3D_SIDE)
    response = StreamingHttpResponse(
        nifti_parts(volume, step=step), content_type="application/octet-stream"
    )
    response["Content-Length"] = str(nifti_size(volume, step=step))
    return response


def _plane(request: HttpRequest, volume: Volume) -> Plane:
    # Any text may be asked for: `cut` raises ValueError for what is no plane.
    return cast(Plane, request.GET.get("plane", volume.plane))


def _index(request: HttpRequest) -> int:
    text = request.GET.get("slice", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise Http404
    return int(text)


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise Http404 from error


def _window(request: HttpRequest) -> Window:
    """Return the window that is named, or that of `center` and `width` in HU; else Http404."""
    if "center" not in request.GET and "width" not in request.GET:
        try:
            return WINDOWS[request.GET.get("window", "soft-tissue")]
        except KeyError as error:
            raise Http404 from error
    try:
        center, width = float(request.GET["center"]), float(request.GET["width"])
    except (KeyError, ValueError) as error:
        raise Http404 from error
    if not (math.isfinite(center) and 0 < width <= _WIDEST_WINDOW_HU):
        raise Http404
    return Window(center_hu=center, width_hu=width)


def _png(content: bytes) -> HttpResponse:
    return HttpResponse(content, content_type="image/png")
