from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from detection.imaging.errors import Notice
from detection.imaging.volume import Volume
from detection.ml.errors import BundleError, MLError
from detection.ml.serving import Assessment, Finding, load_stone_map
from detection.models import ModelActivation, ModelVersion, Prediction, Study
from detection.services.predictions import (
    CRASHED,
    UNEXPECTED,
    load_predictor,
    prediction_claim,
    prediction_create,
    prediction_fail,
    prediction_run,
    prediction_sweep,
)
from detection.services.registry import model_version_register
from tests.factories import model_version_make, series_make, volume_make
from tests.networks import ensemble_bundle, network_bundle
from tests.pictures import body
from tests.services.reading import FakePredictor

STONE = Assessment(
    verdict="stone",
    probability=0.9,
    findings=(
        Finding("axial", 0, (10.0, 20.0, 30.0, 40.0), 0.9, 12.5),
        Finding("axial", 0, (50.0, 60.0, 70.0, 80.0), 0.2),
    ),
    stone_map=np.full((1, 8, 8), 0.25, np.float32),
    notices=(Notice("series_rule", "Few such images were seen."),),
)
REFUSED = Assessment(verdict="cannot_assess", probability=None, reason="The image is blank.")


def run(prediction, outcome):
    prediction_run(prediction=prediction, load_predictor=lambda _: FakePredictor(outcome))
    prediction.refresh_from_db()
    prediction.series.study.refresh_from_db()


@pytest.fixture
def prediction(series, model_version):
    return prediction_create(series=series)


def make_stale(prediction):
    long_ago = timezone.now() - timedelta(seconds=30)
    Prediction.objects.filter(pk=prediction.pk).update(heartbeat_at=long_ago)


def test_prediction_and_its_task_are_stored_together(prediction, model_version):
    study = prediction.series.study
    study.refresh_from_db()
    assert prediction.status == Prediction.Status.QUEUED
    assert prediction.operating_point == model_version.operating_point
    assert study.status == Study.Status.QUEUED
    assert DBTaskResult.objects.get().args_kwargs["args"] == [prediction.pk]


def test_prediction_needs_a_model_in_service(series):
    with pytest.raises(ValidationError, match="No detection model"):
        prediction_create(series=series)

    assert not DBTaskResult.objects.exists()


@pytest.mark.parametrize(
    ("outcome", "status", "verdict", "probability", "message"),
    [
        (STONE, "succeeded", "stone", 0.9, ""),
        (Assessment(verdict="no_stone", probability=0.1), "succeeded", "no_stone", 0.1, ""),
        (REFUSED, "refused", "cannot_assess", None, "The image is blank."),
        (MLError("No usable numbers."), "failed", "", None, "No usable numbers."),
        (RuntimeError("secret detail"), "failed", "", None, UNEXPECTED),
        (MLError("word " * 100), "failed", "", None, ("word " * 100)[:254] + "…"),
        # What the database refuses is a failure too: never a success, never a dead row.
        (Assessment(verdict="stone", probability=1.5), "failed", "", None, UNEXPECTED),
    ],
)
def test_outcome_is_stored_in_prediction_and_study(
    prediction, outcome, status, verdict, probability, message
):
    run(prediction, outcome)

    study = prediction.series.study
    for row in (prediction, study):
        assert (row.status, row.verdict, row.message) == (status, verdict, message)
        assert row.probability == (pytest.approx(probability) if probability else None)
    assert prediction.attempts == 1
    assert prediction.elapsed_seconds >= 0


def test_the_point_that_decided_is_stored(prediction):
    of_images = prediction.operating_point
    point = {"name": "series rule", "threshold": 0.65}

    run(prediction, replace(STONE, operating_point=point))

    assert prediction.operating_point == point != of_images


def test_findings_map_and_notices_are_stored(radiologist, model_version, settings):
    lossy = Notice("lossy", "Lossy.")
    series = series_make(uploaded_by=radiologist, volume=volume_make(notices=(lossy,)))
    prediction = prediction_create(series=series)

    run(prediction, STONE)

    first, second = prediction.findings.all()
    assert (first.rank, first.x0, first.y1, first.extent_mm) == (1, 10.0, 40.0, 12.5)
    assert (second.rank, second.probability, second.extent_mm) == (2, 0.2, None)
    # What the import found stands with the series, what the model says with its reading.
    assert series.notices == [{"code": "lossy", "text": "Lossy."}]
    assert prediction.notices == [{"code": "series_rule", "text": "Few such images were seen."}]
    stored = load_stone_map(Path(settings.MEDIA_ROOT) / prediction.map_path)
    np.testing.assert_array_equal(stored, STONE.stone_map)


def test_stones_of_a_volume_are_stored_and_the_largest_stands_in_the_history(prediction):
    known = {
        "plane": "axial",
        "slice_first": 3,
        "slice_last": 6,
        "box": (1.0, 2.0, 9.0, 8.0),
        "side": "left",
    }
    stones = (
        Finding(slice_index=4, probability=0.9, diameter_mm=4.5, size_class="< 5 mm", **known),
        Finding(
            slice_index=5,
            probability=0.8,
            diameter_mm=7.5,
            volume_mm3=120.0,
            mean_hu=800.0,
            peak_hu=1100.0,
            size_class="5-10 mm",
            centre_lps_mm=(-40.0, 20.0, 130.0),
            **known,
        ),
        # Below the operating point: no stone that the verdict speaks of.
        Finding(slice_index=5, probability=0.2, diameter_mm=19.0, size_class="10-20 mm", **known),
    )
    assessment = Assessment(
        verdict="stone",
        probability=0.9,
        findings=stones,
        slice_probabilities=(None, 0.2, 0.9),
        key_slices=(4, 5),
    )

    run(prediction, assessment)

    first, second, third = prediction.findings.all()
    assert (first.rank, first.slice_first, first.slice_last, first.side) == (1, 3, 6, "left")
    assert (first.mean_hu, first.x_mm) == (None, None)
    assert (second.volume_mm3, second.mean_hu, second.peak_hu) == (120.0, 800.0, 1100.0)
    assert (second.x_mm, second.y_mm, second.z_mm) == (-40.0, 20.0, 130.0)
    assert prediction.slice_probabilities == [None, 0.2, 0.9]
    assert prediction.key_slices == [4, 5]
    study = prediction.series.study
    assert (study.largest_stone_mm, study.size_class) == (7.5, "5-10 mm")


def test_progress_is_written_at_most_once_a_second(prediction, monkeypatch):
    now = iter([0.0, 0.4, 1.1, 1.3])
    monkeypatch.setattr("detection.services.predictions.monotonic", lambda: next(now))
    seen = []

    class Reporting:
        def assess(self, volume, *, progress=None):
            for done in (8, 16, 24, 32):
                progress(done, 300)
                row = Prediction.objects.get(pk=prediction.pk)
                seen.append((row.slices_done, row.slices_total))
            return STONE

    prediction_run(prediction=prediction, load_predictor=lambda _: Reporting())

    assert seen == [(8, 300), (8, 300), (24, 300), (24, 300)]


def test_prediction_delivered_twice_is_run_once(prediction):
    run(prediction, STONE)

    run(prediction, MLError("The second run must not be seen."))

    assert prediction.status == Prediction.Status.SUCCEEDED
    assert (prediction.attempts, prediction.findings.count()) == (1, 2)


def test_running_prediction_is_left_alone(prediction):
    assert prediction_claim(prediction=prediction)

    run(prediction, STONE)

    assert (prediction.status, prediction.attempts) == (Prediction.Status.RUNNING, 1)


def test_missing_volume_is_a_failure_with_a_sentence(prediction, settings):
    (Path(settings.MEDIA_ROOT) / prediction.series.volume_path).unlink()

    run(prediction, STONE)

    assert prediction.status == Prediction.Status.FAILED
    assert "missing" in prediction.message


def test_outcome_is_thrown_away_when_another_worker_took_over(prediction):
    class SlowPredictor:
        def assess(self, volume, *, progress=None):
            # Meanwhile this worker counted as dead, and another one finished the prediction.
            make_stale(prediction)
            prediction_sweep()
            run(Prediction.objects.get(pk=prediction.pk), STONE)
            return REFUSED

    prediction_run(prediction=prediction, load_predictor=lambda _: SlowPredictor())

    prediction.refresh_from_db()
    assert (prediction.status, prediction.attempts) == (Prediction.Status.SUCCEEDED, 2)
    assert prediction.findings.count() == 2
    assert prediction.series.study.status == Study.Status.SUCCEEDED


def test_older_prediction_does_not_speak_for_the_study(prediction):
    newer = prediction_create(series=prediction.series)
    run(newer, STONE)

    run(prediction, REFUSED)

    study = Study.objects.get()
    assert (study.status, study.verdict) == (Study.Status.SUCCEEDED, "stone")


def test_prediction_of_a_dead_worker_is_queued_again(prediction):
    prediction_claim(prediction=prediction)
    make_stale(prediction)

    prediction_sweep()
    prediction_sweep()

    prediction.refresh_from_db()
    assert prediction.status == Prediction.Status.QUEUED
    assert prediction.series.study.status == Study.Status.QUEUED
    # The first one died with the worker; one more, not two.
    assert DBTaskResult.objects.count() == 2


def test_third_crash_ends_as_failed(prediction):
    for _ in range(3):
        assert prediction_claim(prediction=prediction)
        make_stale(prediction)
        prediction_sweep()

    prediction.refresh_from_db()
    study = Study.objects.get()
    assert (prediction.status, prediction.message) == (Prediction.Status.FAILED, CRASHED)
    assert (study.status, study.message) == (Study.Status.FAILED, CRASHED)
    assert not prediction_claim(prediction=prediction)


def test_living_prediction_is_not_swept(prediction):
    prediction_claim(prediction=prediction)

    prediction_sweep()

    prediction.refresh_from_db()
    assert prediction.status == Prediction.Status.RUNNING


@pytest.mark.parametrize("lost", ["deleted", "taken up by a worker that died"])
def test_queued_prediction_without_a_task_gets_one(prediction, lost):
    long_ago = timezone.now() - timedelta(minutes=5)
    Prediction.objects.filter(pk=prediction.pk).update(created_at=long_ago)
    prediction_sweep()
    assert DBTaskResult.objects.count() == 1
    if lost == "deleted":
        DBTaskResult.objects.all().delete()
    else:
        DBTaskResult.objects.update(status="RUNNING", started_at=long_ago)

    prediction_sweep()
    prediction_sweep()

    assert DBTaskResult.objects.filter(status="READY").count() == 1


def test_finished_prediction_is_never_edited(prediction):
    run(prediction, STONE)

    prediction_fail(prediction=prediction, message="Too late.")

    prediction.refresh_from_db()
    assert prediction.status == Prediction.Status.SUCCEEDED


def test_damaged_bundle_is_read_again_next_time(prediction, settings):
    weights = Path(settings.MODEL_ROOT) / prediction.model_version.name / "model.onnx"
    weights.write_bytes(b"damaged")
    with pytest.raises(BundleError, match="damaged"):
        load_predictor(prediction.model_version)

    weights.unlink()
    with pytest.raises(BundleError, match="lacks"):
        load_predictor(prediction.model_version)


def test_bundle_with_another_manifest_is_not_loaded(model_version, settings):
    other = model_version_make("model-2")
    root = Path(settings.MODEL_ROOT)
    (root / "model-1" / "model.json").write_bytes((root / other.name / "model.json").read_bytes())

    with pytest.raises(BundleError, match="not the one"):
        load_predictor(model_version)


def test_reading_by_an_ensemble_waits_for_a_missing_member_and_stores_who_sees(
    radiologist, settings, caplog
):
    root = Path(settings.MODEL_ROOT)
    members = [
        network_bundle(root, "alpha-1", offset=-9),
        network_bundle(root, "beta-1", gain=0.12, offset=-9),
        network_bundle(root, "blind-1", gain=0.0),
    ]
    version = model_version_register(
        path=ensemble_bundle(root, members), origin=ModelVersion.Origin.SITE
    )
    ModelActivation.objects.create(model_version=version)
    image = Volume(pixels=body(stone_at=(280, 150))[None], is_hu=False)
    prediction = prediction_create(series=series_make(uploaded_by=radiologist, volume=image))
    gone = members[1].rename(root / "elsewhere")

    prediction_run(prediction=prediction)

    prediction.refresh_from_db()
    assert (prediction.status, prediction.faults) == (Prediction.Status.QUEUED, 1)
    assert "ensemble-1 cannot be used. The model bundle beta-1 is missing" in caplog.text

    gone.rename(members[1])
    Prediction.objects.update(retry_at=None)
    prediction_run(prediction=prediction)

    prediction.refresh_from_db()
    assert (prediction.status, prediction.verdict) == (Prediction.Status.SUCCEEDED, "stone")
    held = {(row.members_seeing, row.members) for row in prediction.findings.all()}
    assert held == {(2, 3)}
