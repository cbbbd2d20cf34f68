import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from detection.models import Study, Upload
from detection.selectors import studies
from detection.selectors.studies import (
    import_report,
    study_list,
    upload_list,
    upload_outcomes,
    uploads_in_work,
)
from detection.services.uploads import upload_create
from tests.factories import model_version_make, png_upload

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sent(radiologist, other_radiologist):
    model_version_make(is_active=True)
    for user in (radiologist, other_radiologist, radiologist):
        files = [png_upload("first.png"), png_upload("second.png")]
        upload = upload_create(uploaded_by=user, files=files)
        for file in files:
            Study.objects.create(upload=upload, uploaded_by=user, name=file.name)


@pytest.mark.parametrize(
    ("who", "studies", "uploads"),
    [
        ("radiologist", 4, 2),
        ("other_radiologist", 2, 1),
        ("lead", 6, 3),
        ("administrator", 6, 3),
        ("auditor", 6, 3),
    ],
)
def test_who_sees_what(request, who, studies, uploads):
    user = request.getfixturevalue(who)

    assert study_list(user=user).count() == studies
    assert upload_list(user=user).count() == uploads


def test_nobody_sees_anything_without_a_permission(radiologist, lead):
    radiologist.groups.clear()
    lead.is_active = False

    for user in (radiologist, lead, AnonymousUser()):
        assert not study_list(user=user).exists()
        assert not upload_list(user=user).exists()


def test_newest_first(lead):
    assert list(study_list(user=lead)) == list(Study.objects.order_by("-pk"))
    assert list(upload_list(user=lead)) == list(Upload.objects.order_by("-pk"))


def test_study_list_needs_one_query_however_long(lead, django_assert_num_queries):
    lead.has_perm("detection.view_study")
    with django_assert_num_queries(1):
        for study in study_list(user=lead):
            assert study.uploaded_by.username
            assert study.upload.uuid
            assert study.name.endswith(".png")


def test_upload_list_needs_two_queries_however_long(lead, django_assert_num_queries):
    lead.has_perm("detection.view_study")
    with django_assert_num_queries(2):
        for upload in upload_list(user=lead):
            assert upload.uploaded_by.username
            for study in upload.studies.all():
                assert study.name.endswith(".png")


def test_report_names_problems_first_and_counts_the_rest(radiologist, monkeypatch):
    upload = Upload.objects.filter(uploaded_by=radiologist).first()
    accepted, refused = upload.source_files.order_by("pk")
    upload.source_files.filter(pk=accepted.pk).update(status="accepted")
    upload.source_files.filter(pk=refused.pk).update(status="refused", reason="It is damaged.")

    assert import_report(of=upload).rows == [refused, accepted]
    monkeypatch.setattr(studies, "REPORT_ROWS", 1)
    report = import_report(of=upload)
    assert (report.accepted, report.refused, report.skipped, report.waiting) == (1, 1, 0, 0)
    assert (report.rows, report.total, report.left_off) == ([refused], 2, 1)
    refused.study = upload.studies.first()
    refused.save()
    assert import_report(of=refused.study).rows == [refused]


def test_outcomes_of_uploads_count_members_and_not_their_archive(lead, django_assert_num_queries):
    for upload in Upload.objects.all():
        upload.source_files.all().delete()
        for kind, status in (
            ("zip", "accepted"),
            ("", "accepted"),
            ("png", "accepted"),
            ("png", "refused"),
            ("zip", "refused"),
            ("dicom", "received"),
        ):
            upload.source_files.create(
                kind=kind, status=status, size_bytes=1, display_name="x", reason="It is damaged."
            )
    uploads = list(upload_list(user=lead).prefetch_related(None))

    with django_assert_num_queries(1):
        told = upload_outcomes(uploads=uploads)

    assert [upload for upload, _ in told] == uploads
    assert all(files == {"accepted": 2, "refused": 2, "received": 1} for _, files in told)


def test_uploads_that_wait_for_the_installation_are_told_of_first(radiologist):
    newer, older = upload_list(user=radiologist)
    Upload.objects.filter(pk=older.pk).update(retry_at=timezone.now())

    assert uploads_in_work(user=radiologist) == [older, newer]
    Upload.objects.filter(pk=newer.pk).update(status=Upload.Status.FINISHED)
    assert uploads_in_work(user=radiologist) == [older]
