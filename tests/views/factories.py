"""Studies as the history shows them, with synthetic pixels and rows."""

from pathlib import Path

import numpy as np
from django.conf import settings
from django.utils import timezone

from accounts.models import User
from detection.imaging.volume import Volume
from detection.ml.serving import save_stone_map
from detection.models import Finding, ModelVersion, Prediction, SourceFile, Study
from detection.models.encryption import blind_index, name_stem
from tests.services.factories import OPERATING_POINT, series_make

Status = Study.Status


def version_make(name: str = "model-1") -> ModelVersion:
    version, _ = ModelVersion.objects.get_or_create(
        name=name,
        defaults={
            "origin": ModelVersion.Origin.SITE,
            "digest": "0" * 64,
            "operating_point": OPERATING_POINT,
        },
    )
    return version


def study_make(
    *,
    uploaded_by: User,
    name: str = "slice.png",
    status: str = Status.SUCCEEDED,
    verdict: str = "stone",
    probability: float | None = 0.87,
    message: str = "",
    volume: Volume | None = None,
) -> Study:
    """A study in any state; a finding and a map if it was read."""
    series = series_make(uploaded_by=uploaded_by, volume=volume)
    study = series.study
    study.name = name
    study.save(update_fields=["name"])
    SourceFile.objects.create(
        upload=study.upload,
        study=study,
        series=series,
        display_name=name,
        name_index=blind_index(name_stem(name), field="name"),
        size_bytes=1234,
        sha256="0" * 64,
        status=SourceFile.Status.ACCEPTED,
    )
    is_read = status == Status.SUCCEEDED
    outcome = {
        "status": status,
        "verdict": verdict if is_read else "cannot_assess" if status == Status.REFUSED else "",
        "probability": probability if is_read else None,
        "message": message,
    }
    Study.objects.filter(pk=study.pk).update(**outcome)
    study.refresh_from_db()
    if status in (Status.RECEIVED, Status.IMPORTING, Status.NOT_IMPORTED):
        series.delete()
        return study
    now = timezone.now()
    prediction = Prediction.objects.create(
        series=series,
        model_version=version_make(),
        operating_point=OPERATING_POINT,
        started_at=now,
        finished_at=now if study.is_final else None,
        **outcome,
    )
    if is_read:
        prediction.map_path = f"maps/{prediction.uuid}.npz"
        prediction.save(update_fields=["map_path"])
        stone_map = np.zeros((1, 32, 32), np.float32)
        stone_map[0, 10, 20] = 0.87
        save_stone_map(stone_map, Path(settings.MEDIA_ROOT) / prediction.map_path)
        Finding.objects.create(
            prediction=prediction,
            rank=1,
            plane="axial",
            x0=98.4,
            y0=47.6,
            x1=107.2,
            y1=55.9,
            probability=0.87,
            extent_mm=6.25,
        )
    return study
