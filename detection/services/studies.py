"""Uploads: quarantining what was sent, and importing it file by file."""

import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.text import Truncator
from django_tasks import task

from accounts.models import User
from detection.imaging.errors import ImageError
from detection.imaging.limits import LIMITS
from detection.imaging.sandbox import Decoded, decode_all
from detection.imaging.sniff import HEAD_BYTES, sniff
from detection.models import Series, SourceFile, Study, Upload
from detection.models.encryption import blind_index, name_stem
from detection.selectors.registry import model_version_active
from detection.services.heartbeat import heartbeat, stale_before
from detection.services.predictions import prediction_create
from detection.services.queue import LOST_SECONDS, pks_without_task, task_enqueue

logger = logging.getLogger(__name__)

MAX_FILES = 2000
MAX_FILE_BYTES = LIMITS.max_file_bytes
MAX_UPLOAD_BYTES = 4 * 2**30
MAX_ATTEMPTS = 3
# After so long an import queues up again behind the predictions it has created, so that a single
# worker shows the first results while the rest still waits to be decoded.
IMPORT_SECONDS = 3.0
# What no row names any more is older than any upload under way.
_LEFTOVER_SECONDS = 24 * 60 * 60
_CRASHED = (
    "Importing this file crashed the worker three times, so it is not tried again. "
    "Please tell an administrator."
)
Decode = Callable[[Sequence[tuple[Path, Path]]], Generator[Decoded, None, None]]


@dataclass(frozen=True)
class _Received:
    """One file as it came: quarantined, or refused with a reason."""

    display_name: str
    size_bytes: int
    sha256: str
    kind: str = ""
    quarantine_path: str = ""
    reason: str = ""


def upload_create(*, uploaded_by: User, files: Sequence[UploadedFile]) -> Upload:
    """Quarantine the bytes of the files and queue their import.

    Nothing is decoded here. Each file becomes a study; one whose first bytes are of no known kind
    is kept as a refused file with its reason, and the others go on. Raises ValidationError, with
    a message for the person, if no model is in service, if nothing was sent or too much; then
    nothing is stored.
    """
    if model_version_active() is None:
        raise ValidationError("No detection model is in service. Please contact an administrator.")
    if not files:
        raise ValidationError("No file was sent. Please choose at least one image.")
    if len(files) > MAX_FILES:
        raise ValidationError(
            f"{len(files)} files are too many for one upload. Please send at most {MAX_FILES}."
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
            _quarantine_delete(item.quarantine_path)
        if isinstance(error, OSError):
            logger.exception("upload not stored")
            raise ValidationError(
                "The server could not store the files. Please tell an administrator, and try "
                "again later."
            ) from error
        raise


@task()
def upload_import(upload_pk: int) -> None:
    upload_import_run(upload=Upload.objects.get(pk=upload_pk))


def upload_import_run(*, upload: Upload, decode: Decode = decode_all) -> None:
    """Decode the files of an upload and queue a prediction for each that can be read.

    The outcome of each file is stored by itself, so that an import that is run again goes on
    with the rest. An import that is not ours to run is left alone. A long one stops in between
    and queues up again behind the predictions it has created.
    """
    if not upload_claim(upload=upload):
        return
    with heartbeat(rows=_claimed(upload)):
        files = list(upload.source_files.filter(status=SourceFile.Status.RECEIVED).order_by("pk"))
        media = Path(settings.MEDIA_ROOT)
        (media / "volumes").mkdir(mode=0o700, parents=True, exist_ok=True)
        jobs = [(media / file.quarantine_path, media / _volume_path(file)) for file in files]
        pause_at = time.monotonic() + IMPORT_SECONDS
        with closing(decode(jobs)) as outcomes:
            for outcome in outcomes:
                file = files[outcome.index]
                if not source_file_settle(upload=upload, source_file=file, outcome=outcome):
                    return
                if time.monotonic() > pause_at:
                    break
        _upload_leave(upload)


@transaction.atomic
def upload_claim(*, upload: Upload) -> bool:
    """Take a received upload for this worker; say whether it is ours now."""
    claimed = Upload.objects.filter(pk=upload.pk, status=Upload.Status.RECEIVED).update(
        status=Upload.Status.IMPORTING, attempts=F("attempts") + 1, heartbeat_at=timezone.now()
    )
    if claimed:
        upload.refresh_from_db(fields=["status", "attempts", "heartbeat_at"])
        upload.studies.filter(status=Study.Status.RECEIVED).update(status=Study.Status.IMPORTING)
    return bool(claimed)


def source_file_settle(*, upload: Upload, source_file: SourceFile, outcome: Decoded) -> bool:
    """Store what became of one file and delete its bytes; say whether the upload is still ours.

    A file whose outcome is stored already is left as it is.
    """
    with transaction.atomic():
        if _claimed(upload).select_for_update().first() is None:
            logger.warning("upload belongs to another worker", extra={"upload": upload.pk})
            return False
        if outcome.header is None:
            _refuse(source_file, reason=outcome.error or "The file could not be read.")
        else:
            _accept(source_file, header=outcome.header)
    _quarantine_delete(source_file.quarantine_path)
    return True


def upload_sweep() -> None:
    """Take up the imports that dead workers left, and the waiting ones whose task is gone.

    After the third crash in a row the file that caused it is refused, and the others go on. Two
    sweeps at once do it once.
    """
    stale = Upload.objects.filter(status=Upload.Status.IMPORTING, heartbeat_at__lt=stale_before())
    for upload in stale:
        _take_up(upload)
    long_ago = timezone.now() - timedelta(seconds=LOST_SECONDS)
    waiting = Upload.objects.filter(status=Upload.Status.RECEIVED, created_at__lt=long_ago)
    pks = waiting.values_list("pk", flat=True)
    for pk in sorted(pks_without_task(task=upload_import, pks=pks)):
        logger.warning("upload had lost its task", extra={"upload": pk})
        task_enqueue(task=upload_import, pk=pk)


def leftovers_delete() -> None:
    """Delete from quarantine and volumes what a killed process left there and no row names."""
    media = Path(settings.MEDIA_ROOT)
    before = time.time() - _LEFTOVER_SECONDS
    quarantined = set(
        SourceFile.objects.exclude(quarantine_path="").values_list("quarantine_path", flat=True)
    )
    # Half-written volumes; the name is that of detection.imaging.volume.
    for path in [*media.glob("quarantine/*"), *media.glob("volumes/.volume-*.part")]:
        is_named = path.relative_to(media).as_posix() in quarantined
        if not is_named and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)


def _receive(file: UploadedFile) -> _Received:
    name = Truncator(file.name or "unnamed file").chars(255)
    size_bytes = file.size or 0
    if size_bytes > MAX_FILE_BYTES:
        return _Received(
            display_name=name,
            size_bytes=size_bytes,
            sha256="",
            reason=f"The file is larger than {MAX_FILE_BYTES // 2**20} MB. "
            "Please upload single CT slices.",
        )
    file.seek(0)
    head = file.read(HEAD_BYTES)
    digest = hashlib.sha256()
    try:
        kind = sniff(head)
    except ImageError as error:
        for chunk in file.chunks():
            digest.update(chunk)
        return _Received(
            display_name=name,
            size_bytes=size_bytes,
            sha256=digest.hexdigest(),
            reason=Truncator(str(error)).chars(255),
        )
    # A name of our own: the sender's is never part of a path.
    quarantine_path = f"quarantine/{uuid.uuid4().hex}"
    target = Path(settings.MEDIA_ROOT) / quarantine_path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with target.open("xb") as copy:
            target.chmod(0o600)
            for chunk in file.chunks():
                digest.update(chunk)
                copy.write(chunk)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return _Received(
        display_name=name,
        size_bytes=size_bytes,
        sha256=digest.hexdigest(),
        kind=kind,
        quarantine_path=quarantine_path,
    )


@transaction.atomic
def _upload_store(*, uploaded_by: User, received: list[_Received]) -> Upload:
    is_anything_left = any(not item.reason for item in received)
    upload = Upload.objects.create(
        uploaded_by=uploaded_by,
        status=Upload.Status.RECEIVED if is_anything_left else Upload.Status.FINISHED,
    )
    source_files = []
    for item in received:
        study = Study.objects.create(
            upload=upload,
            uploaded_by=uploaded_by,
            status=Study.Status.NOT_IMPORTED if item.reason else Study.Status.RECEIVED,
            message=item.reason,
        )
        source_files.append(
            SourceFile(
                upload=upload,
                study=study,
                display_name=item.display_name,
                name_index=blind_index(name_stem(item.display_name), field="name"),
                kind=item.kind,
                size_bytes=item.size_bytes,
                sha256=item.sha256,
                quarantine_path=item.quarantine_path,
                status=SourceFile.Status.REFUSED if item.reason else SourceFile.Status.RECEIVED,
                reason=item.reason,
            )
        )
    SourceFile.objects.bulk_create(source_files)
    if is_anything_left:
        task_enqueue(task=upload_import, pk=upload.pk)
    return upload


def _accept(source_file: SourceFile, *, header: dict[str, Any]) -> None:
    if not _settled(source_file, status=SourceFile.Status.ACCEPTED):
        return
    _, row_mm, column_mm = header["spacing_mm"] or (None, None, None)
    series = Series.objects.create(
        study=source_file.study,
        volume_path=_volume_path(source_file),
        slices=header["slices"],
        rows=header["rows"],
        columns=header["columns"],
        is_hu=header["is_hu"],
        plane=header["plane"],
        row_spacing_mm=row_mm,
        column_spacing_mm=column_mm,
        caveats=header["caveats"],
    )
    prediction_create(series=series)


def _refuse(source_file: SourceFile, *, reason: str) -> None:
    sentence = Truncator(reason).chars(255)
    if _settled(source_file, status=SourceFile.Status.REFUSED, reason=sentence):
        Study.objects.filter(pk=source_file.study_id).update(
            status=Study.Status.NOT_IMPORTED, message=sentence
        )


def _settled(source_file: SourceFile, *, status: str, reason: str = "") -> int:
    waiting = SourceFile.objects.filter(pk=source_file.pk, status=SourceFile.Status.RECEIVED)
    return waiting.update(status=status, reason=reason, quarantine_path="")


def _volume_path(source_file: SourceFile) -> str:
    # Named after the file: a second attempt replaces what a first one left behind.
    return f"volumes/{source_file.uuid}.npz"


def _quarantine_delete(quarantine_path: str) -> None:
    if quarantine_path:
        (Path(settings.MEDIA_ROOT) / quarantine_path).unlink(missing_ok=True)


@transaction.atomic
def _upload_leave(upload: Upload) -> None:
    """Finish the upload, or let it queue up again if files are left."""
    if not upload.source_files.filter(status=SourceFile.Status.RECEIVED).exists():
        _claimed(upload).update(status=Upload.Status.FINISHED, heartbeat_at=None)
        return
    # The attempts count crashes in a row: an import that got on starts again from nought.
    if _claimed(upload).update(status=Upload.Status.RECEIVED, heartbeat_at=None, attempts=0):
        task_enqueue(task=upload_import, pk=upload.pk)


@transaction.atomic
def _take_up(upload: Upload) -> None:
    # A worker that was only slow and has beaten since keeps its claim.
    rows = _claimed(upload).filter(heartbeat_at=upload.heartbeat_at)
    if rows.select_for_update().first() is None:
        return
    if upload.attempts < MAX_ATTEMPTS:
        # The attempts are kept: they count the crashes in a row.
        rows.update(status=Upload.Status.RECEIVED, heartbeat_at=None)
        task_enqueue(task=upload_import, pk=upload.pk)
        logger.warning("upload taken up again", extra={"upload": upload.pk})
        return
    # Files are decoded in order: the first that is left is the one at which the worker died.
    culprit = upload.source_files.filter(status=SourceFile.Status.RECEIVED).order_by("pk").first()
    if culprit is not None:
        _refuse(culprit, reason=_CRASHED)
        transaction.on_commit(partial(_quarantine_delete, culprit.quarantine_path))
        logger.error("file crashed its worker", extra={"source_file": culprit.pk})
    _upload_leave(upload)


def _claimed(upload: Upload) -> QuerySet[Upload]:
    """The row, as long as this attempt owns it."""
    return Upload.objects.filter(
        pk=upload.pk, status=Upload.Status.IMPORTING, attempts=upload.attempts
    )
