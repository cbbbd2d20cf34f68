"""Names planted wherever a file can carry one are found nowhere but encrypted."""

import io
import logging
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.urls import reverse

from detection.models import Prediction, SourceFile, Study, StudyIdentifiers, encryption
from detection.services.imports import upload_import_run
from detection.services.predictions import prediction_run
from kidneyweb.logs import JsonFormatter
from tests.factories import png_bytes

ROOT = Path(__file__).resolve().parents[2]
SLICE = ROOT / "tests/samples/ct_slices/A027284_01.dcm"
PLANTED = {
    "PatientName": "Zyxomma^Quirina",
    "PatientID": "QZX-4711-PID",
    "PatientBirthDate": "19310417",
    "AccessionNumber": "ACC-QZX-0815",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.47110815",
    "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.47110816",
    "OtherPatientIDs": "OTHER-QZX-1",
    "PatientAddress": "Zyxommagasse 12",
    "ReferringPhysicianName": "Grimbart^Xaver",
    "InstitutionName": "Klinikum Qwzdorf",
    "StudyDescription": "Stone of Zyxomma",
    "SeriesDescription": "For Dr Grimbart",
    "ImageComments": "Quirina moved",
    "PatientComments": "Wife of Zyxomma",
    "OperatorsName": "Vqtrix^Ida",
}
# Long enough that the letters of an encrypted value do not spell them by chance.
WORDS = (
    "zyxomma", "quirina", "qzx-4711", "qzx-0815", "qzx-1", "19310417", "47110815", "47110816",
    "grimbart", "qwzdorf", "vqtrix", "jmqnifti",
)  # fmt: skip


def planted_dicom(z_mm):
    dataset = pydicom.dcmread(SLICE)
    for keyword, value in PLANTED.items():
        setattr(dataset, keyword, value)
    dataset.ImagePositionPatient = [0.0, 0.0, z_mm]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.4711.{int(z_mm)}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    block = dataset.private_block(0x0029, "ZYXOMMA PRIVATE", create=True)
    block.add_new(0x01, "LO", "Quirina Zyxomma")
    content = io.BytesIO()
    dataset.save_as(content)
    return content.getvalue()


def planted_nifti():
    header = bytearray(348)
    header[0:4] = (348).to_bytes(4, "little")
    header[40:56] = np.array([3, 160, 160, 3, 1, 1, 1, 1], "<i2").tobytes()
    header[70:74] = np.array([4, 16], "<i2").tobytes()
    header[76:108] = np.array([1, 0.7, 0.7, 3, 1, 1, 1, 1], "<f4").tobytes()
    header[108:112] = np.array([352], "<f4").tobytes()
    header[112:120] = np.array([1, 0], "<f4").tobytes()
    header[123] = 2
    header[148:180] = b"JMQNIFTI Zyxomma Quirina".ljust(32, b"\0")
    header[228:252] = b"aux JMQNIFTI".ljust(24, b"\0")
    header[254:256] = np.array([1], "<i2").tobytes()
    affine = np.array([[0.7, 0, 0, 0], [0, 0.7, 0, 0], [0, 0, 3, 0]], "<f4")
    header[280:328] = affine.tobytes()
    header[328:344] = b"JMQNIFTI intent\0"
    header[344:348] = b"n+1\0"
    pixels = np.random.default_rng(0).integers(-100, 200, (3, 160, 160)).astype("<i2")
    return bytes(header) + bytes(4) + pixels.tobytes()


def planted_zip():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("Zyxomma_Quirina/IM1", planted_dicom(30.0))
        archive.writestr("Zyxomma_Quirina/letter of Grimbart.txt", "Dear Mrs Zyxomma")
        archive.comment = b"CD of Zyxomma"
    return content.getvalue()


def database_bytes():
    """Everything that is stored, as the database holds it and not as models decrypt it."""
    kept = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            kept += [str(value) for row in cursor.fetchall() for value in row]
    return "\n".join(kept).encode()


def leaks(where, content):
    folded = content.lower()
    wanted = [word.encode() for word in WORDS] + [word.encode("utf-16-le") for word in WORDS]
    return [f"{word!r} in {where}" for word in wanted if word in folded]


@pytest.fixture
def log_text():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream.getvalue
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture
def everything_done(radiologist_client, model_version, monkeypatch, capfd):
    """Upload, import, reading and looking, through the pages; returns all addresses that were."""
    monkeypatch.setattr("detection.services.imports.IMPORT_SECONDS", 600.0)

    def run(files):
        sent = radiologist_client.post(reverse("upload-create"), {"files": files})
        for upload in {row.upload for row in SourceFile.objects.all()}:
            upload_import_run(upload=upload)
        for prediction in Prediction.objects.all():
            # The bundle of the tests has no network: how a reading fails may not tell names either.
            prediction_run(prediction=prediction)
        found = radiologist_client.post(reverse("study-find"), {"q": PLANTED["PatientID"]})
        addresses = [sent.url, found.url]
        pages = [radiologist_client.get(url) for url in addresses]
        for study in Study.objects.all():
            addresses.append(study.get_absolute_url())
            pages.append(radiologist_client.get(addresses[-1]))
            radiologist_client.post(reverse("study-identifiers", args=[study.uuid]))
        assert {page.status_code for page in pages} == {200}
        return addresses, pages

    return run


def found_leaks(addresses, log_text, output):
    leaking = leaks("the database", database_bytes()) + leaks("the logs", log_text.encode())
    leaking += leaks("the output", output.encode()) + leaks("URLs", "\n".join(addresses).encode())
    data = Path(django_settings.DATA_DIR)
    for path in data.rglob("*"):
        leaking += leaks("a path", str(path.relative_to(data)).encode())
        if path.is_file():
            leaking += leaks(path.parent.name, path.read_bytes())
    return leaking


def test_planted_names_are_stored_nowhere_but_encrypted(everything_done, log_text, capfd):
    addresses, pages = everything_done(
        [
            SimpleUploadedFile("Zyxomma_Quirina_1.dcm", planted_dicom(0.0)),
            SimpleUploadedFile("Zyxomma_Quirina_2.dcm", planted_dicom(3.0)),
            SimpleUploadedFile("Zyxomma.png", png_bytes()),
            SimpleUploadedFile("Zyxomma damaged.png", png_bytes()[:500]),
            SimpleUploadedFile("Quirina.nii", planted_nifti()),
            SimpleUploadedFile("QZX-4711.zip", planted_zip()),
        ]
    )

    known = list(StudyIdentifiers.objects.all())
    # The names did arrive, and who may see them does: else this test would prove nothing.
    assert {row.patient_name for row in known} == {PLANTED["PatientName"]}
    assert {row.accession_number for row in known} == {PLANTED["AccessionNumber"]}
    assert "Zyxomma_Quirina_1.dcm" in pages[0].content.decode()
    assert SourceFile.objects.filter(status="refused").count() == 1
    assert Prediction.objects.count() == 4
    output = "".join(capfd.readouterr())
    assert found_leaks(addresses, log_text(), output) == []


def test_this_test_finds_what_is_not_encrypted(everything_done, log_text, capfd, monkeypatch):
    monkeypatch.setattr(encryption, "encrypt", lambda text: text)
    monkeypatch.setattr(encryption, "decrypt", lambda token: token)

    addresses, _ = everything_done([SimpleUploadedFile("Zyxomma.dcm", planted_dicom(0.0))])

    leaking = found_leaks(addresses, log_text(), "")
    assert any("zyxomma" in line and "the database" in line for line in leaking)
    assert any("19310417" in line for line in leaking)
