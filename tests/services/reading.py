"""Readings in tests: a predictor that answers what it is told to."""

from collections.abc import Callable
from dataclasses import dataclass

from detection.imaging.volume import Volume
from detection.ml.serving import Assessment


@dataclass(frozen=True)
class FakePredictor:
    """`outcome` is what each volume is answered, or the error that is raised."""

    outcome: Assessment | Exception

    def assess(
        self, volume: Volume, *, progress: Callable[[int, int], None] | None = None
    ) -> Assessment:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome
