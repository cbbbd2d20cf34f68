"""Readings in tests: a predictor that answers what it is told to."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from detection.imaging.volume import Volume
from detection.ml.serving import Assessment, Extent


@dataclass(frozen=True)
class FakePredictor:
    """`outcome` is what each volume is answered, or the error that is raised.

    An answer without an extent gets one: all slices were read, or none if it is refused.
    """

    outcome: Assessment | Exception

    def assess(
        self, volume: Volume, *, progress: Callable[[int, int], None] | None = None
    ) -> Assessment:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome.extent is not None:
            return self.outcome
        slices = volume.pixels.shape[0]
        is_read = self.outcome.probability is not None
        return replace(
            self.outcome, extent=Extent(slices_read=slices if is_read else 0, slices=slices)
        )
