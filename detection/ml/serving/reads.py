"""The records of a reading while it goes on: a picture that was read, its marks, all slices."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detection.ml.calibration import sigmoid
from detection.ml.preprocess import Letterbox
from detection.ml.serving.agreement import SeenBy
from detection.ml.serving.answer import NO_BODY, NOT_ASSESSED
from detection.ml.serving.findings import Finding
from detection.ml.serving.marks import Mark
from detection.ml.serving.picture_checks import Refusal
from detection.ml.serving.pictures import Picture
from detection.ml.serving.pooling import pool
from detection.ml.serving.standing import Stone


@dataclass(frozen=True, eq=False)
class Read:
    """One picture with the answers of the network and the gate.

    `cells` holds the logits of its canvas, `(h / 8, w / 8)`, whatever the gate says. `box` is its
    place on the canvas. `refusal` is None if the picture can be assessed. `member_cells` holds the
    calibrated logits of each member of an ensemble, `(members, h / 8, w / 8)`.
    """

    picture: Picture
    box: Letterbox
    cells: NDArray[np.float32]
    refusal: Refusal | None
    member_cells: NDArray[np.float32] | None = None

    @property
    def logit(self) -> float:
        return pool(self.cells)

    @property
    def reason(self) -> str:
        return self.refusal.sentence if self.refusal else ""


@dataclass(frozen=True, eq=False)
class Marked:
    """The marks of a picture that count.

    `stone_map` is what the network said; `cells` are the logits without marks that do not stand, of
    which `unfounded` is the highest probability. `stones` has what each finding stands on; None
    without Hounsfield units. `seen_by` has the members of an ensemble that see each finding.
    """

    stone_map: NDArray[np.float32]
    cells: NDArray[np.float32]
    findings: tuple[Finding, ...]
    stones: tuple[Stone | None, ...]
    seen_by: tuple[SeenBy, ...]
    unfounded: float = 0.0


@dataclass(eq=False)
class SliceReading:
    """The reading of a volume: calibrated logits of its slices (None: not read), marks and map."""

    logits: list[float | None] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    stone_map: NDArray[np.float16] | None = None
    reason: str = ""
    refused: set[int] = field(default_factory=set)
    unfounded: float = 0.0

    def unread_because(self, names: Sequence[str]) -> tuple[str, ...]:
        """Say for each slice why it was not read; `names` are the other parts of the body."""
        return tuple(
            ""
            if self.logits[index] is not None
            else NOT_ASSESSED
            if index in self.refused
            else name or NO_BODY
            for index, name in enumerate(names)
        )

    @property
    def probabilities(self) -> tuple[float | None, ...]:
        return tuple(None if z is None else float(sigmoid(np.array(z))) for z in self.logits)
