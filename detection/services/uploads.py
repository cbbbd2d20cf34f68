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
from detection.models import SourceFile, Study, Upload
from detection.models.encryption import blind_index, name_stem
from detection.selectors.registry import model_version_active
from detection.services.imports import upload_import
from detection.services.quarantine import quarantine_delete, quarantine_store
from detection.services.queue import task_enqueue

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

    Nothing is decoded here. Until the import has looked into them, each picture, archive and
    volume file is a study, and all DICOM files together are one. A file that is of no known kind
    or too large gets a row with the reason, and the others go on.

    Raises ValidationError, with a message for the uploader, if no model is in service, if nothing
    or too much was sent, or if the disk fails. Nothing is stored then.
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
    received: list[_Received] = []
    try:
        for file in files:
            received.append(_receive(file))
        return _upload_store(uploaded_by=uploaded_by, received=received)
    except BaseException as error:
        for item in received:
            quarantine_delete(quarantine_path=item.quarantine_path)
        if isinstance(error, OSError):
            logger.exception("upload not stored")
            raise ValidationError(
                "The server could not store the files. Please tell an administrator, and try "
                "again later."
            ) from error
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
    is_anything_left = any(item.quarantine_path for item in received)
    upload = Upload.objects.create(
        uploaded_by=uploaded_by,
        status=Upload.Status.RECEIVED if is_anything_left else Upload.Status.FINISHED,
    )
    rows = []
    for group in _groups(received):
        first = group[0]
        study = Study.objects.create(
            upload=upload,
            uploaded_by=uploaded_by,
            status=Study.Status.RECEIVED if first.quarantine_path else Study.Status.NOT_IMPORTED,
            message=first.reason,
            name=first.display_name,
            file_count=sum(1 for item in group if item.quarantine_path) or 1,
        )
        rows += [_row(upload, study, item) for item in group]
    SourceFile.objects.bulk_create(rows)
    if is_anything_left:
        task_enqueue(task=upload_import, pk=upload.pk)
    return upload


def _groups(received: list[_Received]) -> list[list[_Received]]:
    """Return the files by the study they share until the import; the first speaks for its group.

    A document or viewer beside a series, as on a patient's disc, is no study of its own: the
    first series reports it. Beside pictures alone it is a refused study.
    """
    dicom = [item for item in received if item.kind == "dicom" and item.quarantine_path]
    groups: list[list[_Received]] = []
    beside: list[_Received] = []
    for item in received:
        if not item.quarantine_path:
            beside.append(item)
        elif item.kind != "dicom":
            groups.append([item])
        elif item is dicom[0]:
            groups.append(dicom)
    series = [group for group in groups if group[0].kind not in PICTURE_KINDS]
    if series:
        series[0].extend(beside)
    else:
        groups.extend([item] for item in beside)
    order = {id(item): index for index, item in enumerate(received)}
    return sorted(groups, key=lambda group: order[id(group[0])])


def _row(upload: Upload, study: Study, item: _Received) -> SourceFile:
    if item.quarantine_path:
        status = SourceFile.Status.RECEIVED
    elif study.status == Study.Status.RECEIVED and item.code in OF_NO_CONCERN:
        status = SourceFile.Status.SKIPPED
    else:
        status = SourceFile.Status.REFUSED
    return SourceFile(
        upload=upload,
        study=study,
        display_name=item.display_name,
        name_index=blind_index(name_stem(item.display_name), field="name"),
        kind=item.kind,
        size_bytes=item.size_bytes,
        sha256=item.sha256,
        quarantine_path=item.quarantine_path,
        status=status,
        code=item.code,
        reason=item.reason,
        advice="" if status == SourceFile.Status.SKIPPED else item.advice,
    )
