"""The rows of a comparison: one figure of every model, with its difference to the reference."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from detection.ml.combining.paired import BETTER, NOT_JUDGED, WORSE, Measured, difference

Form = Literal["share", "number", "seconds"]


@dataclass(frozen=True)
class Row:
    """One figure of every model.

    Attributes
    ----------
    section, what : str
        Where it stands, and what it is.
    figures : dict
        From a model's label to the figure with interval, n and patient units.
    differences : dict
        From the label of each model but the reference to its paired difference.
    is_higher_better : bool or None
        Which direction is the better one; None if neither is.
    is_main : bool
        Whether it takes part in what the default should be.
    is_shown : bool
        Whether the page shows it; the JSON file holds every row.
    form : str
        How it is written.
    """

    section: str
    what: str
    figures: dict[str, dict[str, Any]]
    differences: dict[str, dict[str, Any]]
    is_higher_better: bool | None = True
    is_main: bool = False
    is_shown: bool = True
    form: Form = "share"

    def shows(self, label: str, what: str) -> bool:
        """Say whether the difference of a model is shown to be "better" or "worse"."""
        return bool(self.differences.get(label, {}).get("shows") == what)

    def judged(self) -> list[str]:
        """Name the models of which a difference could be shown."""
        return [label for label, told in self.differences.items() if told["shows"] != NOT_JUDGED]

    def better(self) -> list[str]:
        """Name the models that are shown to be better than the reference."""
        return [label for label in self.differences if self.shows(label, BETTER)]

    def worse(self) -> list[str]:
        """Name the models that are shown to be worse than the reference."""
        return [label for label in self.differences if self.shows(label, WORSE)]


@dataclass(eq=False)
class Rows:
    """Collects rows, and takes the differences to one reference."""

    reference: str
    rows: list[Row] = field(default_factory=list)

    def add(
        self,
        section: str,
        what: str,
        measured: Mapping[str, Measured],
        *,
        is_higher_better: bool | None = True,
        is_main: bool = False,
        is_shown: bool = True,
        form: Form = "share",
    ) -> None:
        """Add a figure of every model, by label."""
        against = measured[self.reference]
        self.rows.append(
            Row(
                section=section,
                what=what,
                figures={label: one.figure.to_dict() for label, one in measured.items()},
                differences={
                    label: difference(one, against, is_higher_better=is_higher_better)
                    for label, one in measured.items()
                    if label != self.reference
                },
                is_higher_better=is_higher_better,
                is_main=is_main,
                is_shown=is_shown,
                form=form,
            )
        )
