"""Patients' identifiers: stored encrypted, shown by permission, and every look is recorded."""

import logging
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction

from accounts.models import User
from detection.models import IdentifierAccess, SourceFile, Study, StudyIdentifiers
from detection.models.encryption import Unreadable, blind_index, file_name_index

logger = logging.getLogger(__name__)

FIELDS = ("patient_id", "patient_name", "birth_date", "accession_number", "study_uid")
_INDEXED = ("patient_id", "accession_number")
_ROWS_AT_ONCE = 500


def identifiers_store(*, study: Study, found: Mapping[str, str]) -> None:
    """Store the identifiers that the files of a study state; nothing if they state none."""
    values = {field: " ".join(str(found.get(field) or "").split()) for field in FIELDS}
    if any(values.values()):
        StudyIdentifiers.objects.update_or_create(study=study, defaults=values | _indices(values))


@transaction.atomic
def identifiers_reveal(*, study: Study, user: User) -> StudyIdentifiers | None:
    """Return the identifiers of a study and record the look, or None if its files named nobody.

    The caller has checked that `user` may see the study. Raises PermissionDenied if `user` may
    not see identifiers; then nothing is recorded.
    """
    if not user.has_perm("detection.view_identifiers"):
        raise PermissionDenied
    identifiers = StudyIdentifiers.objects.filter(study=study).first()
    if identifiers is not None:
        IdentifierAccess.objects.create(study=study, user=user)
        logger.info("identifiers shown", extra={"study": study.pk, "user": user.pk})
    return identifiers


def identifiers_rotate() -> tuple[int, int]:
    """Encrypt identifiers and names of files again with the newest key.

    Returns how many rows were encrypted, and how many were left alone because their key is
    missing. The work may be cut off and run again, and the site may go on meanwhile.
    """
    rotated, unreadable = 0, 0
    for model, fields in (
        (StudyIdentifiers, FIELDS),
        (SourceFile, ("display_name", "archive_member")),
        (Study, ("name",)),
    ):
        done, left = _rotate(model, fields)
        rotated, unreadable = rotated + done, unreadable + left
    return rotated, unreadable


def _rotate(model: type[Any], fields: tuple[str, ...]) -> tuple[int, int]:
    rotated, unreadable, last = 0, 0, 0
    while batch := list(model.objects.filter(pk__gt=last).order_by("pk")[:_ROWS_AT_ONCE]):
        last = batch[-1].pk
        changed = list(fields)
        readable = [
            row
            for row in batch
            if not any(isinstance(getattr(row, field), Unreadable) for field in fields)
        ]
        if model is StudyIdentifiers:
            changed += [f"{field}_index" for field in _INDEXED]
            for row in readable:
                for name, value in _indices({f: getattr(row, f) for f in _INDEXED}).items():
                    setattr(row, name, value)
        else:
            changed.append("name_index")
            for row in readable:
                is_study = isinstance(row, Study)
                name = row.name if is_study else row.archive_member or row.display_name
                row.name_index = file_name_index(name)
        model.objects.bulk_update(readable, changed)
        rotated += len(readable)
        unreadable += len(batch) - len(readable)
    return rotated, unreadable


def _indices(values: Mapping[str, str]) -> dict[str, str]:
    return {f"{field}_index": blind_index(values[field], field=field) for field in _INDEXED}
