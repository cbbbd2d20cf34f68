"""Storing what an archive, a volume file or a pile of DICOM files turned out to be."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from django.conf import settings
from django.db.models import Count, Q
from django.utils.text import Truncator

from detection.imaging.ingest import FileReport, IngestedSeries, IngestResult, choose_series
from detection.imaging.sandbox import ingest_all
from detection.models import Series, SourceFile, Study
from detection.models.encryption import blind_index, name_stem
from detection.services.identifiers import identifiers_store
from detection.services.predictions import prediction_create
from detection.services.series import series_create

Ingest = Callable[[Sequence[Path], Path], IngestResult]
_PICTURE = "picture"


def ingest_group(paths: Sequence[Path], folder: Path) -> IngestResult:
    """Ingest files in the limited child process."""
    return ingest_all(paths, target_folder=folder)


def ingested_store(*, study: Study, files: Sequence[SourceFile], result: IngestResult) -> None:
    """Make studies, series and report rows of what was found in `files`; queue the readings.

    `study` becomes the first of the studies. Runs in the caller's transaction, before which the
    files count as accepted; the volume files are moved to where the rows say.
    """
    studies = _studies(study, result.series)
    by_row: dict[int, Series] = {}
    for owner, found in studies:
        chosen = choose_series(found)
        rows = []
        for index, ingested in enumerate(found):
            series = _series_store(owner, ingested, is_chosen=index == chosen)
            rows.append(series)
            by_row |= dict.fromkeys(ingested.rows, series)
        for ingested in found:
            if ingested.identifiers is not None:
                identifiers_store(study=owner, found=ingested.identifiers)
                break
        Study.objects.filter(pk=owner.pk).update(
            slices=rows[chosen].slices, plane=rows[chosen].plane
        )
        prediction_create(series=rows[chosen])
    _report_store(study, files, result.report, by_row)
    if not studies:
        _refuse(study, result.report)
    for owner, _ in studies:
        _name(owner)
