"""Importing an upload: its files become studies of series, and rows of a report."""

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
from django.db.models import Case, QuerySet, When
from django.utils.text import Truncator
from django_tasks import task

from detection.imaging.ingest import (
    OF_NO_CONCERN,
    PICTURE_KINDS,
    FileReport,
    IngestedSeries,
    IngestResult,
    Kind,
    Sandbox,
    choose_series,
    ingest,
)
from detection.models import Series, SourceFile, Study, Upload
from detection.models.encryption import blind_index, name_stem
from detection.services.claims import Work, row_claim, row_requeue, rows_claimed, rows_sweep
from detection.services.heartbeat import heartbeat
from detection.services.identifiers import identifiers_store
from detection.services.predictions import prediction_create
from detection.services.quarantine import quarantine_delete
from detection.services.series import series_create

logger = logging.getLogger(__name__)

# After this time an import queues up again behind the predictions it has created. A single worker
# then shows the first results while the other files still wait.
IMPORT_SECONDS = 3.0
# No upload takes as long: an older file that no row names is left over.
_LEFTOVER_SECONDS = 24 * 60 * 60
_CRASHED = "Importing this file crashed the worker three times, so it is not tried again."
_TELL = "Please tell an administrator."


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
    stops in between and queues up again behind the predictions it has created. An unexpected
    error passes; the sweep then has the upload imported again.
    """
    if not upload_claim(upload=upload):
        return
    with heartbeat(rows=_claimed(upload)), Sandbox() as sandbox:
        (Path(settings.MEDIA_ROOT) / "volumes").mkdir(mode=0o700, parents=True, exist_ok=True)
        pause_at = None
        for group in _groups(upload):
            if not group_import(upload=upload, files=group, ingest=ingest, worker=sandbox):
                return
            # It counts from the first outcome: a slow start must not be repeated for each file.
            pause_at = pause_at or time.monotonic() + IMPORT_SECONDS
            if time.monotonic() >= pause_at:
                break
        _upload_leave(upload)


@transaction.atomic
def upload_claim(*, upload: Upload) -> bool:
    """Take a received upload for this worker; say whether it is ours now."""
    is_ours = row_claim(work=_IMPORTS, row=upload)
    if is_ours:
        upload.studies.filter(status=Study.Status.RECEIVED).update(status=Study.Status.IMPORTING)
    return is_ours


def group_import(
    *, upload: Upload, files: Sequence[SourceFile], ingest: Ingest, worker: Sandbox
) -> bool:
    """Import files that belong together, and say whether the upload is still ours.

    They share one study so far; it becomes the first of the studies that are found in them.
    """
    media = Path(settings.MEDIA_ROOT)
    study = files[0].study
    assert study is not None
    # Named after the study: a second attempt replaces what a first one left behind.
    folder = media / "volumes" / f"import-{study.uuid}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        paths = [media / file.quarantine_path for file in files]
        result = ingest(paths, target_folder=folder, worker=worker)
        with transaction.atomic():
            if not _is_ours(upload):
                return False
            if _settled(files, status=SourceFile.Status.ACCEPTED):
                ingested_store(study=study, files=files, result=result)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for file in files:
        quarantine_delete(quarantine_path=file.quarantine_path)
    return True


def ingested_store(*, study: Study, files: Sequence[SourceFile], result: IngestResult) -> None:
    """Store the series found in `files`, their studies and report rows; queue the readings.

    `study` becomes the first of the studies. The caller holds the transaction and has marked the
    files as accepted. The volume files are moved to where the rows say.
    """
    series_of_row: dict[int, Series] = {}
    for owner, found in _studies(study, result.series):
        chosen = choose_series(found)
        rows = [
            _series_store(owner, ingested, is_chosen=index == chosen)
            for index, ingested in enumerate(found)
        ]
        for ingested, series in zip(found, rows, strict=True):
            series_of_row |= dict.fromkeys(ingested.rows, series)
        identifiers_store(study=owner, found=asdict(found[chosen].identifiers))
        Study.objects.filter(pk=owner.pk).update(
            slices=rows[chosen].slices, plane=rows[chosen].plane
        )
        prediction_create(series=rows[chosen])
    _report_store(study, files, result.report, series_of_row)
    if not series_of_row:
        Study.objects.filter(pk=study.pk).update(
            status=Study.Status.NOT_IMPORTED, message=_why_nothing(result.report)
        )


def upload_sweep() -> None:
    """Take up the imports that dead workers left, and the waiting ones whose task is gone.

    After the third crash in a row the file or the group at which it happened is refused, and the
    others go on. Two sweeps at once do it once.
    """
    rows_sweep(work=_IMPORTS, give_up=_give_up)


def leftovers_delete() -> None:
    """Delete what lies in quarantine or volumes, is a day old, and has no row."""
    media = Path(settings.MEDIA_ROOT)
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


def _refuse(files: Sequence[SourceFile], *, reason: str, advice: str = "", code: str = "") -> None:
    """Refuse those files that have no outcome yet, and their study with them."""
    sentence = Truncator(reason).chars(255)
    fields = {"reason": sentence, "advice": Truncator(advice).chars(255), "code": code}
    if _settled(files, status=SourceFile.Status.REFUSED, **fields):
        study_id = files[0].study_id
        assert study_id is not None
        Study.objects.filter(pk=study_id).update(
            status=Study.Status.NOT_IMPORTED,
            message=Truncator(f"{reason} {advice}".strip()).chars(255),
        )


def _settled(files: Iterable[SourceFile], *, status: str, **fields: str) -> int:
    waiting = SourceFile.objects.filter(
        pk__in=[file.pk for file in files], status=SourceFile.Status.RECEIVED
    )
    return waiting.update(status=status, quarantine_path="", **fields)


def _studies(
    study: Study, found: Sequence[IngestedSeries]
) -> list[tuple[Study, list[IngestedSeries]]]:
    """Return studies with their series: one for each examination, one for each picture."""
    groups: dict[str, list[IngestedSeries]] = {}
    for ingested in found:
        groups.setdefault(ingested.study, []).append(ingested)
    owners = [study] + [
        Study.objects.create(upload_id=study.upload_id, uploaded_by_id=study.uploaded_by_id)
        for _ in list(groups)[1:]
    ]
    return list(zip(owners, groups.values(), strict=False))


def _series_store(study: Study, ingested: IngestedSeries, *, is_chosen: bool) -> Series:
    volume_path = f"volumes/{ingested.volume_path.name}"
    series = series_create(
        study=study,
        header=ingested.header,
        volume_path=volume_path,
        description=ingested.description,
        is_dicom=ingested.kind == Kind.DICOM,
        is_chosen=is_chosen,
        notices=ingested.notices,
    )
    os.replace(ingested.volume_path, Path(settings.MEDIA_ROOT) / volume_path)
    return series


def _report_store(
    study: Study,
    files: Sequence[SourceFile],
    report: Sequence[FileReport],
    series_of_row: dict[int, Series],
) -> None:
    """Store the outcome of each file, and a new row for each member of an archive."""
    changed: list[SourceFile] = []
    members: list[SourceFile] = []
    for number, row in enumerate(report):
        source = files[row.source_index]
        series = series_of_row.get(number)
        if row.member:
            source_file = SourceFile(
                upload_id=source.upload_id,
                display_name=source.display_name,
                archive_member=row.member,
                name_index=blind_index(name_stem(row.member), field="name"),
                size_bytes=0,
            )
            members.append(source_file)
        else:
            source_file = source
            changed.append(source_file)
        source_file.series = series
        source_file.study_id = series.study_id if series else study.pk
        is_beside = bool(series_of_row) and row.code in OF_NO_CONCERN
        source_file.status = SourceFile.Status.SKIPPED if is_beside else row.status
        source_file.code = row.code
        source_file.reason = Truncator(row.reason).chars(255)
        source_file.advice = "" if is_beside else Truncator(row.advice).chars(255)
    SourceFile.objects.bulk_update(
        changed, ["series", "study", "status", "code", "reason", "advice"], batch_size=500
    )
    SourceFile.objects.bulk_create(members, batch_size=500)
    used = [
        (row.study_id, row.display_name)
        for row in [*changed, *members]
        if row.series_id and row.study_id
    ]
    names = dict(reversed(used))
    for pk, count in Counter(pk for pk, _ in used).items():
        Study.objects.filter(pk=pk).update(file_count=count, name=names[pk])


def _why_nothing(report: Sequence[FileReport]) -> str:
    """Return one sentence for all files: how many they are, and the commonest reason."""
    reasons = Counter(
        f"{row.reason} {row.advice}".strip() for row in report if row.reason
    ).most_common(1)
    sentence = reasons[0][0] if reasons else "It holds no CT image."
    if len(report) > 1:
        sentence = f"None of the {len(report)} files could be read. {sentence}"
    return Truncator(sentence).chars(255)


def _groups(upload: Upload) -> list[list[SourceFile]]:
    """Return the files without an outcome by the study they share; a picture stands alone."""
    groups: dict[int | None, list[SourceFile]] = {}
    for file in _waiting(upload):
        groups.setdefault(file.study_id, []).append(file)
    return list(groups.values())


def _waiting(upload: Upload) -> QuerySet[SourceFile]:
    """Return the files without an outcome in order, pictures before files that take longer."""
    files = upload.source_files.filter(status=SourceFile.Status.RECEIVED).select_related("study")
    is_picture = Case(When(kind__in=PICTURE_KINDS, then=0), default=1)
    return files.order_by(is_picture, "pk")


@transaction.atomic
def _upload_leave(upload: Upload) -> None:
    """Finish the upload, or let it queue up again if files are left."""
    if not upload.source_files.filter(status=SourceFile.Status.RECEIVED).exists():
        _claimed(upload).update(status=Upload.Status.FINISHED, heartbeat_at=None)
        return
    # The attempts count crashes in a row: an import that got on starts again from 0.
    row_requeue(work=_IMPORTS, row=upload, attempts=0)


def _give_up(upload: Upload) -> None:
    """Refuse the file or the group at which the worker died, and let the others go on."""
    # Files are imported in this order: the worker died at the first study that is left.
    culprit = _waiting(upload).first()
    if culprit is not None:
        group = [file for file in _waiting(upload) if file.study_id == culprit.study_id]
        _refuse(group, reason=_CRASHED, advice=_TELL, code="crashed")
        for file in group:
            transaction.on_commit(partial(quarantine_delete, quarantine_path=file.quarantine_path))
        logger.error("file crashed its worker", extra={"source_file": culprit.pk})
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
