"""Storing what an archive, a volume file or a pile of DICOM files turned out to be."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from django.conf import settings
from django.utils.text import Truncator

from detection.imaging.ingest import (
    FileReport,
    IngestedSeries,
    IngestResult,
    Kind,
    choose_series,
    ingest,
)
from detection.models import Series, SourceFile, Study
from detection.models.encryption import blind_index, name_stem
from detection.services.identifiers import identifiers_store
from detection.services.predictions import prediction_create
from detection.services.series import series_create

# Codes of what may well lie beside a series on a disc: left out there, refused by itself.
OF_NO_CONCERN = frozenset({"not_an_image", "program"})
Ingest = Callable[[Sequence[Path], Path], IngestResult]


def ingest_group(paths: Sequence[Path], folder: Path) -> IngestResult:
    """Read files that belong together in the limited child process."""
    return ingest(paths, target_folder=folder)


def ingested_store(*, study: Study, files: Sequence[SourceFile], result: IngestResult) -> None:
    """Make studies, series and report rows of what was found in `files`; queue the readings.

    `study` becomes the first of the studies. Runs in the caller's transaction, before which the
    files count as accepted; the volume files are moved to where the rows say.
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


def _studies(
    study: Study, found: Sequence[IngestedSeries]
) -> list[tuple[Study, list[IngestedSeries]]]:
    """Which series make a study: those of one examination; a picture is one of its own."""
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
        warnings=[
            {"code": str(notice.code), "sentence": f"{notice.sentence} {notice.advice}".strip()}
            for notice in ingested.warnings
        ],
    )
    os.replace(ingested.volume_path, Path(settings.MEDIA_ROOT) / volume_path)
    return series


def _report_store(
    study: Study,
    files: Sequence[SourceFile],
    report: Sequence[FileReport],
    series_of_row: dict[int, Series],
) -> None:
    """Write what became of each file, and a new row for each member of an archive."""
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
    used = [row for row in [*changed, *members] if row.series_id]
    names = {row.study_id: row.display_name for row in reversed(used)}
    for pk, count in Counter(row.study_id for row in used).items():
        Study.objects.filter(pk=pk).update(file_count=count, name=names[pk])


def _why_nothing(report: Sequence[FileReport]) -> str:
    """One sentence for many files: what most of them were, and that there is a list."""
    reasons = Counter(
        f"{row.reason} {row.advice}".strip() for row in report if row.reason
    ).most_common(1)
    sentence = reasons[0][0] if reasons else "It holds no CT image."
    if len(report) > 1:
        sentence = f"None of the {len(report)} files could be read. {sentence}"
    return Truncator(sentence).chars(255)
