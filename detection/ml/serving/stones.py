"""Turns the places that the model marks into stones, measured where the volume allows it."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from detection.imaging.measure import (
    Measurement,
    bright_seeds,
    measure_stone,
    side_of,
    size_class,
    to_lps,
)
from detection.imaging.volume import Volume
from detection.ml.serving.findings import MAX_CANDIDATES, Finding
from detection.ml.serving.marks import Cluster, Edges

# A place may hold several stones; its bright spots beyond this number are not measured.
_MAX_SEEDS = 4
# Distance of the box from the measured edges.
_MARGIN_PX = 1.0
# A smaller bright spot is noise around one voxel.
_MIN_DIAMETER_MM = 1.0
# From the index of a slice to the column of the middle of the body; None where it is not known.
Midline = Callable[[int], float | None]
# Fields of the same name are copied from the measurement to the record.
_MEASURED = {f.name for f in fields(Measurement)} & {f.name for f in fields(Finding)}


def find_stones(
    volume: Volume,
    clusters: Sequence[Cluster],
    *,
    midline: Midline,
    threshold: float,
    min_run: int,
) -> tuple[Finding, ...]:
    """Turn places into stones, the most probable first, at most `MAX_CANDIDATES`.

    A place on fewer than `min_run` pictures of one plane is kept only if its probability reaches
    the threshold. In an evenly spaced volume in HU the bright spots of a place, at most four, are
    measured, and each is a stone of its own. A place without a bright spot that can be measured is
    then kept, unmeasured, only if its probability reaches the threshold. In any other volume every
    place is kept unmeasured.

    Parameters
    ----------
    clusters : sequence of Cluster
        The places, the most probable first.
    midline : callable
        From the index of a slice to the column of the middle of the body, or None.
    threshold : float
        The threshold of the series rule, 0 to 1.
    """
    can_measure = (
        volume.is_hu
        and volume.spacing_mm is not None
        and min(volume.spacing_mm) > 0
        and volume.is_evenly_spaced
    )
    stones: list[Finding] = []
    measured: list[Measurement] = []
    for cluster in clusters:
        is_suspected = cluster.probability >= threshold
        if cluster.run < min_run and not is_suspected:
            continue
        found = _measure(volume, cluster, known=measured) if can_measure else None
        if found is None and can_measure and not is_suspected:
            continue
        if found is None:
            stones.append(_unmeasured(volume, cluster, midline))
        else:
            measured.extend(found)
            stones.extend(_measured(volume, one, cluster, midline) for one in found)
        if len(stones) >= MAX_CANDIDATES:
            break
    stones.sort(key=lambda stone: -stone.probability)
    return tuple(stones[:MAX_CANDIDATES])


def _measure(
    volume: Volume, cluster: Cluster, *, known: Sequence[Measurement]
) -> list[Measurement] | None:
    """Measure the bright spots of a place; None if none can be measured, [] if all are `known`."""
    found: list[Measurement] = []
    is_known = False
    for seed in bright_seeds(volume, cluster.edges)[:_MAX_SEEDS]:
        measurement = measure_stone(volume, seed)
        if measurement is None or measurement.diameter_mm < _MIN_DIAMETER_MM:
            continue
        if any(_holds(other.edges, measurement.centre) for other in (*known, *found)):
            is_known = True
            continue
        found.append(measurement)
    return found if found or is_known else None


def _measured(
    volume: Volume, measurement: Measurement, cluster: Cluster, midline: Midline
) -> Finding:
    x0, y0, first, x1, y1, end = measurement.edges
    _, rows, columns = volume.pixels.shape
    index = int(min(max(round(measurement.centre[2]), first), end - 1))
    holding = [mark for mark in cluster.marks if _holds(mark.edges, measurement.centre)]
    measured: dict[str, Any] = {name: getattr(measurement, name) for name in _MEASURED}
    return Finding(
        plane=volume.plane,
        slice_index=index,
        slice_first=int(first),
        slice_last=int(end) - 1,
        box=(
            max(0.0, x0 - _MARGIN_PX),
            max(0.0, y0 - _MARGIN_PX),
            min(float(columns), x1 + _MARGIN_PX),
            min(float(rows), y1 + _MARGIN_PX),
        ),
        probability=(holding or list(cluster.marks))[0].probability,
        size_class=size_class(measurement.diameter_mm),
        side=side_of(volume, measurement.centre, midline=midline(index)),
        centre_lps_mm=to_lps(volume, measurement.centre),
        **measured,
    )


def _unmeasured(volume: Volume, cluster: Cluster, midline: Midline) -> Finding:
    slices = volume.pixels.shape[0]
    acquired = [mark for mark in cluster.marks if mark.is_acquired]
    x0, y0, first, x1, y1, end = (acquired[0] if acquired else cluster.best).edges
    index = int(min(max((first + end) / 2, 0), slices - 1))
    _, _, lowest, _, _, highest = cluster.edges
    centre = ((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2, (first + end - 1) / 2)
    return Finding(
        plane=volume.plane,
        slice_index=index,
        slice_first=int(max(lowest, 0)),
        slice_last=int(min(max(highest - 1, lowest), slices - 1)),
        box=(x0, y0, x1, y1),
        probability=cluster.probability,
        side=side_of(volume, centre, midline=midline(index)),
        centre_lps_mm=to_lps(volume, centre),
    )


def _holds(edges: Edges, centre: tuple[float, float, float]) -> bool:
    return all(edges[a] <= centre[a] + 0.5 <= edges[a + 3] for a in range(3))
