"""Importing an upload: its files become studies of series, and rows of a report."""

import errno
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils.text import Truncator
from django_tasks import task

from accounts.models import User
from detection.imaging.errors import Notice
from detection.imaging.ingest import (
    OF_NO_CONCERN,
    FileReport,
    IngestedSeries,
    IngestResult,
    Kind,
    Sandbox,
    ingest,
)
from detection.models import Series, SourceFile, Study, Upload
from detection.models.encryption import file_name_index
from detection.selectors.studies import files_waiting
from detection.services.claims import (
    Work,
    row_claim,
    row_hurry,
    row_requeue,
    row_wait,
    rows_claimed,
    rows_sweep,
    waited_seconds,
)
from detection.services.duplicates import (
    examination_index,
    examination_notice,
    series_content,
    series_twin,
)
from detection.services.faults import FAULTS, fault_sentence
from detection.services.heartbeat import heartbeat
from detection.services.identifiers import identifiers_store
from detection.services.media import media_root
from detection.services.predictions import prediction_create
from detection.services.quarantine import quarantine_delete
from detection.services.series import series_create, series_due

logger = logging.getLogger(__name__)

# After this time an import queues up again behind the predictions it has created. A single worker
# then shows the first results while the other files still wait.
IMPORT_SECONDS = 3.0
# No upload takes as long: an older file that no row names is left over.
_LEFTOVER_SECONDS = 24 * 60 * 60
# Missing bytes may come back with a disk or a backup; after faults for so long they are lost.
_LOST_SECONDS = 24 * 60 * 60
_CRASHED = "Importing this file crashed the worker three times, so it is not tried again."
_TELL = "Please tell an administrator."
_LOST = "The server has lost the bytes of this file."
_SEND_AGAIN = "Please upload it again."
_ALREADY_HERE = "The same images are already here: they are not stored or read a second time."
_KEPT = (
    "The files are kept, and are imported as soon as this is mended. "
    "An administrator finds the cause in the log."
)


class Ingest(Protocol):
    """How files are read: `detection.imaging.ingest.ingest`, or what stands in for it."""

    def __call__(
        self, paths: Sequence[Path], *, target_folder: Path, worker: Sandbox
    ) -> IngestResult: ...


@task()
def upload_import(upload_pk: int) -> None:
    upload_import_run(upload=Upload.objects.get(pk=upload_pk))


_IMPORTS = Work(
    model=Upload,
    task=upload_import,
    waiting=Upload.Status.RECEIVED,
    running=Upload.Status.IMPORTING,
    name="upload",
)


def upload_import_run(*, upload: Upload, ingest: Ingest = ingest) -> None:
    """Decode the files of an upload and queue a prediction for each study that can be read.

    Pictures go first, one by one; then each group of files that belong together: the DICOM files,
    each archive, each volume file. Each outcome is stored by itself, so that an import that is
    run again goes on with the rest. An import that is not ours to run is left alone. A long one
    stops in between and queues up again behind the predictions it has created.

    A fault of the installation leaves the files of its group as they are, and the upload waits. Any
    other unexpected error passes; the sweep then has the upload imported again.
    """
    if not upload_claim(upload=upload):
        return
    with heartbeat(rows=_claimed(upload)):
        try:
            fault = _groups_import(upload, ingest)
        except FAULTS as error:
            fault = error
        if fault is None:
            _upload_leave(upload)
        else:
            message = f"{fault_sentence(fault)} {_KEPT}"
            row_wait(work=_IMPORTS, row=upload, error=fault, message=message)


def upload_claim(*, upload: Upload) -> bool:
    """Take a received upload for this worker; say whether it is ours now."""
    return row_claim(work=_IMPORTS, row=upload)


def upload_hurry(*, upload: Upload) -> bool:
    """Import an upload that waits for the installation at once; say whether it did wait."""
    return row_hurry(work=_IMPORTS, row=upload)


def _groups_import(upload: Upload, ingest: Ingest) -> Exception | None:
    """Import group after group for some seconds; return the first fault of the installation.

    The other groups are tried all the same: a small one may find the room that a large one lacks.
    """
    fault: Exception | None = None
    pause_at = None
    with Sandbox() as sandbox:
        # Not its parents: where the disk is not mounted, nothing must be written in its place.
        (media_root() / "volumes").mkdir(mode=0o700, exist_ok=True)
        for group in _groups(upload):
            try:
                if not group_import(upload=upload, files=group, ingest=ingest, worker=sandbox):
                    break
                # The pauses count faults in a row.
                upload.faults = 0
            except FAULTS as error:
                fault = fault or error
            # It counts from the first outcome: a slow start must not be repeated for each file.
            pause_at = pause_at or time.monotonic() + IMPORT_SECONDS
            if time.monotonic() >= pause_at:
                break
    return fault


def group_import(
    *, upload: Upload, files: Sequence[SourceFile], ingest: Ingest, worker: Sandbox
) -> bool:
    """Import files that belong together, and say whether the upload is still ours."""
    media = media_root()
    files = _present(upload, files)
    if not files:
        return True
    # Named after the first file: a second attempt replaces what a first one left behind.
    folder = media / "volumes" / f"import-{files[0].uuid}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    result = IngestResult(series=(), report=())
    try:
        paths = [media / file.quarantine_path for file in files]
        result = ingest(paths, target_folder=folder, worker=worker)
        contents = [series_content(one) for one in result.series]
        with transaction.atomic():
            if not _is_ours(upload):
                return False
            if _settled(files, status=SourceFile.Status.ACCEPTED):
                ingested_store(upload=upload, files=files, result=result, contents=contents)
    except OSError:
        # Nothing is stored: the volumes that were in place already would be left over.
        for one in result.series:
            (media / "volumes" / one.volume_path.name).unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for file in files:
        quarantine_delete(quarantine_path=file.quarantine_path)
    return True


def ingested_store(
    *,
    upload: Upload,
    files: Sequence[SourceFile],
    result: IngestResult,
    contents: Sequence[str],
) -> None:
    """Store the series found in `files`, their studies and report rows; queue the readings.

    An examination of which the sender can see every series already is stored in the report alone.
    Each scan of a study is read once (`series_due`). The caller holds the transaction and has
    marked the files as accepted. `contents` are those of the series (`series_content`). The volume
    files are moved to where the rows say.
    """
    # Two imports at once must not both find that the same images are new.
    User.objects.select_for_update().get(pk=upload.uploaded_by_id)
    series_of_row: dict[int, Series] = {}
    twin_of_row: dict[int, Series] = {}
    for members in _examinations(result.series):
        found = [result.series[index] for index in members]
        twins = [series_twin(user=upload.uploaded_by, content=contents[index]) for index in members]
        known = [twin for twin in twins if twin is not None]
        if len(known) == len(found):
            for ingested, twin in zip(found, known, strict=True):
                twin_of_row |= dict.fromkeys(ingested.rows, twin)
            continue
        rows = _study_store(upload, found, [contents[index] for index in members])
        for ingested, series in zip(found, rows, strict=True):
            series_of_row |= dict.fromkeys(ingested.rows, series)
    _report_store(files, result.report, series_of_row, twin_of_row)


def _study_store(
    upload: Upload, found: Sequence[IngestedSeries], contents: Sequence[str]
) -> list[Series]:
    """Store one study with its series, and queue the readings of those that are due."""
    due = series_due(found)
    first = due[0]
    identifiers = found[first].identifiers
    index = examination_index(found[first])
    notices = examination_notice(user=upload.uploaded_by, index=index)
    study = Study.objects.create(
        upload=upload, uploaded_by_id=upload.uploaded_by_id, examination_index=index
    )
    rows = [
        _series_store(study, one, content, notices=notices, is_first=number == first)
        for number, (one, content) in enumerate(zip(found, contents, strict=True))
    ]
    identifiers_store(study=study, found=asdict(identifiers))
    for number in due:
        prediction_create(series=rows[number])
    return rows


def upload_sweep() -> None:
    """Take up the imports that dead workers left, and the waiting ones whose task is gone.

    After the third crash in a row the file or the group at which it happened is refused, and the
    others go on. Two sweeps at once do it once.
    """
    rows_sweep(work=_IMPORTS, give_up=_give_up)


def leftovers_delete() -> None:
    """Delete what lies in quarantine or volumes, is a day old, and has no row.

    Raises OSError if the disk is not there or fails.
    """
    media = media_root()
    before = time.time() - _LEFTOVER_SECONDS
    named = set(
        SourceFile.objects.exclude(quarantine_path="").values_list("quarantine_path", flat=True)
    )
    named.update(Series.objects.values_list("volume_path", flat=True))
    # Half-written volumes begin with a dot, as `detection.imaging.volume` names them.
    for path in [*media.glob("quarantine/*"), *media.glob("volumes/*"), *media.glob("volumes/.*")]:
        if path.relative_to(media).as_posix() in named or path.stat().st_mtime >= before:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _refuse(files: Sequence[SourceFile], *, reason: str, advice: str, code: str) -> None:
    """Refuse those files that have no outcome yet."""
    _settled(files, status=SourceFile.Status.REFUSED, reason=reason, advice=advice, code=code)


def _present(upload: Upload, files: Sequence[SourceFile]) -> list[SourceFile]:
    """Return the files whose bytes are there, and refuse those that are lost for good.

    Raises OSError if the disk or the folder is not there at all, a file cannot be opened now, or
    its bytes have been missing for less than a day: then they may come back.
    """
    media = media_root()
    (media / "quarantine").stat()
    lost: list[SourceFile] = []
    for file in files:
        try:
            (media / file.quarantine_path).open("rb").close()
        except FileNotFoundError:
            lost.append(file)
            logger.error("bytes of a file are missing", extra={"source_file": file.pk})
    if lost:
        if waited_seconds(row=upload) < _LOST_SECONDS:
            raise FileNotFoundError(errno.ENOENT, "Bytes of a file are missing.")
        _refuse(lost, reason=_LOST, advice=_SEND_AGAIN, code="lost")
    return [file for file in files if file not in lost]


def _settled(files: Iterable[SourceFile], *, status: str, **fields: str) -> int:
    waiting = SourceFile.objects.filter(
        pk__in=[file.pk for file in files], status=SourceFile.Status.RECEIVED
    )
    return waiting.update(status=status, quarantine_path="", **fields)


def _examinations(found: Sequence[IngestedSeries]) -> list[list[int]]:
    """Return the numbers of the series of each examination; a picture is one by itself."""
    groups: dict[str, list[int]] = {}
    for number, ingested in enumerate(found):
        groups.setdefault(ingested.study, []).append(number)
    return list(groups.values())


def _series_store(
    study: Study,
    ingested: IngestedSeries,
    content: str,
    *,
    notices: tuple[Notice, ...],
    is_first: bool,
) -> Series:
    volume_path = f"volumes/{ingested.volume_path.name}"
    series = series_create(
        study=study,
        header=ingested.header,
        volume_path=volume_path,
        content=content,
        description=ingested.description,
        is_dicom=ingested.kind == Kind.DICOM,
        is_first=is_first,
        scan=ingested.scan,
        notices=(*ingested.notices, *notices),
    )
    os.replace(ingested.volume_path, Path(settings.MEDIA_ROOT) / volume_path)
    return series


def _report_store(
    files: Sequence[SourceFile],
    report: Sequence[FileReport],
    series_of_row: dict[int, Series],
    twin_of_row: dict[int, Series],
) -> None:
    """Store the outcome of each file, and a new row for each member of an archive."""
    changed: list[SourceFile] = []
    members: list[SourceFile] = []
    # What could not be read belongs to the first study that was made of what lay beside it.
    first = next(iter(series_of_row.values()), None)
    has_images = bool(series_of_row or twin_of_row)
    for number, row in enumerate(report):
        source = files[row.source_index]
        series, twin = series_of_row.get(number), twin_of_row.get(number)
        if row.member:
            source_file = SourceFile(
                upload_id=source.upload_id,
                display_name=source.display_name,
                archive_member=row.member,
                name_index=file_name_index(row.member),
                size_bytes=0,
            )
            members.append(source_file)
        else:
            source_file = source
            changed.append(source_file)
        source_file.series = series
        if twin is not None:
            source_file.duplicate_of_id = twin.study_id
            source_file.status = SourceFile.Status.SKIPPED
            source_file.code, source_file.reason = "already_here", _ALREADY_HERE
            continue
        if first is not None:
            source_file.study_id = (series or first).study_id
        is_beside = has_images and row.code in OF_NO_CONCERN
        source_file.status = SourceFile.Status.SKIPPED if is_beside else row.status
        source_file.code = row.code
        source_file.reason = Truncator(row.reason).chars(255)
        source_file.advice = "" if is_beside else Truncator(row.advice).chars(255)
    SourceFile.objects.bulk_update(
        changed,
        ["series", "study", "duplicate_of", "status", "code", "reason", "advice"],
        batch_size=500,
    )
    SourceFile.objects.bulk_create(members, batch_size=500)
    used = [
        (row.study_id, row.display_name)
        for row in [*changed, *members]
        if row.series_id and row.study_id
    ]
    names = dict(reversed(used))
    for pk, count in Counter(pk for pk, _ in used).items():
        index = file_name_index(names[pk])
        Study.objects.filter(pk=pk).update(file_count=count, name=names[pk], name_index=index)


def _groups(upload: Upload) -> list[list[SourceFile]]:
    """Return the files without an outcome, those together that are imported together.

    All DICOM files of an upload are: their headers tell which belong to one series. Any other file
    stands alone.
    """
    groups: dict[int, list[SourceFile]] = {}
    for file in files_waiting(upload=upload):
        groups.setdefault(0 if file.kind == Kind.DICOM else file.pk, []).append(file)
    return list(groups.values())


@transaction.atomic
def _upload_leave(upload: Upload) -> None:
    """Finish the upload, or let it queue up again if files are left."""
    if not upload.source_files.filter(status=SourceFile.Status.RECEIVED).exists():
        _claimed(upload).update(status=Upload.Status.FINISHED, heartbeat_at=None, faults=0)
        return
    # The attempts count crashes in a row: an import that got on starts again from 0.
    row_requeue(work=_IMPORTS, row=upload, attempts=0, faults=0)


def _give_up(upload: Upload) -> None:
    """Refuse the file or the group at which the worker died, and let the others go on."""
    # Groups are imported in this order: the worker died at the first that is left.
    culprit = next(iter(_groups(upload)), [])
    if culprit:
        _refuse(culprit, reason=_CRASHED, advice=_TELL, code="crashed")
        for file in culprit:
            transaction.on_commit(partial(quarantine_delete, quarantine_path=file.quarantine_path))
        logger.error("file crashed its worker", extra={"source_file": culprit[0].pk})
    _upload_leave(upload)


def _is_ours(upload: Upload) -> bool:
    """Say whether this attempt still owns the upload; lock its row for the transaction."""
    if _claimed(upload).select_for_update().first() is not None:
        return True
    logger.warning("upload belongs to another worker", extra={"upload": upload.pk})
    return False


def _claimed(upload: Upload) -> QuerySet[Upload]:
    """Return the row as a queryset, empty once this attempt no longer owns it."""
    return rows_claimed(work=_IMPORTS, row=upload)
