"""Studies: following the readings of their series."""

from detection.models import Prediction, Study
from detection.selectors.answers import study_state


def study_follow(*, study_pk: int) -> None:
    """Copy to a study what the readings of its series say together. The caller holds a transaction.

    The lock keeps two readings that end at once, and someone who sets a series aside, from
    answering by what the other has just changed.
    """
    study = Study.objects.select_for_update().get(pk=study_pk)
    state = study_state(study=study)
    if state is None:
        return
    largest_mm, size_class = _largest_stone(state.prediction)
    Study.objects.filter(pk=study_pk).update(
        status=state.status,
        verdict=state.verdict,
        probability=state.probability,
        message=state.message,
        prediction=state.prediction,
        slices=state.series.slices,
        plane=state.series.plane,
        slices_read=state.extent.slices_read,
        slices_given=state.extent.slices,
        height_mm=state.extent.height_mm,
        series_read=state.extent.series,
        series_unread=state.series_unread,
        series_pending=state.series_pending,
        series_aside=state.series_aside,
        has_stone_aside=state.has_stone_aside,
        largest_stone_mm=largest_mm,
        size_class=size_class,
    )


def _largest_stone(prediction: Prediction | None) -> tuple[float | None, str]:
    """Return diameter in mm and size class of the largest measured stone that was called."""
    if prediction is None or prediction.verdict != Study.Verdict.STONE:
        return None, ""
    stones = prediction.findings.filter(
        diameter_mm__isnull=False,
        probability__gte=prediction.operating_point.get("threshold", 0),
    )
    largest = stones.order_by("-diameter_mm").first()
    return (largest.diameter_mm, largest.size_class) if largest else (None, "")
