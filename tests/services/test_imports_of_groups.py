"""Groups of files that belong together: what becomes of them in the database."""

from pathlib import Path

import pytest
from django_tasks_db.models import DBTaskResult

from detection.imaging.errors import Notice
from detection.imaging.formats.dicom_facts import Identifiers
from detection.imaging.volume import load_volume
from detection.models import Prediction, Series, SourceFile, Study, StudyIdentifiers, Upload
from detection.selectors.studies import import_report, series_volume_path
from detection.services.imports import upload_claim, upload_import_run, upload_sweep
from tests.factories import dicom_upload, png_upload, zip_upload
from tests.services.ingesting import FakeIngest, make_stale, report_row, statuses, volumes

pytestmark = pytest.mark.usefixtures("model_version")


def test_series_of_one_study_are_stored_and_the_best_one_is_read(send, settings):
    upload = send(dicom_upload("IM1"), dicom_upload("IM2"), dicom_upload("IM3"))
    ingest = FakeIngest(
        series=[("study", 2, (0,)), ("study", 40, (1,))],
        scan="one",
        report=[report_row(0), report_row(1), report_row(2, "skipped", code="localiser")],
        identifiers=Identifiers(patient_id="P1", patient_name="Doe^Jane"),
        notices=(Notice("gap", "Two slices are missing. Please look."),),
    )

    upload_import_run(upload=upload, ingest=ingest)

    upload.refresh_from_db()
    study = upload.studies.get()
    small, large = study.series.order_by("pk")
    assert upload.is_finished
    assert (small.is_first, large.is_first) == (False, True)
    assert small.scan == large.scan == "one"
    assert (study.status, study.slices, study.plane) == (Study.Status.QUEUED, 40, "axial")
    assert study.file_count == 2
    assert Prediction.objects.get().series == large
    assert large.description == "axial, 40 slices, 1.5 mm"
    assert large.notices == [{"code": "gap", "text": "Two slices are missing. Please look."}]
    assert (large.slice_spacing_mm, large.row_spacing_mm) == (1.5, 0.7)
    assert "PS3.15" in large.deidentification
    assert load_volume(series_volume_path(series=large)).pixels.shape == (40, 16, 16)
    assert len(volumes()) == 2
    first, second, third = upload.source_files.order_by("pk")
    assert (first.series, second.series, third.series) == (small, large, None)
    assert (third.status, third.code, third.study) == ("skipped", "localiser", study)
    assert third.advice == "Please upload CT slices."
    assert StudyIdentifiers.objects.get(study=study).patient_name == "Doe^Jane"
    assert not list((Path(settings.MEDIA_ROOT) / "quarantine").iterdir())


def test_every_scan_of_a_study_is_read_the_best_one_first(send):
    upload = send(dicom_upload("IM1"), dicom_upload("IM2"))
    ingest = FakeIngest(
        series=[("study", 2, (0,)), ("study", 40, (1,))], report=[report_row(0), report_row(1)]
    )

    upload_import_run(upload=upload, ingest=ingest)

    queued = Prediction.objects.order_by("pk")
    assert [one.series.slices for one in queued] == [40, 2]
    study = upload.studies.get()
    assert (study.status, study.slices) == (Study.Status.QUEUED, 40)


def test_two_studies_in_one_archive_become_two_and_each_member_has_a_row(send):
    upload = send(zip_upload())
    ingest = FakeIngest(
        series=[("one", 3, (0,)), ("two", 4, (1,))],
        report=[
            report_row(0, member="a/IM1"),
            report_row(0, member="b/Doe Jane.dcm"),
            report_row(0, "refused", member="c/x.exe", code="program"),
            report_row(0, "refused", member="d/IM9", code="damaged"),
        ],
    )

    upload_import_run(upload=upload, ingest=ingest)

    first, second = upload.studies.order_by("pk")
    assert [study.series.get().slices for study in (first, second)] == [3, 4]
    assert Prediction.objects.count() == 2
    rows = upload.source_files.order_by("pk")
    assert [(row.display_name, row.archive_member) for row in rows] == [
        ("cd.zip", ""),
        ("cd.zip", "a/IM1"),
        ("cd.zip", "b/Doe Jane.dcm"),
        ("cd.zip", "c/x.exe"),
        ("cd.zip", "d/IM9"),
    ]
    # The archive itself is none of the files that were read.
    assert [row.study for row in rows] == [None, first, second, first, first]
    report = import_report(of=upload)
    assert (report.accepted, report.skipped, report.refused) == (2, 1, 1)
    assert statuses(upload) == ["accepted", "accepted", "accepted", "skipped", "refused"]
    assert second.uploaded_by == upload.uploaded_by


def test_group_in_which_nothing_can_be_read_is_no_study(send):
    upload = send(dicom_upload("IM1"), dicom_upload("IM2"))
    refused = [report_row(0, "refused", code="not_ct"), report_row(1, "refused", code="not_ct")]

    upload_import_run(upload=upload, ingest=FakeIngest(series=[], report=refused))

    upload.refresh_from_db()
    assert upload.is_finished
    assert not Study.objects.exists()
    assert statuses(upload) == ["refused", "refused"]
    assert not Prediction.objects.exists()
    assert volumes() == []


def test_pictures_go_first_and_a_long_import_queues_up_between_the_groups(send, monkeypatch):
    monkeypatch.setattr("detection.services.imports.IMPORT_SECONDS", 0)
    upload = send(zip_upload(), dicom_upload(), png_upload("a.png"))
    picture = upload.source_files.get(kind="png").quarantine_path
    ingest = FakeIngest(series=[("s", 2, (0,))], report=[report_row(0)])

    for count in (1, 2, 3):
        upload.refresh_from_db()
        assert upload.status == Upload.Status.RECEIVED
        upload_import_run(upload=upload, ingest=ingest)
        assert len(ingest.seen) == count
    assert [path.name for path in ingest.seen[0]] == [Path(picture).name]

    upload.refresh_from_db()
    assert upload.is_finished
    assert Prediction.objects.count() == 3
    order = DBTaskResult.objects.order_by("enqueued_at").values_list("task_path", flat=True)
    assert [path.rpartition(".")[2] for path in order] == [
        "upload_import",
        "prediction_task",
    ] * 2 + ["upload_import", "prediction_task"]


def test_group_that_was_cut_off_is_imported_once(send):
    upload = send(dicom_upload())

    def dying(paths, *, target_folder, worker):
        (target_folder / "half").write_bytes(b"pixels")
        raise MemoryError

    with pytest.raises(MemoryError):
        upload_import_run(upload=upload, ingest=dying)
    assert volumes() == []
    make_stale(upload)
    upload_sweep()
    ingest = FakeIngest(series=[("s", 2, (0,))], report=[report_row(0)])

    upload_import_run(upload=upload, ingest=ingest)
    upload_import_run(upload=upload, ingest=ingest)

    assert (Series.objects.count(), Prediction.objects.count()) == (1, 1)


def test_archive_at_which_the_worker_died_three_times_is_refused_and_the_rest_goes_on(send):
    upload = send(zip_upload(), dicom_upload("IM1"), dicom_upload("IM2"))
    for _ in range(3):
        assert upload_claim(upload=upload)
        make_stale(upload)
        upload_sweep()
    ingest = FakeIngest(series=[("s", 2, (0, 1))], report=[report_row(0), report_row(1)])

    upload_import_run(upload=upload, ingest=ingest)

    upload.refresh_from_db()
    archive = upload.source_files.get(kind="zip")
    assert upload.is_finished
    assert (archive.status, archive.code) == (SourceFile.Status.REFUSED, "crashed")
    assert "crashed the worker three times" in archive.reason
    assert upload.studies.get().status == Study.Status.QUEUED


def test_group_whose_claim_was_lost_stores_nothing(send):
    upload = send(dicom_upload())
    fake = FakeIngest(series=[("s", 2, (0,))], report=[report_row(0)])

    def slow(paths, **kwargs):
        # Meanwhile this worker counted as dead.
        make_stale(upload)
        upload_sweep()
        return fake(paths, **kwargs)

    upload_import_run(upload=upload, ingest=slow)

    upload.refresh_from_db()
    assert upload.status == Upload.Status.RECEIVED
    assert not Series.objects.exists()
    assert SourceFile.objects.get().quarantine_path
    assert volumes() == []
