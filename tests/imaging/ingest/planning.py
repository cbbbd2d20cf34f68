"""Slices of which only the headers exist, and their plans."""

from dataclasses import replace

from detection.imaging.formats import SeriesKeys, SliceFacts
from detection.imaging.ingest.plan import plan_series
from detection.imaging.ingest.slices import SliceRef
from detection.imaging.limits import LIMITS

AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
FACTS = SliceFacts(
    frame=0,
    rows=6,
    columns=8,
    is_hu=True,
    is_original=True,
    position_mm=(0.0, 0.0, 0.0),
    orientation=AXIAL,
    spacing_mm=(2.0, 0.7, 0.8),
    acquisition=1,
)


def ref(row, z=0.0, *, x=0.0, y=0.0, series="series", instance="", is_told=True, **facts):
    keys = {
        "study": "study",
        "series": series,
        "instance": instance,
        "is_series_told": is_told,
        "frame_of_reference": "frame",
    }
    keys |= {name: facts.pop(name) for name in list(facts) if name in keys}
    return SliceRef(row, replace(FACTS, **({"position_mm": (x, y, z)} | facts)), SeriesKeys(**keys))


def planned(refs, limits=LIMITS):
    plans, left_out = plan_series(refs, limits=limits)
    return plans, left_out


def codes(plan):
    return [notice.code for notice in plan.notices]
