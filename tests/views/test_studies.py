import datetime
import re

import pytest
from django.urls import reverse
from django.utils import timezone

from detection.imaging.errors import Code, Notice, notices_json
from detection.ml.errors import ReadingCode
from detection.ml.serving import Assessment, Extent
from detection.models import (
    Finding,
    IdentifierAccess,
    ModelActivation,
    Prediction,
    Series,
    SourceFile,
    Study,
)
from detection.models.encryption import blind_index
from detection.services.identifiers import identifiers_store
from detection.services.imports import upload_import_run
from detection.services.predictions import prediction_create, prediction_store
from detection.services.uploads import upload_create
from tests.factories import (
    OPERATING_POINT,
    model_version_make,
    series_make,
    study_make,
    volume_make,
    zip_upload,
)
from tests.pictures import block_volume
from tests.services.ingesting import FakeIngest, report_row

Status = Study.Status


def numbers(response):
    return [study.pk for study in response.context["page"]]


def text(response):
    return " ".join(response.content.decode().replace("\N{NO-BREAK SPACE}", " ").split())


def find(client, word, **query):
    """Search as the page does: typed into a form that is sent, never into an address."""
    response = client.post(reverse("study-find"), {"q": word} | query)
    assert "find=" in response.url
    assert len(word) < 4 or word not in response.url
    return client.get(response.url)


@pytest.mark.parametrize("client_name", ["radiologist_client", "lead_client"])
def test_history_asks_the_same_number_of_queries_however_many_rows(
    client_name, request, radiologist, django_assert_num_queries
):
    client = request.getfixturevalue(client_name)
    study_make(uploaded_by=radiologist)
    client.get(reverse("study-list"))
    # Session (read, and kept alive in a transaction of its own) and user: 5; permissions, count,
    # studies: 4; uploads in work; and whose names can be chosen.
    expected = 11 if client_name == "lead_client" else 10
    for _ in range(2):
        with django_assert_num_queries(expected):
            assert client.get(reverse("study-list")).status_code == 200
        for number in range(5):
            study_make(uploaded_by=radiologist, name=f"slice-{number}.png")


@pytest.mark.parametrize("finding_count", [1, 6])
def test_study_page_asks_the_same_number_of_queries_however_many_findings(
    radiologist_client, radiologist, django_assert_max_num_queries, finding_count
):
    study = study_make(uploaded_by=radiologist)
    prediction = Prediction.objects.get(series__study=study)
    for rank in range(2, finding_count + 1):
        prediction.findings.create(
            rank=rank, plane="axial", x0=1, y0=1, x1=2, y1=2, probability=0.1
        )
    with django_assert_max_num_queries(18):
        assert radiologist_client.get(study.get_absolute_url()).status_code == 200


def test_history_shows_newest_first_and_only_the_own_ones(
    radiologist_client, lead_client, radiologist, other_radiologist
):
    first = study_make(uploaded_by=radiologist)
    foreign = study_make(uploaded_by=other_radiologist)
    last = study_make(uploaded_by=radiologist)

    assert numbers(radiologist_client.get(reverse("study-list"))) == [last.pk, first.pk]
    everything = numbers(lead_client.get(reverse("study-list")))
    assert everything == [last.pk, foreign.pk, first.pk]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("verdict=stone", ["stone"]),
        ("verdict=no_stone", ["clear"]),
        ("verdict=cannot_assess", ["refused"]),
        ("status=working", ["waiting", "running"]),
        ("status=failed", ["failed"]),
        ("status=succeeded&verdict=no_stone", ["clear"]),
        # Not from an address, which logs and histories keep.
        ("q=clear", ["everything"]),
        ("find=no-token-of-ours", ["everything"]),
        ("verdict=nonsense", ["everything"]),
        ("date_from=2020-01-01", ["everything"]),
        ("date_from=9999-12-31", []),
        ("date_to=0001-01-01", []),
        ("date_from=not-a-date", ["everything"]),
    ],
)
def test_history_filters_by_its_address(radiologist_client, radiologist, query, expected):
    states = {
        "stone": {},
        "clear": {"verdict": "no_stone", "probability": 0.02},
        "refused": {"status": Status.REFUSED, "message": "It is no CT image."},
        "failed": {"status": Status.FAILED, "message": "The model gave no usable numbers."},
        "waiting": {"status": Status.QUEUED},
        "running": {"status": Status.RUNNING},
    }
    made = {
        name: study_make(uploaded_by=radiologist, name=f"{name}.png", **fields).pk
        for name, fields in states.items()
    }
    wanted = made.values() if expected == ["everything"] else [made[name] for name in expected]

    found = numbers(radiologist_client.get(f"{reverse('study-list')}?{query}"))
    assert sorted(found) == sorted(wanted)


@pytest.mark.parametrize("word", ["Doe^Jane.png", "doe^jane", " DOE^JANE "])
def test_history_finds_a_study_by_the_complete_name_of_its_file(
    radiologist_client, radiologist, word
):
    study = study_make(uploaded_by=radiologist, name="Doe^Jane.png")
    study_make(uploaded_by=radiologist, name="Doe^John.png")

    assert numbers(find(radiologist_client, word, verdict="stone")) == [study.pk]
    assert numbers(find(radiologist_client, word, verdict="no_stone")) == []
    assert numbers(find(radiologist_client, "Doe")) == []


@pytest.mark.parametrize(
    ("word", "is_found"),
    [
        ("acrin_thigh_to_kidneys.zip", True),
        ("acrin_thigh_to_kidneys", True),
        ("Acrin_Thigh_To_Kidneys.ZIP", True),
        ("a/IM1", True),
        ("im2.dcm", True),
        ("acrin", False),
        ("beside.txt", False),
        ("broken.dcm", False),
    ],
)
def test_history_finds_a_study_by_its_archive_and_the_members_it_was_made_of(
    radiologist_client, radiologist, word, is_found
):
    model_version_make(is_active=True)
    upload = upload_create(
        uploaded_by=radiologist, files=[zip_upload("acrin_thigh_to_kidneys.zip")]
    )
    ingest = FakeIngest(
        series=[("one", 3, (0,)), ("two", 4, (1,))],
        report=[
            report_row(0, member="a/IM1"),
            report_row(0, member="b/IM2.dcm"),
            report_row(0, "skipped", member="beside.txt", code="program"),
            report_row(0, "refused", member="broken.dcm", code="damaged"),
        ],
    )
    upload_import_run(upload=upload, ingest=ingest)
    first, second = upload.studies.order_by("pk")
    assert first.name == "acrin_thigh_to_kidneys.zip"

    found = numbers(find(radiologist_client, word))

    of_member = {"a/IM1": [first.pk], "im2.dcm": [second.pk]}
    assert found == (of_member.get(word, [second.pk, first.pk]) if is_found else [])


def test_history_finds_a_study_by_a_long_name(radiologist_client, radiologist):
    name = "thigh" * 45 + ".png"
    study = study_make(uploaded_by=radiologist, name=name)

    assert numbers(find(radiologist_client, name)) == [study.pk]


def test_history_finds_no_study_by_a_file_that_none_was_made_of(radiologist_client, radiologist):
    study = study_make(uploaded_by=radiologist)
    for status in ("refused", "skipped"):
        SourceFile.objects.create(
            upload=study.upload,
            study=study,
            display_name=f"{status}.png",
            name_index=blind_index(status, field="name"),
            size_bytes=1,
            status=status,
            reason="No CT.",
        )
        assert numbers(find(radiologist_client, f"{status}.png")) == []


def test_history_finds_a_study_by_patient_id_and_accession_number(
    radiologist_client, administrator_client, radiologist
):
    study = study_make(uploaded_by=radiologist)
    study_make(uploaded_by=radiologist)
    identifiers_store(study=study, found={"patient_id": "PID 77", "accession_number": "A-1"})

    for word in ("PID 77", "pid  77", "a-1"):
        assert numbers(find(radiologist_client, word)) == [study.pk]
        # Who may not see identifiers does not learn by searching that there is such a patient.
        assert numbers(find(administrator_client, word)) == []


def test_history_finds_a_study_by_its_number(radiologist_client, radiologist):
    study = study_make(uploaded_by=radiologist, name="a.png")
    study_make(uploaded_by=radiologist, name="b.png")

    for written in (str(study.pk), f"#{study.pk}", f"Study {study.pk}"):
        assert numbers(find(radiologist_client, written)) == [study.pk]


def test_search_never_leaves_the_own_scope(
    radiologist_client, radiologist, other_radiologist, lead_client
):
    study = study_make(uploaded_by=other_radiologist, name="secret.png")

    for word in ("secret", str(study.pk)):
        assert numbers(find(radiologist_client, word)) == []
    address = reverse("study-list")
    assert numbers(radiologist_client.get(address, {"uploader": other_radiologist.pk})) == []
    assert numbers(find(lead_client, "secret")) == [study.pk]


def test_only_who_sees_all_can_filter_by_uploader(
    radiologist_client, lead_client, radiologist, other_radiologist
):
    own = study_make(uploaded_by=radiologist)
    study_make(uploaded_by=other_radiologist)

    response = lead_client.get(reverse("study-list"), {"uploader": radiologist.pk})
    assert numbers(response) == [own.pk]
    assert "uploader" not in radiologist_client.get(reverse("study-list")).context["filter"].form


def test_day_filters_take_the_whole_day_of_the_site(radiologist_client, radiologist, settings):
    settings.TIME_ZONE = "Pacific/Auckland"
    study = study_make(uploaded_by=radiologist)
    # The 10th in Auckland began while it was still the 9th in UTC.
    moment = datetime.datetime(2026, 3, 9, 23, 30, tzinfo=datetime.UTC)
    Study.objects.filter(pk=study.pk).update(created_at=moment)

    def found(**query):
        return numbers(radiologist_client.get(reverse("study-list"), query))

    assert found(date_from="2026-03-10", date_to="2026-03-10") == [study.pk]
    assert found(date_to="2026-03-09") == []
    assert found(date_from="2026-03-11") == []


def test_pages_keep_the_filters(radiologist_client, radiologist):
    for number in range(26):
        study_make(uploaded_by=radiologist, name=f"{number}.png")

    response = radiologist_client.get(reverse("study-list"), {"verdict": "stone"})
    assert len(response.context["page"]) == 25
    assert "?verdict=stone&amp;page=2" in response.content.decode()
    response = radiologist_client.get(reverse("study-list"), {"verdict": "stone", "page": 2})
    assert len(response.context["page"]) == 1


def test_result_stands_with_everything_a_reader_needs(radiologist_client, radiologist):
    study = study_make(
        uploaded_by=radiologist,
        volume=volume_make(notices=(Notice("lossy", "Lossy compression."),)),
    )

    page = text(radiologist_client.get(study.get_absolute_url()))
    for words in (
        "Stone suspected",
        "87 %",
        "balanced, threshold 50 %",
        "90 %",
        "80 %",
        "model-1",
        "Lossy compression.",
        "6.3 mm across on the map",
        "are not a stone size",
        "Decision support for research use, not a diagnosis.",
    ):
        assert words in page


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"status": Status.FAILED, "message": "The model gave no usable numbers."}, "Failed"),
        ({"status": Status.REFUSED, "message": "This is no CT image."}, "Cannot assess"),
        ({"status": Status.RUNNING}, "Reading"),
        ({"status": Status.QUEUED}, "Waiting to be read"),
    ],
)
def test_what_has_no_verdict_shows_its_reason_and_no_probability(
    radiologist_client, radiologist, state, words
):
    study = study_make(uploaded_by=radiologist, **state)

    for address in (study.get_absolute_url(), study.upload.get_absolute_url()):
        page = text(radiologist_client.get(address))
        assert words in page
        assert state.get("message", "") in page
        assert "calibrated probability" not in page
        assert "Kidneys only: ureter and bladder are not judged." in page
        assert not re.search(r"(?<!\d)0 %", page)
    assert "%" not in text(radiologist_client.get(reverse("study-list"))).partition("<table")[2]


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(0.0, "< 1 %"), (0.004, "< 1 %"), (0.5, "50 %"), (0.996, "> 99 %"), (1.0, "> 99 %")],
)
def test_no_probability_is_rounded_to_certainty(
    radiologist_client, radiologist, probability, shown
):
    study = study_make(uploaded_by=radiologist, probability=probability)

    page = text(radiologist_client.get(study.get_absolute_url())).replace("&lt;", "<")
    assert f"<strong>{shown}</strong>" in page.replace("&gt;", ">")


def test_status_says_nothing_new_then_the_result_and_stops(radiologist_client, radiologist):
    study = study_make(uploaded_by=radiologist, status=Status.RUNNING)
    address = reverse("study-status", args=[study.uuid])

    first = radiologist_client.get(address)
    assert first.status_code == 200
    assert "hx-trigger" in first.content.decode()
    state = first.context["state"]
    assert radiologist_client.get(address, {"state": state}).status_code == 204

    outcome = {"status": Status.SUCCEEDED, "verdict": "no_stone", "probability": 0.03}
    Prediction.objects.filter(series__study=study).update(**outcome)
    Study.objects.filter(pk=study.pk).update(slices_read=1, slices_given=1, **outcome)
    last = radiologist_client.get(address, {"state": state})
    assert last.status_code == 286
    assert "No stone suspected in the one slice read" in last.content.decode()
    assert "hx-trigger" not in last.content.decode()


def test_who_may_not_see_pixels_gets_a_page_without_them(auditor_client, radiologist):
    study = study_make(uploaded_by=radiologist)

    page = auditor_client.get(study.get_absolute_url()).content.decode()
    assert "Stone suspected" in page
    assert ".png?" not in page
    assert "data-viewer" not in page


def test_study_links_to_its_neighbours_in_the_own_scope(
    radiologist_client, radiologist, other_radiologist
):
    older = study_make(uploaded_by=radiologist)
    study_make(uploaded_by=other_radiologist)
    study = study_make(uploaded_by=radiologist)
    study_make(uploaded_by=other_radiologist)

    response = radiologist_client.get(study.get_absolute_url())
    assert (response.context["newer"], response.context["older"]) == (None, older.uuid)


def test_names_from_files_are_escaped(radiologist_client, radiologist):
    study = study_make(uploaded_by=radiologist, name="<script>alert(1)</script>.png")

    for address in (
        reverse("study-list"),
        study.get_absolute_url(),
        study.upload.get_absolute_url(),
    ):
        assert "<script>alert" not in radiologist_client.get(address).content.decode()


@pytest.fixture
def two_series(radiologist):
    study = study_make(uploaded_by=radiologist)
    other = series_make(uploaded_by=radiologist)
    Series.objects.filter(pk=other.pk).update(
        study=study, is_first=False, description="coronal, 40 slices, 3.0 mm", plane="coronal"
    )
    return study, Series.objects.get(pk=other.pk)


def test_another_series_can_be_looked_at_and_says_that_it_was_not_read(
    radiologist_client, two_series
):
    study, other = two_series
    model_version_make("model-2", is_active=True)
    page = text(radiologist_client.get(study.get_absolute_url()))
    assert "Stone suspected" in page
    assert "Coronal, 40 slices, 3.0 mm" in page
    assert "Read this one" in page

    page = text(radiologist_client.get(study.get_absolute_url(), {"series": other.uuid}))
    assert "Nobody has asked for a reading of this series" in page
    # The answer of the study stays at the top.
    assert page.index("Stone suspected in the one slice read") < page.index("Nobody has asked")
    assert "87 %" in page.partition("Series of this study")[2]
    status = reverse("study-status", args=[study.uuid])
    assert radiologist_client.get(status, {"series": other.uuid}).status_code == 286


@pytest.mark.parametrize("asked_for", ["not-a-uuid", "0f6f4a5e-8e0c-4a2d-9d5b-0f0d6b1c2a33"])
def test_series_of_another_study_is_not_found(radiologist_client, two_series, asked_for):
    study, _ = two_series
    address = study.get_absolute_url()
    assert radiologist_client.get(address, {"series": asked_for}).status_code == 404


def test_reading_another_series_is_queued_and_leaves_the_answer(radiologist_client, two_series):
    study, other = two_series
    model_version_make("model-2", is_active=True)
    address = reverse("series-read", args=[study.uuid, other.uuid])

    assert radiologist_client.get(address).status_code == 405
    response = radiologist_client.post(address)

    assert response.url == f"{study.get_absolute_url()}?series={other.uuid}"
    study.refresh_from_db()
    assert (study.status, study.verdict) == (Status.SUCCEEDED, "stone")
    assert Prediction.objects.filter(series=other).exists()
    page = text(radiologist_client.get(response.url))
    assert "Stone suspected" in page
    assert "still being read" in page
    elsewhere = reverse("series-read", args=[study_make_of(study).uuid, other.uuid])
    assert radiologist_client.post(elsewhere).status_code == 404


def study_make_of(study):
    return study_make(uploaded_by=study.uploaded_by)


def test_reading_without_a_model_in_service_says_so(radiologist_client, two_series):
    study, other = two_series
    address = reverse("series-read", args=[study.uuid, other.uuid])

    page = text(radiologist_client.post(address, follow=True))

    assert "No detection model is in service" in page


def finish(prediction, **outcome):
    Prediction.objects.filter(pk=prediction.pk).update(status="running", attempts=1)
    prediction.refresh_from_db()
    assessment = Assessment(**{"extent": Extent(slices_read=1, slices=1), **outcome})
    prediction_store(prediction=prediction, assessment=assessment)


def test_first_reading_of_several_series_shows_how_far_it_is(radiologist_client, two_series):
    study, other = two_series
    Prediction.objects.update(status="running", verdict="", probability=None, slices_done=3)
    Prediction.objects.update(slices_total=20)
    Study.objects.update(status=Status.RUNNING, verdict="", probability=None, prediction=None)

    page = text(radiologist_client.get(study.get_absolute_url()))
    assert "Slice 3 of 20" in page
    assert "shown here" not in page
    # The other one can be looked at meanwhile.
    page = text(radiologist_client.get(study.get_absolute_url(), {"series": other.uuid}))
    assert "Series 2 was not read" in page


def test_page_keeps_asking_until_every_series_has_its_answer(radiologist_client, two_series):
    study, other = two_series
    ModelActivation.objects.create(model_version=study.prediction.model_version)
    prediction = prediction_create(series=other)
    address = reverse("study-status", args=[study.uuid])

    first = radiologist_client.get(address)
    # The stone is told at once, and the page waits for the rest.
    assert first.status_code == 200
    told = "Stone suspected in the one slice read; another series is still being read"
    assert told in text(first)
    assert "not read" not in text(first).partition("Series of this study")[0]
    assert radiologist_client.get(address, {"state": first.context["state"]}).status_code == 204
    finish(prediction, verdict="stone", probability=0.95)
    last = radiologist_client.get(address, {"state": first.context["state"]})

    assert last.status_code == 286
    assert "95 %" in text(last)


def test_button_goes_when_the_version_in_service_has_read_the_series(
    radiologist_client, two_series
):
    study, other = two_series
    version = study.prediction.model_version
    ModelActivation.objects.create(model_version=version)
    address = study.get_absolute_url()
    assert text(radiologist_client.get(address)).count("Read this one") == 1

    radiologist_client.post(reverse("series-read", args=[study.uuid, other.uuid]))
    assert "Read this one" not in text(radiologist_client.get(address))
    finish(other.predictions.get(), verdict="no_stone", probability=0.1)
    assert "Read this one" not in text(radiologist_client.get(address))

    # A version that has not read it may.
    model_version_make("model-2", is_active=True)
    assert text(radiologist_client.get(address)).count("Read again") == 2


def test_series_that_can_never_be_read_leaves_the_answer_and_is_named(
    radiologist_client, two_series
):
    study, other = two_series
    model_version_make("model-2", is_active=True)
    radiologist_client.post(reverse("series-read", args=[study.uuid, other.uuid]))
    for prediction in Prediction.objects.filter(status="queued"):
        outcome = {"verdict": "no_stone", "probability": 0.1}
        if prediction.series == other:
            outcome = {"verdict": "cannot_assess", "probability": None, "reason": "Sagittal."}
            outcome["extent"] = Extent(slices_read=0, slices=40)
        finish(prediction, **outcome)

    for page in (study.get_absolute_url(), reverse("study-list")):
        page = text(radiologist_client.get(page))
        assert "No stone suspected in the one slice read; 1 more series not read" in page
    page = text(radiologist_client.get(study.get_absolute_url()))
    assert "Series 1 decided" in page
    assert "Cannot assess: Sagittal." in page.partition("Series of this study")[2]


def test_another_reconstruction_of_the_same_scan_is_named_and_can_be_read(
    radiologist_client, two_series
):
    study, _ = two_series
    ModelActivation.objects.create(model_version=study.prediction.model_version)
    study.series.update(scan="one")

    page = text(radiologist_client.get(study.get_absolute_url()))

    assert "Not read: another reconstruction of the same scan" in page
    assert "Read this one too" in page
    assert "more series not read" not in page


def test_lead_sets_a_series_aside_and_everybody_sees_it(
    lead_client, radiologist_client, auditor_client, administrator_client, two_series
):
    study, other = two_series
    ModelActivation.objects.create(model_version=study.prediction.model_version)
    prediction = prediction_create(series=other)
    finish(prediction, verdict="no_stone", probability=0.1)
    address = reverse("series-set-aside", args=[study.uuid, study.prediction.series.uuid])
    assert "Set series 1 aside" in text(lead_client.get(study.get_absolute_url()))
    assert "Set series 1 aside" not in text(radiologist_client.get(study.get_absolute_url()))

    for client in (radiologist_client, auditor_client, administrator_client):
        assert client.post(address, {"reason": "So."}).status_code == 403
    assert "Please say why" in text(lead_client.post(address, follow=True))
    page = text(lead_client.post(address, {"reason": "A stent <b>."}, follow=True))

    assert "Set aside by" in page
    assert "A stent &lt;b&gt;." in page
    assert "No stone suspected in the one slice read" in page
    for client in (radiologist_client, auditor_client):
        for url in (study.get_absolute_url(), reverse("study-list")):
            assert "1 series set aside: a stone was suspected there" in text(client.get(url))
    # It stands in the card of the verdict in the size of normal text, with the reason.
    card = text(radiologist_client.get(study.get_absolute_url())).partition("intended-use")[0]
    assert re.search(r'class="verdict-reason">\s*1 series set aside: a stone was suspected', card)
    assert "Series 1: A stent &lt;b&gt;." in card
    log = auditor_client.get(reverse("admin:detection_seriesaside_changelist"))
    assert "A stent &lt;b&gt;." in text(log)

    back = reverse("series-take-back", args=[study.uuid, study.series.get(is_aside=True).uuid])
    page = text(lead_client.post(back, {"reason": "It was a stone."}, follow=True))
    assert "Taken back by" in page
    assert "Stone suspected in the 2 slices read" in page.partition("Series of this study")[0]
    assert "set aside:" not in page.partition("Series of this study")[0]


def test_slices_that_were_not_read_are_named_on_the_page(radiologist_client, radiologist):
    study = study_make(uploaded_by=radiologist, verdict="no_stone", probability=0.02)
    told = "66 of 99 slices show other parts of the body or could not be assessed."
    counted = {"slices_read": 33, "slices_given": 99, "height_mm": 140.25}
    Prediction.objects.update(
        **counted, notices=notices_json([Notice(ReadingCode.SLICES_UNREAD, told)])
    )
    Study.objects.update(**counted)

    page = text(radiologist_client.get(study.get_absolute_url()))
    assert told in page
    assert "33 of 99" in page
    for url in (study.get_absolute_url(), reverse("study-list"), study.upload.get_absolute_url()):
        page = text(radiologist_client.get(url))
        assert "No stone suspected in the 33 of 99 slices read (14 cm)" in page
        assert page.count("Kidneys only: ureter and bladder are not judged.") == 1


def test_no_stone_is_no_all_clear_in_colour_or_icon(radiologist_client, radiologist):
    study = study_make(uploaded_by=radiologist, verdict="no_stone", probability=0.02)

    for url in (study.get_absolute_url(), reverse("study-list"), study.upload.get_absolute_url()):
        page = radiologist_client.get(url).content.decode()
        assert "tone-none" in page
        assert "tone-clear" not in page
        assert "icons.svg#check" not in page


def test_stack_has_a_series_score_and_a_picture_a_probability(radiologist_client, radiologist):
    picture = study_make(uploaded_by=radiologist)
    stack = study_make(uploaded_by=radiologist, volume=block_volume())
    point = OPERATING_POINT | {"n_positive": 4, "n_negative": 8}
    Prediction.objects.update(operating_point=point)

    page = text(radiologist_client.get(stack.get_absolute_url()))
    assert "<strong>0.87</strong> <span>series score</span>" in page
    assert "calibrated probability" not in page
    assert "n = 4" in page
    assert "n = 8" in page
    assert "calibrated probability of a stone" in text(
        radiologist_client.get(picture.get_absolute_url())
    )
    rows = text(radiologist_client.get(reverse("study-list")))
    assert '0.87 <span class="file-size">series score</span>' in rows
    assert '87 % <span class="file-size">probability</span>' in rows


def age(rows, seconds):
    rows.update(created_at=timezone.now() - datetime.timedelta(seconds=seconds))


def test_slow_is_counted_from_what_is_waited_for(radiologist_client, two_series):
    study, other = two_series
    model_version_make("model-2", is_active=True)
    # Yesterday's upload; a second reading that was asked for just now.
    age(Study.objects.all(), 86_400)
    age(type(study.upload).objects.all(), 86_400)
    age(Prediction.objects.all(), 86_400)
    radiologist_client.post(reverse("series-read", args=[study.uuid, other.uuid]))
    Study.objects.update(status=Status.QUEUED, verdict="", probability=None, prediction=None)
    pages = (
        study.get_absolute_url(),
        f"{study.get_absolute_url()}?series={other.uuid}",
        study.upload.get_absolute_url(),
    )

    for page in pages:
        assert "longer than usual" not in text(radiologist_client.get(page))
    age(Prediction.objects.filter(status="queued"), 61)
    for page in pages:
        assert "longer than usual" in text(radiologist_client.get(page))


def test_first_reading_is_slow_by_the_time_it_waits(radiologist_client, radiologist):
    study = study_make(uploaded_by=radiologist, status=Status.QUEUED)
    age(Study.objects.all(), 86_400)
    assert "longer than usual" not in text(radiologist_client.get(study.get_absolute_url()))

    age(Prediction.objects.all(), 61)

    assert "longer than usual" in text(radiologist_client.get(study.get_absolute_url()))


def test_running_reading_shows_how_far_it_is(radiologist_client, radiologist):
    study = study_make(uploaded_by=radiologist, status=Status.RUNNING)
    address = reverse("study-status", args=[study.uuid])
    state = radiologist_client.get(address).context["state"]
    assert radiologist_client.get(address, {"state": state}).status_code == 204

    Prediction.objects.update(slices_done=120, slices_total=300)

    assert "Slice 120 of 300" in text(radiologist_client.get(address, {"state": state}))


def test_stone_is_described_as_far_as_it_is_known(radiologist_client, radiologist):
    study = study_make(uploaded_by=radiologist)
    Finding.objects.update(
        diameter_mm=6.2, size_class="5-10 mm", side="left", mean_hu=812.4, slice_first=0
    )
    Study.objects.update(largest_stone_mm=6.2, size_class="5-10 mm")

    page = text(radiologist_client.get(study.get_absolute_url()))
    assert "6.2 mm (5-10 mm)" in page
    assert "left side, mean 812 HU" in page
    assert "does not tell its composition" in page
    assert "6.2 mm" in text(radiologist_client.get(reverse("study-list")))


def test_identifiers_are_shown_when_asked_for_and_not_before(
    radiologist_client, lead_client, administrator_client, radiologist
):
    study = study_make(uploaded_by=radiologist)
    identifiers_store(study=study, found={"patient_name": "Doe^Jane"})
    address = reverse("study-identifiers", args=[study.uuid])

    before = text(radiologist_client.get(study.get_absolute_url()))
    assert "Whose study it is" in before
    assert "Doe^Jane" not in before
    assert not IdentifierAccess.objects.exists()
    for client in (radiologist_client, lead_client):
        assert "Doe^Jane" in text(client.post(address))
        assert "Doe^Jane" in text(client.post(address, headers={"HX-Request": "true"}))
    assert IdentifierAccess.objects.count() == 4
    assert "Whose study it is" not in text(administrator_client.get(study.get_absolute_url()))


def test_file_names_are_for_who_may_see_identifiers(
    radiologist_client, administrator_client, auditor_client, radiologist
):
    study = study_make(uploaded_by=radiologist, name="Doe^Jane.png")

    for url in (study.get_absolute_url(), reverse("study-list"), study.upload.get_absolute_url()):
        assert "Doe^Jane" in text(radiologist_client.get(url))
        assert "Doe^Jane" not in text(administrator_client.get(url))
        assert "Doe^Jane" not in text(auditor_client.get(url))


def test_every_notice_is_told_once_with_its_code(radiologist_client, radiologist):
    thick = Notice(Code.THICK_SLICES, "The slices are 5.0 mm apart.")
    study = study_make(uploaded_by=radiologist, volume=volume_make(notices=(thick,)))
    series = study.series.get()
    several = Notice(Code.SEVERAL_SERIES, "The study holds 2 series.")
    series.notices = notices_json([thick, several])
    series.save(update_fields=["notices"])
    again = Notice(Code.THICK_SLICES, "Thick, says a reading of an earlier version.")
    rule = Notice(ReadingCode.SERIES_RULE, "The rule was set on runs.")
    series.predictions.update(notices=notices_json([again, rule]))

    page = radiologist_client.get(study.get_absolute_url()).content.decode()

    # The list of the study's series says itself that there are several.
    assert re.findall(r'data-notice="(\w+)"', page) == ["thick_slices", "series_rule"]
    assert "The slices are 5.0 mm apart." in page


@pytest.mark.parametrize(
    ("seeing", "words", "css"),
    [
        (3, "Three of four members see this stone", "finding-place"),
        (1, "Only one of four members sees this stone", "finding-doubt"),
    ],
)
def test_page_says_how_many_members_see_a_stone(
    radiologist_client, radiologist, seeing, words, css
):
    study = study_make(uploaded_by=radiologist)
    Finding.objects.update(members_seeing=seeing, members=4)

    page = text(radiologist_client.get(reverse("study-detail", args=[study.uuid])))

    assert re.search(rf'<span class="{css}" data-members="{seeing}">{words}</span>', page)


def test_page_of_a_reading_by_one_network_counts_no_members(radiologist_client, radiologist):
    study = study_make(uploaded_by=radiologist)

    page = text(radiologist_client.get(reverse("study-detail", args=[study.uuid])))

    assert "data-finding" in page
    assert "members" not in page
