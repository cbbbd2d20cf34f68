"""Findings: turning those of a reading into rows."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from detection.ml.serving import Finding as Found
from detection.models import Finding, Prediction

# A field of several numbers has a column for each. Any other field has the one of its name.
_COLUMNS = {"box": ("x0", "y0", "x1", "y1"), "centre_lps_mm": ("x_mm", "y_mm", "z_mm")}


def finding_rows(*, prediction: Prediction, findings: Sequence[Found]) -> list[Finding]:
    """Return unsaved rows of a reading's findings, ranked in the order they come."""
    return [
        Finding(prediction=prediction, rank=rank, **finding_columns(finding))
        for rank, finding in enumerate(findings, start=1)
    ]


def finding_columns(finding: Found) -> dict[str, Any]:
    """Return every field of a finding by the name of its column."""
    columns: dict[str, Any] = {}
    for field in fields(finding):
        value = getattr(finding, field.name)
        if names := _COLUMNS.get(field.name):
            columns |= zip(names, value or [None] * len(names), strict=True)
        else:
            columns[field.name] = value
    return columns
