"""Receiving an upload: its limits, quarantine, and the files that belong together."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils.text import Truncator

from accounts.models import User
from detection.imaging.errors import ImageError
from detection.imaging.ingest import HEAD_BYTES, OF_NO_CONCERN, PICTURE_KINDS, sniff
from detection.imaging.limits import LIMITS
from detection.models import SourceFile, Upload
from detection.models.encryption import file_name_index
from detection.selectors.registry import model_version_active
from detection.services.faults import FAULTS, fault_name
from detection.services.imports import upload_import
from detection.services.quarantine import quarantine_delete, quarantine_store
from detection.services.queue import task_enqueue
from detection.services.space import not_stored, space_check

logger = logging.getLogger(__name__)

# An examination has some thousand slices. DATA_UPLOAD_MAX_NUMBER_FILES is one more.
MAX_FILES = 5000
MAX_FILE_BYTES = LIMITS.max_file_bytes
# Large kinds may hold a whole examination in one file: the upload alone limits them.
MAX_UPLOAD_BYTES = 4 * 2**30
_LARGE_KINDS = frozenset({"zip", "gzip", "nifti"})


@dataclass(frozen=True)
class _Received:
    """One file as it came: quarantined, or refused with a reason."""

    display_name: str
    size_bytes: int
    sha256: str = ""
    kind: str = ""
    quarantine_path: str = ""
    code: str = ""
    reason: str = ""
    advice: str = ""


def upload_create(*, uploaded_by: User, files: Sequence["UploadedFile[Any]"]) -> Upload:
    """Quarantine the bytes of the files and queue their import.

    Nothing is decoded here, and there is no study before the import has found one. A file that is
    of no known kind or too large gets a row with the reason, and the others go on.

    Raises ValidationError, with a message for the uploader, if no model is in service, if nothing
    or too much was sent, or, with a code of `space.NOT_STORED`, if the disk fails or has not the
    room that the import needs. Nothing is stored then.
    """
    if model_version_active() is None:
        raise ValidationError("No detection model is in service. Please contact an administrator.")
    if not files:
        raise ValidationError("No file was sent. Please choose at least one image.")
    if len(files) > MAX_FILES:
        raise ValidationError(
            f"{len(files)} files are too many for one upload. Please send at most {MAX_FILES}, "
            "or a ZIP archive of each examination."
        )
    if sum(file.size or 0 for file in files) > MAX_UPLOAD_BYTES:
        raise ValidationError(
            f"The files are larger than {MAX_UPLOAD_BYTES // 2**30} GB together. "
            "Please send them in several uploads."
        )
    space_check(size_bytes=sum(file.size or 0 for file in files))
    received: list[_Received] = []
    try:
        for file in files:
            received.append(_receive(file))
        return _upload_store(uploaded_by=uploaded_by, received=received)
    except BaseException as error:
        for item in received:
            quarantine_delete(quarantine_path=item.quarantine_path)
        if isinstance(error, FAULTS):
            logger.exception("upload not stored", extra={"fault": fault_name(error)})
            raise not_stored(error) from error
        raise


def _receive(file: "UploadedFile[Any]") -> _Received:
    name = Truncator(file.name or "unnamed file").chars(255)
    size_bytes = file.size or 0
    file.seek(0)
    try:
        kind = sniff(file.read(HEAD_BYTES))
    except ImageError as error:
        return _Received(
            display_name=name,
            size_bytes=size_bytes,
            code=error.code,
            reason=Truncator(error.reason).chars(255),
            advice=Truncator(error.advice).chars(255),
        )
    if size_bytes > MAX_FILE_BYTES and kind not in _LARGE_KINDS:
        return _Received(
            display_name=name,
            size_bytes=size_bytes,
            kind=kind,
            code="too_large",
            reason=f"The file is larger than {MAX_FILE_BYTES // 2**20} MB.",
            advice="Please upload the CT slices as they were acquired.",
        )
    quarantine_path, sha256 = quarantine_store(file=file)
    return _Received(
        display_name=name,
        size_bytes=size_bytes,
        sha256=sha256,
        kind=kind,
        quarantine_path=quarantine_path,
    )


@transaction.atomic
def _upload_store(*, uploaded_by: User, received: list[_Received]) -> Upload:
    kept = [item for item in received if item.quarantine_path]
    upload = Upload.objects.create(
        uploaded_by=uploaded_by,
        status=Upload.Status.RECEIVED if kept else Upload.Status.FINISHED,
    )
    # A document or viewer beside a series, as on a patient's disc, is left out and not refused.
    has_series = any(item.kind not in PICTURE_KINDS for item in kept)
    SourceFile.objects.bulk_create(_row(upload, item, has_series) for item in received)
    if kept:
        task_enqueue(task=upload_import, pk=upload.pk)
    return upload


def _row(upload: Upload, item: _Received, has_series: bool) -> SourceFile:
    if item.quarantine_path:
        status = SourceFile.Status.RECEIVED
    elif has_series and item.code in OF_NO_CONCERN:
        status = SourceFile.Status.SKIPPED
    else:
        status = SourceFile.Status.REFUSED
    return SourceFile(
        upload=upload,
        display_name=item.display_name,
        name_index=file_name_index(item.display_name),
        kind=item.kind,
        size_bytes=item.size_bytes,
        sha256=item.sha256,
        quarantine_path=item.quarantine_path,
        status=status,
        code=item.code,
        reason=item.reason,
        advice="" if status == SourceFile.Status.SKIPPED else item.advice,
    )
