"""Series of one study: which are read, what the study answers by them, and setting them aside."""

from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from detection.imaging.ingest import IngestedSeries
from detection.ml.serving import Assessment, Extent
from detection.models import ModelActivation, Prediction, Series, SeriesAside, Study
from detection.selectors.predictions import prediction_latest
from detection.services.predictions import prediction_create, prediction_run
from detection.services.series import (
    series_due,
    series_read,
    series_set_aside,
    series_take_back,
)
from tests.factories import model_version_make, series_make
from tests.services.reading import FakePredictor

STONE = Assessment(verdict="stone", probability=0.9)
LIKELIER = Assessment(verdict="stone", probability=0.97)
CLEAR = Assessment(verdict="no_stone", probability=0.1)
REFUSED = Assessment(verdict="cannot_assess", probability=None, reason="Sagittal slices.")
BROKEN = RuntimeError("broken")


def run(prediction, outcome=STONE):
    prediction_run(prediction=prediction, load_predictor=lambda _: FakePredictor(outcome))


def run_all(**outcomes):
    """Run what is queued: `first=CLEAR` for the series that was made first, and so on."""
    names = dict(zip(Series.objects.order_by("pk"), ("first", "second", "third"), strict=False))
    for prediction in Prediction.objects.filter(status="queued").order_by("pk"):
        run(prediction, outcomes[names[prediction.series]])


def put_into_service(name):
    version = model_version_make(name)
    ModelActivation.objects.create(model_version=version)
    return version


@pytest.fixture
def add(radiologist):
    """Adds a series to the study of another one, with any columns."""

    def add(first, **columns):
        other = series_make(uploaded_by=radiologist)
        fields = {"study": first.study, "is_first": False, **columns}
        Series.objects.filter(pk=other.pk).update(**fields)
        return Series.objects.get(pk=other.pk)

    return add


@pytest.fixture
def first(series, model_version):
    # A stack: single slices of one plane are judged together.
    Series.objects.filter(pk=series.pk).update(slices=20, plane="axial")
    series.refresh_from_db()
    return series


@pytest.fixture
def second(first, add):
    return add(first, slices=7, plane="sagittal")


def study_of(series):
    return Study.objects.get(pk=series.study_id)


def answer_of(series):
    study = study_of(series)
    return study.status, study.verdict, study.probability


@pytest.mark.parametrize("outcome", [CLEAR, REFUSED, BROKEN], ids=["clear", "refused", "failed"])
def test_reading_another_series_hides_no_stone(first, second, outcome):
    run(prediction_create(series=first))

    prediction = series_read(series=second)

    # Not while it is read, and not by its outcome.
    assert answer_of(first) == ("succeeded", "stone", 0.9)
    run(prediction, outcome)
    assert answer_of(first) == ("succeeded", "stone", 0.9)
    assert prediction_latest(study=study_of(first)).series == first


@pytest.mark.parametrize(
    ("outcomes", "expected", "decides"),
    [
        # The most suspicious answer, in any order of the readings.
        ((CLEAR, STONE), ("succeeded", "stone", 0.9), 1),
        ((STONE, CLEAR), ("succeeded", "stone", 0.9), 0),
        ((STONE, LIKELIER), ("succeeded", "stone", 0.97), 1),
        ((REFUSED, STONE), ("succeeded", "stone", 0.9), 1),
        ((BROKEN, STONE), ("succeeded", "stone", 0.9), 1),
        # A series that can never be read takes nothing from the one that was.
        ((CLEAR, REFUSED), ("succeeded", "no_stone", 0.1), 0),
        ((REFUSED, CLEAR), ("succeeded", "no_stone", 0.1), 1),
        ((REFUSED, REFUSED), ("refused", "cannot_assess", None), 0),
        # One that failed might have shown a stone.
        ((CLEAR, BROKEN), ("failed", "", None), None),
        ((BROKEN, CLEAR), ("failed", "", None), None),
        ((BROKEN, REFUSED), ("failed", "", None), None),
    ],
)
@pytest.mark.parametrize("is_reversed", [False, True])
def test_study_answers_by_all_its_series(first, second, outcomes, expected, decides, is_reversed):
    predictions = [prediction_create(series=one) for one in (first, second)]
    pairs = list(zip(predictions, outcomes, strict=True))

    for prediction, outcome in reversed(pairs) if is_reversed else pairs:
        run(prediction, outcome)

    assert answer_of(first) == expected
    deciding = study_of(first).prediction
    assert deciding == (None if decides is None else predictions[decides])


def test_no_stone_waits_for_every_reading_and_a_stone_does_not(first, second):
    predictions = [prediction_create(series=one) for one in (first, second)]

    run(predictions[0], CLEAR)
    assert answer_of(first) == ("queued", "", None)
    run(predictions[1], STONE)
    assert answer_of(first) == ("succeeded", "stone", 0.9)


def test_series_without_a_verdict_are_counted(first, second, add):
    add(first, scan="")
    run(prediction_create(series=first), CLEAR)
    assert study_of(first).series_unread == 2
    run(series_read(series=second), REFUSED)
    assert study_of(first).series_unread == 2


def test_reconstruction_of_a_scan_that_was_read_is_not_counted(first, add):
    Series.objects.filter(pk=first.pk).update(scan="a")
    add(first, scan="a")
    add(first, scan="b")

    run(prediction_create(series=first), CLEAR)

    assert study_of(first).series_unread == 1


def test_slices_that_nothing_puts_in_order_are_judged_together(first, add):
    Series.objects.update(slices=1)
    series = [first, add(first, plane="axial"), add(first, plane="axial")]
    predictions = [prediction_create(series=one) for one in series]

    for prediction, outcome in zip(predictions, (CLEAR, REFUSED, CLEAR), strict=True):
        run(prediction, outcome)

    study = study_of(first)
    assert (study.status, study.verdict) == ("refused", "cannot_assess")
    assert study.message == "2 of 3 slices could be read. The others may show a stone."


def test_series_is_read_once_by_a_version(first, second):
    assert series_read(series=first) is not None
    assert series_read(series=first) is None
    run_all(first=CLEAR)
    assert series_read(series=first) is None

    run(series_read(series=second), BROKEN)

    assert series_read(series=second) is not None


def test_answer_is_by_one_version(first, second, add):
    third = add(first)
    run(prediction_create(series=first), STONE)
    put_into_service("model-2")

    prediction = series_read(series=second)

    # What an earlier version had read is read again; what nobody asked for is not.
    queued = Prediction.objects.filter(status="queued")
    assert {one.series for one in queued} == {first, second}
    assert {one.model_version.name for one in queued} == {"model-2"}
    assert not third.predictions.exists()
    run(prediction, CLEAR)
    assert answer_of(first) == ("succeeded", "stone", 0.9)
    # The version in service has the last word, once it has read the same.
    run_all(first=CLEAR)
    assert answer_of(first) == ("succeeded", "no_stone", 0.1)


@pytest.mark.parametrize("outcome", [REFUSED, BROKEN], ids=["refused", "failed"])
def test_reading_without_a_verdict_takes_no_stone_back(first, outcome):
    run(prediction_create(series=first), STONE)
    put_into_service("model-2")

    run(series_read(series=first), outcome)

    assert answer_of(first) == ("succeeded", "stone", 0.9)


def test_a_refused_reading_takes_no_stone_suspected_back(first):
    run(prediction_create(series=first), CLEAR)
    put_into_service("model-2")

    run(series_read(series=first), REFUSED)

    assert answer_of(first) == ("refused", "cannot_assess", None)


def test_going_back_to_a_version_goes_back_to_its_readings(first, second, model_version):
    run(prediction_create(series=first), STONE)
    put_into_service("model-2")
    run(series_read(series=first), CLEAR)
    ModelActivation.objects.create(model_version=model_version)

    run(series_read(series=second), CLEAR)

    assert answer_of(first) == ("succeeded", "stone", 0.9)
    assert Prediction.objects.count() == 3


def test_reading_without_a_model_changes_nothing(first, second, model_version):
    model_version.activations.all().delete()

    with pytest.raises(ValidationError, match="No detection model"):
        series_read(series=second)

    assert not Prediction.objects.exists()


# Which are read by themselves


def ingested(scan="", *, z_mm=(0.0, 200.0), plane="axial", slices=40, is_original=True, **header):
    """A series as it comes from an import, from `z_mm` to `z_mm` along the body."""
    low, high = z_mm
    step = (high - low) / (slices - 1)
    affine = [[0.7, 0, 0, 0], [0, 0.7, 0, 0], [0, 0, step, low], [0, 0, 0, 1]]
    told = {"slices": slices, "rows": 16, "columns": 16, "is_hu": True, "plane": plane,
            "spacing_mm": [step, 0.7, 0.7], "affine_lps": affine, **header}  # fmt: skip
    return IngestedSeries(
        volume_path=Path("x"), header=told, kind="dicom", study="s", group="g", description="",
        is_original=is_original, notices=(), rows=(0,), source_indices=(0,), scan=scan,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "due"),
    [
        ([ingested()], [0]),
        # Scans that nobody can tell apart are read each.
        ([ingested(slices=20), ingested(slices=80)], [1, 0]),
        ([ingested("a", slices=20), ingested("a", slices=80)], [1]),
        ([ingested("a", slices=20), ingested("b", slices=80), ingested("a", slices=90)], [2, 1]),
        # The ends of reconstructions differ by a slice or two.
        ([ingested("a", slices=80), ingested("a", z_mm=(-10.0, 212.0), slices=20)], [0]),
        # The abdomen beside the chest, of one acquisition.
        ([ingested("a", z_mm=(0, 300), slices=200), ingested("a", z_mm=(-250, 20))], [0, 1]),
        ([ingested("a", slices=80), ingested("a", affine_lps=None, slices=20)], [0, 1]),
        # After the best one the original axial and coronal ones.
        (
            [
                ingested(slices=20),
                ingested(plane="sagittal"),
                ingested(is_original=False),
                ingested(plane="coronal"),
                ingested(slices=80),
            ],
            [4, 0, 3, 2, 1],
        ),
    ],
)
def test_each_scan_is_read_once_and_all_of_the_body_it_shows(found, due):
    assert series_due(found) == due


@pytest.mark.parametrize("outcome", [CLEAR, STONE, REFUSED, BROKEN])
def test_scan_that_cannot_be_assessed_is_read_in_the_next_reconstruction(first, add, outcome):
    Series.objects.filter(pk=first.pk).update(scan="a")
    first.refresh_from_db()
    other, third = add(first, scan="a"), add(first, scan="b")

    run(prediction_create(series=first), outcome)

    queued = [one.series for one in Prediction.objects.filter(status="queued")]
    assert queued == ([other] if outcome is REFUSED else [])
    assert not third.predictions.exists()
    run_all(second=REFUSED)
    assert Prediction.objects.filter(status="queued").count() == 0


# Setting aside


def test_series_that_was_set_aside_has_no_say_and_the_study_says_so(first, second, lead):
    for one in (first, second):
        prediction_create(series=one)
    run_all(first=STONE, second=CLEAR)

    series_set_aside(series=first, user=lead, reason="  Metal of a  stent. ")

    study = study_of(first)
    assert answer_of(first) == ("succeeded", "no_stone", 0.1)
    assert (study.series_aside, study.has_stone_aside) == (1, True)
    entry = SeriesAside.objects.get()
    assert (entry.series, entry.user, entry.is_aside) == (first, lead, True)
    assert entry.reason == "Metal of a stent."
    assert entry.created_at is not None

    series_take_back(series=first, user=lead, reason="It was a stone.")

    study.refresh_from_db()
    assert answer_of(first) == ("succeeded", "stone", 0.9)
    assert (study.series_aside, study.has_stone_aside) == (0, False)
    # The log only grows.
    assert [entry.is_aside for entry in SeriesAside.objects.order_by("pk")] == [True, False]


@pytest.mark.parametrize("reason", ["", "   ", "\n\t", "x" * 256])
def test_reason_is_required(first, second, lead, reason):
    with pytest.raises(ValidationError, match="Please"):
        series_set_aside(series=second, user=lead, reason=reason)

    assert not Series.objects.filter(is_aside=True).exists()
    assert not SeriesAside.objects.exists()


@pytest.mark.parametrize("who", ["radiologist", "administrator", "auditor"])
def test_leads_alone_set_aside(request, first, second, who):
    with pytest.raises(PermissionDenied):
        series_set_aside(series=second, user=request.getfixturevalue(who), reason="So.")
    with pytest.raises(PermissionDenied):
        series_take_back(series=second, user=request.getfixturevalue(who), reason="So.")

    assert not SeriesAside.objects.exists()


def test_the_last_series_cannot_be_set_aside_nor_any_twice(first, second, lead):
    run(prediction_create(series=first), STONE)
    series_set_aside(series=second, user=lead, reason="Reformat.")

    with pytest.raises(ValidationError, match="last one"):
        series_set_aside(series=first, user=lead, reason="So.")
    with pytest.raises(ValidationError, match="already"):
        series_set_aside(series=second, user=lead, reason="So.")
    with pytest.raises(ValidationError, match="has a say"):
        series_take_back(series=first, user=lead, reason="So.")

    assert answer_of(first) == ("succeeded", "stone", 0.9)


def test_scan_whose_reading_was_set_aside_is_read_in_another_reconstruction(first, add, lead):
    Series.objects.filter(pk=first.pk).update(scan="a")
    add(first, scan="b")
    other = add(first, scan="a")
    run(prediction_create(series=first), CLEAR)

    series_set_aside(series=first, user=lead, reason="Motion.")

    assert Prediction.objects.get(status="queued").series == other
    assert answer_of(first) == ("queued", "", None)


def test_study_without_another_reading_has_the_next_series_read(first, second, lead):
    run(prediction_create(series=first), CLEAR)

    series_set_aside(series=first, user=lead, reason="Motion.")

    assert Prediction.objects.get(status="queued").series == second


def test_series_that_is_set_aside_is_not_read(first, second, lead):
    run(prediction_create(series=first), CLEAR)
    series_set_aside(series=second, user=lead, reason="Another patient.")

    with pytest.raises(ValidationError, match="set aside"):
        series_read(series=second)

    # Taken back without a reading, it gets one.
    series_take_back(series=second, user=lead, reason="The same patient.")
    assert Prediction.objects.get(status="queued").series == second


def test_reading_of_a_series_set_aside_meanwhile_has_no_say(first, second, lead):
    predictions = [prediction_create(series=one) for one in (first, second)]
    run(predictions[0], CLEAR)
    series_set_aside(series=second, user=lead, reason="Another patient.")

    run(predictions[1], STONE)

    assert answer_of(first) == ("succeeded", "no_stone", 0.1)
    assert study_of(first).has_stone_aside


def test_extent_of_the_answer_stands_in_the_study(first, second):
    whole = Extent(slices_read=20, slices=20, height_mm=40.0)
    part = Extent(slices_read=5, slices=7, height_mm=10.0)
    outcomes = [
        Assessment(verdict="no_stone", probability=0.1, extent=whole),
        Assessment(verdict="no_stone", probability=0.2, extent=part),
    ]
    study = None
    for one, outcome in zip((first, second), outcomes, strict=True):
        run(prediction_create(series=one), outcome)
        study = study_of(first)
        told = (study.slices_read, study.slices_given, study.height_mm, study.series_read)
        if one == first:
            assert told == (20, 20, 40.0, 1)
    assert told == (25, 27, None, 2)
