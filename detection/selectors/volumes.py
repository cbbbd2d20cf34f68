"""The series that a user may see, its volume and its stone map, kept open."""

from functools import lru_cache
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from accounts.models import User
from detection.imaging.errors import ImageError
from detection.imaging.volume import Volume, load_volume
from detection.ml.serving import load_stone_map
from detection.models import Prediction, Series, Study
from detection.selectors.predictions import prediction_latest, prediction_map_path
from detection.selectors.studies import series_volume_path, study_list

# So many of each stay open. Most are memory maps; files of the first version lie in memory.
_OPENED = 8


def series_shown(*, user: User, study_uuid: UUID, series_uuid: UUID | None = None) -> Series | None:
    """Return the series asked for, or the default one; None if `user` may see no such series."""
    # The list joins uploader and upload, which no slice needs.
    studies = study_list(user=user).select_related(None).prefetch_related(None)
    study = studies.filter(uuid=study_uuid).first()
    if study is None:
        return None
    if series_uuid is not None:
        return study.series.filter(uuid=series_uuid).first()
    return series_default(study=study)


def series_default(*, study: Study) -> Series | None:
    """Return the series that a study shows when none is asked for."""
    prediction = prediction_latest(study=study)
    return prediction.series if prediction else study.series.order_by("-is_first", "pk").first()


def map_latest(*, series: Series) -> Prediction | None:
    """Return the newest prediction with a stone map of a series, or None."""
    return series.predictions.exclude(map_path="").order_by("-pk").first()


def volume_opened(*, series: Series) -> Volume:
    """Return the volume of a series; the last few stay open.

    Raises
    ------
    ImageError
        If the file is missing or damaged.
    """
    path = series_volume_path(series=series)
    try:
        return _volume(path, _changed_at(path))
    except OSError as error:
        sentence = "The stored image cannot be read now. Please tell an administrator."
        raise ImageError(sentence) from error


def stone_map_opened(*, prediction: Prediction) -> NDArray[np.floating]:
    """Return the stone map of a prediction, `(slices, rows, columns)`.

    Raises
    ------
    ImageError
        If there is none, or its file is missing or damaged.
    """
    path = prediction_map_path(prediction=prediction)
    if path is None:
        raise ImageError("This reading has no stone map.")
    return _stone_map(path, _changed_at(path))


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise ImageError("The stored image is missing. Please upload the file again.") from error


@lru_cache(maxsize=_OPENED)
def _volume(path: Path, changed_at: int) -> Volume:
    return load_volume(path)


@lru_cache(maxsize=_OPENED)
def _stone_map(path: Path, changed_at: int) -> NDArray[np.floating]:
    try:
        return load_stone_map(path)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ImageError("The stored stone map is damaged.") from error
