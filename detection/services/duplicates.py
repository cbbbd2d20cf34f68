"""Duplicates: images that are here already are neither stored nor read a second time."""

import hashlib

from accounts.models import User
from detection.imaging.errors import Notice
from detection.imaging.ingest import IngestedSeries
from detection.imaging.volume import load_volume
from detection.models import Series, Study
from detection.models.encryption import blind_index
from detection.selectors.studies import study_list


def series_content(ingested: IngestedSeries) -> str:
    """Return the SHA-256 by which a series is known again, whatever its files are called.

    It covers the pixels, where they lie, and the examination that DICOM files name: two patients
    may have the same blank image. Raises OSError if the volume cannot be read.
    """
    fingerprint = load_volume(ingested.volume_path).fingerprint()
    return hashlib.sha256(f"{fingerprint} {_examination(ingested)}".encode()).hexdigest()


def series_twin(*, user: User, content: str) -> Series | None:
    """Return the newest series of this content that `user` may see, or None.

    One whose reading failed is none: sending it again is asking for another try.
    """
    return (
        Series.objects.filter(content=content, study__in=study_list(user=user).values("pk"))
        .exclude(study__status=Study.Status.FAILED)
        .order_by("-pk")
        .first()
    )


def examination_index(ingested: IngestedSeries) -> str:
    """Return the keyed index of the examination that DICOM files name; "" if they name none."""
    return blind_index(_examination(ingested), field="examination")


def examination_notice(*, user: User, index: str) -> tuple[Notice, ...]:
    """Return a notice if `user` may see another study of the same examination."""
    if not index:
        return ()
    known = study_list(user=user).filter(examination_index=index).first()
    if known is None:
        return ()
    sentence = f"Study {known.pk} holds other images of the same examination."
    return (Notice("same_examination", f"{sentence} Please compare the two."),)


def _examination(ingested: IngestedSeries) -> str:
    return ingested.study if ingested.identifiers.study_uid else ""
