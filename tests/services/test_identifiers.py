from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import FieldError, ImproperlyConfigured, PermissionDenied
from django.core.management import call_command
from django.db import connection

from detection.models import IdentifierAccess, SourceFile, Study, StudyIdentifiers
from detection.models.encryption import UNREADABLE, blind_index, blind_indices, name_stem
from detection.services.identifiers import (
    identifiers_reveal,
    identifiers_rotate,
    identifiers_store,
)
from tests.factories import study_make

FOUND = {"patient_id": " P 1 ", "patient_name": "Doe^Jane", "study_uid": "1.2.3"}


@pytest.fixture
def study(radiologist):
    study = study_make(uploaded_by=radiologist, name="Doe.png")
    identifiers_store(study=study, found=FOUND)
    return study


def stored(table, column):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table}")
        return [value for (value,) in cursor.fetchall()]


def test_identifiers_are_read_back_and_lie_encrypted(study):
    identifiers = StudyIdentifiers.objects.get(study=study)

    assert (identifiers.patient_id, identifiers.patient_name) == ("P 1", "Doe^Jane")
    (token,) = stored("detection_studyidentifiers", "patient_name")
    assert "Doe" not in token
    assert stored("detection_studyidentifiers", "birth_date") == [""]
    assert "Doe" not in str(stored("detection_study", "name"))


def test_files_that_name_nobody_leave_no_row(study):
    StudyIdentifiers.objects.all().delete()

    identifiers_store(study=study, found={"patient_id": " ", "birth_date": ""})

    assert not StudyIdentifiers.objects.exists()


def test_every_look_is_recorded(study, radiologist, lead):
    for user in (radiologist, lead, lead):
        assert identifiers_reveal(study=study, user=user).patient_name == "Doe^Jane"

    log = IdentifierAccess.objects.order_by("pk").values_list("study", "user")
    assert list(log) == [(study.pk, user.pk) for user in (radiologist, lead, lead)]


def test_who_may_not_see_identifiers_sees_none_and_leaves_no_entry(study, administrator, auditor):
    for user in (administrator, auditor):
        with pytest.raises(PermissionDenied):
            identifiers_reveal(study=study, user=user)

    assert not IdentifierAccess.objects.exists()


def test_encrypted_text_cannot_be_searched(study):
    with pytest.raises(FieldError):
        Study.objects.filter(name="Doe.png").exists()


def test_index_ignores_case_and_blanks_and_differs_by_field(settings):
    assert blind_index("P  1 ", field="patient_id") == blind_index("p 1", field="patient_id")
    assert blind_index("p1", field="patient_id") != blind_index("p1", field="name")
    assert blind_index(" ", field="name") == ""
    before = blind_index("p1", field="name")
    settings.IDENTIFIER_KEYS = [Fernet.generate_key().decode(), *settings.IDENTIFIER_KEYS]
    assert blind_index("p1", field="name") != before
    assert before in blind_indices("p1", field="name")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Doe.dcm", "Doe"),
        ("a/b/Doe.NII.GZ", "Doe"),
        ("c:\\x\\Doe", "Doe"),
        ("IM.0001", "IM.0001"),
        (".png", ".png"),
    ],
)
def test_name_is_looked_up_without_folders_and_ending(name, stem):
    assert name_stem(name) == stem


def test_rotation_leaves_nothing_that_needs_the_old_key(study, settings):
    new = Fernet.generate_key().decode()
    settings.IDENTIFIER_KEYS = [new, *settings.IDENTIFIER_KEYS]
    out = StringIO()

    call_command("rotate_identifier_keys", stdout=out)

    settings.IDENTIFIER_KEYS = [new]
    assert "3 rows" in out.getvalue()
    identifiers = StudyIdentifiers.objects.get()
    assert (identifiers.patient_id, Study.objects.get().name) == ("P 1", "Doe.png")
    assert Study.objects.get().name_index == blind_index("doe", field="name")
    assert identifiers.patient_id_index == blind_index("p 1", field="patient_id")
    file = SourceFile.objects.get()
    assert (file.display_name, file.name_index) == ("Doe.png", blind_index("doe", field="name"))


def test_text_of_a_lost_key_is_said_to_be_unreadable_and_never_overwritten(study, settings):
    kept, lost = settings.IDENTIFIER_KEYS, [Fernet.generate_key().decode()]
    settings.IDENTIFIER_KEYS = lost
    assert Study.objects.get().name == UNREADABLE
    Study.objects.get().save()
    assert identifiers_rotate() == (0, 3)

    settings.IDENTIFIER_KEYS = kept
    assert Study.objects.get().name == "Doe.png"
    assert StudyIdentifiers.objects.get().patient_name == "Doe^Jane"


def test_without_a_key_nothing_is_stored(study, settings):
    settings.IDENTIFIER_KEYS = []

    with pytest.raises(ImproperlyConfigured, match="IDENTIFIER_KEYS"):
        identifiers_store(study=study, found=FOUND)
