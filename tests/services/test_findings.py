from dataclasses import fields

import pytest

from detection.ml.serving import Finding as Found
from detection.models import Finding
from detection.services.findings import finding_columns, finding_rows
from detection.services.predictions import prediction_create

# What a row has that the record has not: whose it is, and its place in the list.
OWN_COLUMNS = {"id", "prediction", "rank"}
STONE = Found(
    plane="axial",
    slice_index=5,
    box=(1.0, 2.0, 9.0, 8.0),
    probability=0.8,
    extent_mm=4.5,
    slice_first=3,
    slice_last=6,
    diameter_mm=7.5,
    volume_mm3=120.0,
    mean_hu=800.0,
    peak_hu=1100.0,
    size_class="5-10 mm",
    side="left",
    centre_lps_mm=(-40.0, 20.0, 130.0),
    members_seeing=3,
    members=4,
)
PLACE = Found(plane="unknown", slice_index=0, box=(5.0, 6.0, 7.0, 8.0), probability=0.2)


def test_every_field_of_a_finding_has_a_column_and_a_json_key():
    columns = {field.name for field in Finding._meta.concrete_fields}

    assert set(finding_columns(STONE)) == columns - OWN_COLUMNS
    assert len(STONE.to_json()) == len(fields(Found))
    # The record above leaves no field out: the next test sees each of them stored.
    assert [f.name for f in fields(Found) if getattr(STONE, f.name) == f.default] == []


def test_rows_are_numbered_in_order_and_come_back_as_they_were_stored(series, model_version):
    prediction = prediction_create(series=series)

    Finding.objects.bulk_create(finding_rows(prediction=prediction, findings=[STONE, PLACE]))

    first, second = prediction.findings.all()
    assert [first.rank, second.rank] == [1, 2]
    for row, found in ((first, STONE), (second, PLACE)):
        for name, value in finding_columns(found).items():
            assert getattr(row, name) == (pytest.approx(value) if value is not None else None)
    assert (first.x0, first.y0, first.x1, first.y1) == STONE.box
    assert (first.x_mm, first.y_mm, first.z_mm) == STONE.centre_lps_mm
    assert (second.x_mm, second.y_mm, second.z_mm) == (None, None, None)


def test_a_reading_without_findings_has_no_rows(series, model_version):
    assert finding_rows(prediction=prediction_create(series=series), findings=()) == []
