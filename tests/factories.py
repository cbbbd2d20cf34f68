"""Rows and files as the services make them, and studies in any state; synthetic content."""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from PIL import Image

from accounts.models import User
from detection.imaging.errors import notices_json
from detection.imaging.volume import Volume, save_volume
from detection.ml.bundle import write_manifest
from detection.ml.serving import save_stone_map
from detection.models import (
    Finding,
    ModelActivation,
    ModelVersion,
    Prediction,
    Series,
    SourceFile,
    Study,
    Upload,
)
from detection.models.encryption import file_name_index
from detection.services.registry import model_version_register

Status = Study.Status
DICOM = bytes(128) + b"DICM" + bytes(64)
OPERATING_POINT = {"name": "balanced", "threshold": 0.5, "sensitivity": 0.9, "specificity": 0.8}


def bundle_make(root: Path, name: str, *, weights: bytes = b"weights", **told: Any) -> Path:
    """Write a bundle whose checksums are right; its model is never run. `told`: model.json."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(weights)
    write_manifest(
        folder,
        {
            "name": name,
            "operating_points": {"balanced": OPERATING_POINT},
            "default_operating_point": "balanced",
            "metrics": {"auc": 0.9},
            **told,
        },
    )
    return folder


def model_version_make(name: str = "model-1", *, is_active: bool = False) -> ModelVersion:
    model_version = model_version_register(
        path=bundle_make(Path(settings.MODEL_ROOT), name), origin=ModelVersion.Origin.SITE
    )
    if is_active:
        ModelActivation.objects.create(model_version=model_version)
    return model_version


def model_version_once(name: str = "model-1") -> ModelVersion:
    return ModelVersion.objects.filter(name=name).first() or model_version_make(name)


def png_bytes(*, side: int = 160, seed: int = 0) -> bytes:
    content = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side), dtype=np.uint8)
    Image.fromarray(pixels).save(content, format="PNG")
    return content.getvalue()


def png_upload(name: str = "slice.png", **kwargs) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, png_bytes(**kwargs))


def dicom_upload(name: str = "IM1") -> SimpleUploadedFile:
    """Taken for a DICOM file by its first bytes; it is never decoded."""
    return SimpleUploadedFile(name, DICOM)


def zip_upload(name: str = "cd.zip") -> SimpleUploadedFile:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a/IM1", DICOM)
    return SimpleUploadedFile(name, content.getvalue())


def volume_make(**kwargs) -> Volume:
    pixels = np.random.default_rng(0).integers(0, 255, (1, 160, 160), dtype=np.uint8)
    return Volume(pixels=pixels, is_hu=False, **kwargs)


def series_make(*, uploaded_by: User, volume: Volume | None = None) -> Series:
    """A study that was imported: its volume lies where the row says."""
    upload = Upload.objects.create(uploaded_by=uploaded_by, status=Upload.Status.FINISHED)
    volume = volume or volume_make()
    slices, rows, columns = volume.pixels.shape
    study = Study.objects.create(
        upload=upload, uploaded_by=uploaded_by, slices=slices, plane=volume.plane
    )
    series = Series(
        study=study,
        slices=slices,
        rows=rows,
        columns=columns,
        is_hu=volume.is_hu,
        plane=volume.plane,
        notices=notices_json(volume.notices),
    )
    if volume.spacing_mm:
        series.slice_spacing_mm, series.row_spacing_mm, series.column_spacing_mm = volume.spacing_mm
    series.volume_path = f"volumes/{series.uuid}.npz"
    target = Path(settings.MEDIA_ROOT) / series.volume_path
    target.parent.mkdir(parents=True, exist_ok=True)
    save_volume(volume, target)
    series.save()
    return series


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
    study.name, study.name_index = name, file_name_index(name)
    study.save(update_fields=["name", "name_index"])
    SourceFile.objects.create(
        upload=study.upload,
        study=study,
        series=series,
        display_name=name,
        name_index=file_name_index(name),
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
    now, slices = timezone.now(), series.slices
    prediction = Prediction.objects.create(
        series=series,
        model_version=model_version_once(),
        operating_point=OPERATING_POINT,
        started_at=now,
        finished_at=now if study.is_final else None,
        **outcome,
    )
    if study.is_final and status != Status.FAILED:
        read = slices if is_read else 0
        Prediction.objects.filter(pk=prediction.pk).update(slices_read=read, slices_given=slices)
        prediction.refresh_from_db()
        Study.objects.filter(pk=study.pk).update(
            prediction=prediction, slices_read=read, slices_given=slices, series_read=1
        )
        study.refresh_from_db()
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
