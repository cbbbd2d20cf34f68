"""Series: storing decoded ones, having them read, and setting them aside."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction

from accounts.models import User
from detection.imaging.errors import Notice, notices_json
from detection.imaging.ingest import IngestedSeries, choose_series
from detection.models import Prediction, Series, SeriesAside, Study
from detection.selectors.answers import is_read_by, is_same_scan_read
from detection.selectors.registry import model_version_active
from detection.selectors.studies import series_list
from detection.services.answers import study_follow
from detection.services.predictions import prediction_create

logger = logging.getLogger(__name__)

# Reconstructions of one scan begin and end a slice or two apart.
_ABOUT_MM = 15.0

# The number is a code of DICOM PS3.16, CID 7050; the rest says how it is followed.
DEIDENTIFIED_DICOM = (
    "DICOM PS3.15 basic profile (113100), by whitelist: only pixel values, geometry and the "
    "scanner's own units are kept"
)
DEIDENTIFIED_OTHER = "By whitelist: only pixel values and geometry are kept"
MAX_REASON = 255
IS_ASIDE = "This series was set aside. A lead has to take it back before it can be read."
WITHOUT_REASON = "Please say why: the reason stands beside the answer of the study."
LONG_REASON = f"The reason is too long. Please write at most {MAX_REASON} characters."
LAST_SERIES = "No other series of this study has a say. The last one cannot be set aside."
ASIDE_ALREADY = "This series was set aside already."
NOT_ASIDE = "This series has a say already."


def series_create(
    *,
    study: Study,
    header: Mapping[str, Any],
    volume_path: str,
    content: str = "",
    description: str,
    is_dicom: bool,
    is_first: bool = True,
    scan: str = "",
    notices: Sequence[Notice],
) -> Series:
    """Store the row of a decoded series by its volume's header. The caller places the file."""
    slice_mm, row_mm, column_mm = header["spacing_mm"] or (None, None, None)
    return Series.objects.create(
        study=study,
        volume_path=volume_path,
        content=content,
        slices=header["slices"],
        rows=header["rows"],
        columns=header["columns"],
        is_hu=header["is_hu"],
        plane=header["plane"],
        # The header says 0 where the files do not tell the distance between slices.
        slice_spacing_mm=slice_mm or None,
        row_spacing_mm=row_mm,
        column_spacing_mm=column_mm,
        description=description,
        notices=notices_json(notices),
        is_first=is_first,
        scan=scan,
        deidentification=DEIDENTIFIED_DICOM if is_dicom else DEIDENTIFIED_OTHER,
    )


def series_due(found: Sequence[IngestedSeries]) -> list[int]:
    """Return which series of one study are read without being asked for, the first one first.

    Each scan is read once, in the reconstruction that suits best; one that reaches further, such
    as an abdomen beside a chest, is read as well. A series whose scan is not known is one of its
    own.
    """
    scans: dict[str, list[int]] = {}
    for index, one in enumerate(found):
        scans.setdefault(one.scan or f"series {index}", []).append(index)
    first = choose_series(found)
    due: list[int] = []
    for indices in scans.values():
        best = choose_series([found[index] for index in indices])
        read = [first if first in indices else indices[best]]
        for index in indices:
            shown = (_reaches(found[one].header, found[index].header) for one in read)
            if index not in read and not any(shown):
                read.append(index)
        due += read

    def later(index: int) -> tuple[bool, bool, bool, bool]:
        one = found[index]
        is_seldom = one.header["plane"] not in ("axial", "coronal")
        return index != first, is_seldom, not one.header["is_hu"], not one.is_original

    return sorted(due, key=later)


def _reaches(header: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether one volume shows the other's length of the body, within `_ABOUT_MM`."""
    first, last = _reach_mm(header)
    other_first, other_last = _reach_mm(other)
    # A comparison with NaN is false: what is not known is not shown.
    return first <= other_first + _ABOUT_MM and other_last - _ABOUT_MM <= last


def _reach_mm(header: Mapping[str, Any]) -> tuple[float, float]:
    """Return the lowest and the highest LPS z of a volume, by its header; NaN if not known."""
    if header["affine_lps"] is None:
        return math.nan, math.nan
    along = header["affine_lps"][2]
    sides = (header["columns"], header["rows"], header["slices"])
    steps = [step * (side - 1) for step, side in zip(along, sides, strict=False)]
    low, high = (along[3] + sum(pick(0.0, step) for step in steps) for pick in (min, max))
    return low, high


@transaction.atomic
def series_read(*, series: Series) -> Prediction | None:
    """Queue the reading of a series unless the model version in service has read it or is about to.

    The other series that another version has read are queued as well, so that one version answers
    for the study. Nothing that was read before loses its say until then.

    Returns the queued prediction, or None. Raises ValidationError, with a sentence for the reader,
    if the series was set aside or no model is in service; then nothing is changed.
    """
    study = Study.objects.select_for_update().get(pk=series.study_id)
    rows = series_list(study=study)
    asked = next(one for one in rows if one.pk == series.pk)
    if asked.is_aside:
        raise ValidationError(IS_ASIDE)
    version = model_version_active()
    version_id = version.pk if version else None
    if is_read_by(asked, version_id=version_id):
        return None
    prediction = prediction_create(series=asked)
    for one in rows:
        was_read = any(reading.verdict for reading in one.readings) and not one.is_aside
        if one != asked and was_read and not is_read_by(one, version_id=version_id):
            prediction_create(series=one)
    return prediction


def series_set_aside(*, series: Series, user: User, reason: str) -> None:
    """Take a series out of the answer of its study, and record who did it, when and why.

    If that leaves a scan unread, another reconstruction of it is read. The caller has checked that
    `user` may see the study. Raises PermissionDenied if `user` may not set series aside, and
    ValidationError, with a sentence for the reader, if a reason is missing or no other series is
    left; then nothing is changed.
    """
    _say_change(series=series, user=user, reason=reason, is_aside=True)


def series_take_back(*, series: Series, user: User, reason: str) -> None:
    """Give a series that was set aside its say again; raises as `series_set_aside` does."""
    _say_change(series=series, user=user, reason=reason, is_aside=False)


@transaction.atomic
def _say_change(*, series: Series, user: User, reason: str, is_aside: bool) -> None:
    if not user.has_perm("detection.set_aside_series"):
        raise PermissionDenied
    reason = " ".join(reason.split())
    if not reason or len(reason) > MAX_REASON:
        raise ValidationError(LONG_REASON if reason else WITHOUT_REASON)
    study = Study.objects.select_for_update().get(pk=series.study_id)
    rows = series_list(study=study)
    changed = next(one for one in rows if one.pk == series.pk)
    if changed.is_aside == is_aside:
        raise ValidationError(ASIDE_ALREADY if is_aside else NOT_ASIDE)
    left = [one for one in rows if one.pk != series.pk and not one.is_aside]
    if is_aside and not left:
        raise ValidationError(LAST_SERIES)
    SeriesAside.objects.create(series=changed, user=user, is_aside=is_aside, reason=reason)
    Series.objects.filter(pk=changed.pk).update(is_aside=is_aside)
    logger.info(
        "series set aside" if is_aside else "series taken back",
        extra={"series": changed.pk, "user": user.pk},
    )
    if is_aside:
        _read_instead(changed, left)
    elif not changed.readings:
        prediction_create(series=changed)
    study_follow(study_pk=study.pk)


def _read_instead(aside: Series, left: Sequence[Series]) -> None:
    """Read another reconstruction of the scan, or any series if none of the study was read."""
    unread = [one for one in left if not one.readings]
    same_scan = [one for one in unread if aside.scan and one.scan == aside.scan]
    if same_scan and not is_same_scan_read(aside, among=left):
        prediction_create(series=same_scan[0])
    elif len(unread) == len(left):
        prediction_create(series=unread[0])
