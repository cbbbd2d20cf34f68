"""What holds for all images of a source: said by `sources.csv`, or known of two public ones."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detection.ml.data.tables import read_table
from detection.ml.errors import DatasetError

SOURCES_NAME = "sources.csv"


@dataclass(frozen=True)
class SourceFacts:
    """What holds for all images of one source; the defaults are those of an unknown one.

    A loose box is a bag with at least one stone cell, not a mask. `groups_are_runs`: the images of
    a group are neighbouring slices of one series, in the order of the manifest.
    `neighbours_are_one_patient`: neighbouring group numbers may be one patient, as axial and
    coronal series. `is_halved`: judged by halves; None where the images themselves decide
    (`items.halved_sources`). `may_be_shown`: a model card may print the images, with the `credit`.
    """

    has_loose_boxes: bool = False
    groups_are_runs: bool = False
    neighbours_are_one_patient: bool = False
    is_halved: bool | None = None
    may_be_shown: bool = False
    credit: str = ""


KNOWN_SOURCES = {
    "islam2022": SourceFacts(
        has_loose_boxes=True,
        groups_are_runs=True,
        neighbours_are_one_patient=True,
        credit="Islam et al. 2022 (research use)",
    ),
    "yildirim2021": SourceFacts(may_be_shown=True, credit="Yildirim et al. 2021 (CC BY 4.0)"),
}
_YES_OR_NO = {"yes": True, "no": False}
# For each column the field it fills, and what its words mean; None: the text itself.
COLUMNS: dict[str, tuple[str, dict[str, bool] | None]] = {
    "boxes": ("has_loose_boxes", {"tight": False, "loose": True}),
    "groups_are_runs": ("groups_are_runs", _YES_OR_NO),
    "neighbours_are_one_patient": ("neighbours_are_one_patient", _YES_OR_NO),
    "halved": ("is_halved", _YES_OR_NO),
    "may_be_shown": ("may_be_shown", _YES_OR_NO),
    "credit": ("credit", None),
}


def facts_of(source: str) -> SourceFacts:
    """Return what holds for a source that no file describes."""
    return KNOWN_SOURCES.get(source, SourceFacts())


def read_sources(path: Path, *, sources: Collection[str]) -> dict[str, SourceFacts]:
    """Read `sources.csv`: the facts of each source that it names.

    An empty value leaves the fact as it is without the file.

    Parameters
    ----------
    sources : collection of str
        Those of the manifest.

    Raises
    ------
    DatasetError
        Naming the line: if a column or a value is unknown, or a source is not in the manifest or
        named twice. Also if the file holds no line below its heading.
    """
    table = read_table(path)
    if not table:
        raise DatasetError(
            f"{path.name} holds no line below its heading. Please fill it in, or remove it."
        )
    columns = set(table[0][1]) - {""}
    if "source" not in columns:
        raise DatasetError(f"{path.name} lacks the column source.")
    unknown = columns - {"source", *COLUMNS}
    if unknown:
        raise DatasetError(
            f"{path.name} has the unknown column {', '.join(sorted(unknown))}. It may have: "
            f"source, {', '.join(COLUMNS)}."
        )
    found: dict[str, SourceFacts] = {}
    lines: dict[str, int] = {}
    for line, row in table:
        where = f"{path.name}, line {line}"
        source = row["source"].strip()
        if source not in sources:
            raise DatasetError(
                f"{where}: no image of manifest.csv has the source {source!r}. Please compare the "
                "spelling."
            )
        if source in found:
            raise DatasetError(
                f"{where}: the source {source!r} stands in line {lines[source]} too."
            )
        lines[source] = line
        said = {
            field: _meaning(row[column].strip(), words, what=f"{where}: {column}")
            for column, (field, words) in COLUMNS.items()
            if row.get(column, "").strip()
        }
        found[source] = replace(facts_of(source), **said)
    return found


def _meaning(value: str, words: dict[str, bool] | None, *, what: str) -> Any:
    if words is None:
        return value
    if value.lower() not in words:
        raise DatasetError(f"{what} must be {' or '.join(words)}, not {value!r}.")
    return words[value.lower()]
