"""What migrations make of rows that were there before them."""

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from accounts.roles import ROLES
from detection.models import Finding, Study
from detection.models.encryption import blind_index
from detection.selectors.answers import answer_sentence


@pytest.fixture
def migrate(transactional_db):
    def to(*targets):
        executor = MigrationExecutor(connection)
        executor.migrate(list(targets))
        return executor.loader.project_state(list(targets)).apps

    yield to
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def series_of(apps, **told):
    """Store a series with its study, its upload and their user, as a release of then had them."""
    user = apps.get_model("accounts", "User").objects.create(username="ada")
    upload = apps.get_model("detection", "Upload").objects.create(uploaded_by=user)
    study = apps.get_model("detection", "Study").objects.create(upload=upload, uploaded_by=user)
    return apps.get_model("detection", "Series").objects.create(
        study=study,
        volume_path="volumes/x.npz",
        slices=1,
        rows=2,
        columns=2,
        is_hu=True,
        plane="axial",
        **told,
    )


def stored_names():
    with connection.cursor() as cursor:
        cursor.execute("SELECT display_name FROM detection_sourcefile ORDER BY id")
        return [name for (name,) in cursor.fetchall()]


def test_names_of_earlier_files_are_encrypted_and_found_again(migrate):
    apps = migrate(("detection", "0002_roles"))
    series = series_of(apps)
    study, upload = series.study, series.study.upload
    for name in ("Doe^Jane.dcm", ".png"):
        apps.get_model("detection", "SourceFile").objects.create(
            upload=upload,
            study=study,
            display_name=name,
            size_bytes=1,
            sha256="",
            status="accepted",
        )

    after = migrate(("detection", "0008_notices"))

    assert not {"Doe^Jane.dcm", ".png"} & set(stored_names())
    first, second = after.get_model("detection", "SourceFile").objects.order_by("pk")
    assert (first.display_name, second.display_name) == ("Doe^Jane.dcm", ".png")
    assert first.name_index == blind_index("doe^jane", field="name")
    assert first.series_id == series.pk
    now = after.get_model("detection", "Study").objects.get()
    assert (now.name, now.slices, now.plane) == ("Doe^Jane.dcm", 1, "axial")
    assert now.series.get().is_chosen


def test_caveats_and_warnings_become_notices(migrate):
    apps = migrate(("detection", "0007_identifier_roles"))
    lossy = "The file was compressed with a lossy method: fine detail may be changed."
    unknown = "A sentence that nobody remembers."
    rule = "The rule that turns slices into one answer was set on runs."
    series = series_of(
        apps,
        caveats=[lossy, unknown],
        warnings=[{"code": "thick_slices", "sentence": "The slices are 5.0 mm apart: ..."}],
    )
    version = apps.get_model("detection", "ModelVersion").objects.create(
        name="m", origin="shipped", digest="d", operating_point={}
    )
    apps.get_model("detection", "Prediction").objects.create(
        series=series,
        model_version=version,
        operating_point={},
        caveats=[lossy, unknown, rule],
    )

    after = migrate(("detection", "0008_notices"))

    Series = after.get_model("detection", "Series")
    Prediction = after.get_model("detection", "Prediction")
    assert Series.objects.get().notices == [
        {"code": "lossy", "text": lossy},
        {"code": "earlier", "text": unknown},
        {"code": "thick_slices", "text": "The slices are 5.0 mm apart: ..."},
    ]
    # What the image says stands with its series alone.
    assert Prediction.objects.get().notices == [{"code": "series_rule", "text": rule}]

    before = migrate(("detection", "0007_identifier_roles"))

    assert len(before.get_model("detection", "Series").objects.get().warnings) == 3
    assert before.get_model("detection", "Prediction").objects.get().caveats[0] == lossy

    after = migrate(("detection", "0008_notices"))

    Series = after.get_model("detection", "Series")
    Prediction = after.get_model("detection", "Prediction")
    assert len(Series.objects.get().notices) == 3
    assert Prediction.objects.get().notices == [{"code": "series_rule", "text": rule}]


@pytest.mark.parametrize("status", ["not_imported", "received", "importing"])
def test_studies_without_an_image_leave_their_files_in_the_report(migrate, status):
    apps = migrate(("detection", "0009_training_architecture"))
    user = apps.get_model("accounts", "User").objects.create(username="ada")
    upload = apps.get_model("detection", "Upload").objects.create(uploaded_by=user)
    studies = [
        apps.get_model("detection", "Study").objects.create(
            upload=upload, uploaded_by=user, status=told
        )
        for told in (status, "succeeded")
    ]
    for study in studies:
        apps.get_model("detection", "SourceFile").objects.create(
            upload=upload,
            study=study,
            display_name="a.png",
            size_bytes=1,
            sha256="",
            status="refused",
            reason="It is damaged.",
            quarantine_path="quarantine/x",
        )

    apps = migrate(("detection", "0010_refused_files_and_faults"))

    assert apps.get_model("detection", "Study").objects.get().pk == studies[1].pk
    files = apps.get_model("detection", "SourceFile").objects.order_by("pk")
    assert [file.study_id for file in files] == [None, studies[1].pk]
    # The bytes of files that wait are kept.
    assert {file.quarantine_path for file in files} == {"quarantine/x"}


@pytest.fixture
def earlier(migrate):
    """Makes a study as releases before 0011 stored it: [(is_chosen, [(status, scores)])]."""
    apps = migrate(("detection", "0009_training_architecture"))
    model = {
        name: apps.get_model("detection", name)
        for name in ("Upload", "Study", "Series", "ModelVersion", "Prediction")
    }
    user = apps.get_model("accounts", "User").objects.create(username="ada")
    version = model["ModelVersion"].objects.create(
        name="m", origin="shipped", digest="d", operating_point={}
    )

    def make(*series, status, verdict="", probability=None, message=""):
        upload = model["Upload"].objects.create(uploaded_by=user)
        study = model["Study"].objects.create(
            upload=upload, uploaded_by=user, status=status, verdict=verdict,
            probability=probability, message=message,
        )  # fmt: skip
        for is_chosen, readings in series:
            row = model["Series"].objects.create(
                study=study, volume_path="x", slices=4, rows=2, columns=2, is_hu=True,
                plane="axial", is_chosen=is_chosen, slice_spacing_mm=5.0,
            )  # fmt: skip
            for what, scores in readings:
                known = [score for score in scores if score is not None]
                is_read = what in ("stone", "no_stone")
                model["Prediction"].objects.create(
                    series=row, model_version=version, operating_point={},
                    status="succeeded" if is_read else what,
                    verdict=what if is_read else "cannot_assess" if what == "refused" else "",
                    probability=max(known, default=0.3) if is_read else None,
                    message="" if is_read else "So.",
                    slice_probabilities=scores,
                )  # fmt: skip
        return study.pk

    return make


def test_earlier_readings_get_their_extent_and_studies_the_sentence(migrate, earlier):
    whole = earlier(
        (True, [("no_stone", [0.1] * 4)]), status="succeeded", verdict="no_stone", probability=0.1
    )
    part = earlier(
        (True, [("no_stone", [None, 0.1, 0.1, None])]),
        status="succeeded",
        verdict="no_stone",
        probability=0.1,
    )
    bare = earlier(
        (True, [("no_stone", [])]), status="succeeded", verdict="no_stone", probability=0.3
    )
    refused = earlier(
        (True, [("refused", [])]), status="refused", verdict="cannot_assess", message="So."
    )
    failed = earlier((True, [("failed", [])]), status="failed", message="So.")

    migrate(("detection", "0012_pending_and_names"))

    told = {study.pk: study for study in Study.objects.all()}
    assert answer_sentence(told[whole]) == "No stone suspected in the 4 slices read (2 cm)"
    assert answer_sentence(told[part]) == "No stone suspected in the 2 of 4 slices read (1 cm)"
    assert answer_sentence(told[bare]) == "No stone suspected in the 4 slices read (2 cm)"
    assert answer_sentence(told[refused]) == "Cannot assess"
    assert told[failed].prediction_id is None
    assert all(told[pk].prediction_id for pk in (whole, part, bare, refused))


def test_stone_that_another_series_hid_is_the_answer_again(migrate, earlier):
    scores = [0.2, 0.9, 0.9, 0.2]
    hidden = earlier(
        (False, [("stone", scores)]), (True, [("refused", [])]),
        status="refused", verdict="cannot_assess", message="Sagittal slices.",
    )  # fmt: skip
    cleared = earlier(
        (False, [("stone", scores)]), (True, [("no_stone", [0.1] * 4)]),
        status="succeeded", verdict="no_stone", probability=0.1,
    )  # fmt: skip
    corrected = earlier(
        (True, [("stone", scores), ("no_stone", [0.1] * 4)]),
        status="succeeded", verdict="no_stone", probability=0.1,
    )  # fmt: skip
    waiting = earlier(
        (False, [("stone", scores)]), (True, [("queued", [])]), status="queued",
    )  # fmt: skip

    migrate(("detection", "0012_pending_and_names"))

    told = {study.pk: study for study in Study.objects.all()}
    for pk in (hidden, cleared):
        study = told[pk]
        assert (study.status, study.verdict, study.probability) == ("succeeded", "stone", 0.9)
        assert (study.message, study.series_unread) == ("", 1)
        assert study.prediction.series.is_first is False
    # A later reading of the same series had the last word, and one that waits gets it.
    assert told[corrected].verdict == "no_stone"
    assert told[waiting].status == "queued"


def test_database_of_an_earlier_release_gets_the_roles_of_this_one(migrate):
    # With the command, since the roles come after its migrations.
    call_command("migrate", "detection", "0002_roles", verbosity=0)
    Group.objects.get(name="lead").permissions.clear()
    Group.objects.get(name="auditor").delete()

    call_command("migrate", verbosity=0)

    held = {group.name: group.permissions.count() for group in Group.objects.all()}
    assert held == {role.name: len(role.permissions) for role in ROLES.values()}


def test_findings_of_an_earlier_release_count_no_members(migrate):
    apps = migrate(("detection", "0012_pending_and_names"))
    series = series_of(apps)
    prediction = apps.get_model("detection", "Prediction").objects.create(
        series=series,
        model_version=apps.get_model("detection", "ModelVersion").objects.create(
            name="m", origin="shipped", digest="d", operating_point={}
        ),
        operating_point={},
    )
    place = {"plane": "axial", "x0": 1, "y0": 1, "x1": 2, "y1": 2, "probability": 0.5}
    apps.get_model("detection", "Finding").objects.create(prediction=prediction, rank=1, **place)

    migrate(("detection", "0013_agreement"))

    (row,) = Finding.objects.all()
    assert (row.members_seeing, row.members) == (None, None)
    for seeing, members in ((4, 3), (None, 3), (1, None)):
        with pytest.raises(IntegrityError), transaction.atomic():
            Finding.objects.filter(pk=row.pk).update(members_seeing=seeing, members=members)
