"""Series: storing decoded ones, and picking the one that speaks for its study."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from detection.imaging.errors import Notice, notices_json
from detection.models import Prediction, Series, Study
from detection.selectors.registry import model_version_active
from detection.services.predictions import prediction_create, prediction_speak

# The number is a code of DICOM PS3.16, CID 7050; the rest says how it is followed.
DEIDENTIFIED_DICOM = (
    "DICOM PS3.15 basic profile (113100), by whitelist: only pixel values, geometry and the "
    "scanner's own units are kept"
)
DEIDENTIFIED_OTHER = "By whitelist: only pixel values and geometry are kept"


def series_create(
    *,
    study: Study,
    header: Mapping[str, Any],
    volume_path: str,
    content: str = "",
    description: str,
    is_dicom: bool,
    is_chosen: bool = True,
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
        is_chosen=is_chosen,
        deidentification=DEIDENTIFIED_DICOM if is_dicom else DEIDENTIFIED_OTHER,
    )


@transaction.atomic
def series_choose(*, series: Series) -> Prediction | None:
    """Let a series speak for its study, and queue its reading unless it was read already.

    Returns the queued prediction, or None if the model version in service has read the series or
    is about to. Raises ValidationError if no model is in service; then nothing is changed.
    """
    # The lock keeps a reading that ends right now from speaking for the study too.
    study = Study.objects.select_for_update().get(pk=series.study_id)
    study.series.exclude(pk=series.pk).update(is_chosen=False)
    study.series.filter(pk=series.pk).update(is_chosen=True)
    Study.objects.filter(pk=study.pk).update(slices=series.slices, plane=series.plane)
    known = (
        series.predictions.filter(model_version=model_version_active())
        .exclude(status=Prediction.Status.FAILED)
        .order_by("-pk")
        .first()
    )
    if known is None:
        return prediction_create(series=series)
    prediction_speak(prediction=known)
    return None
