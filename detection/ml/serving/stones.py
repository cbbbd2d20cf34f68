"""Turns the places that the model marks into stones, measured where the volume allows it."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from detection.imaging.measure import Measurement, side_of, size_class, to_lps
from detection.imaging.volume import Volume
from detection.ml.serving.agreement import agreement
from detection.ml.serving.findings import MAX_CANDIDATES, Finding
from detection.ml.serving.marks import Cluster

# Distance of the box from the measured edges.
_MARGIN_PX = 1.0
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

    A place on fewer than `min_run` slices is kept only if its probability reaches the threshold.
    Each place is one stone, measured if the object that its marks stand on was.

    Parameters
    ----------
    clusters : sequence of Cluster
        The places, the most probable first.
    midline : callable
        From the index of a slice to the column of the middle of the body, or None.
    threshold : float
        The threshold of the series rule, 0 to 1.
    """
    stones: list[Finding] = []
    for cluster in clusters:
        if cluster.run < min_run and cluster.probability < threshold:
            continue
        measurement = cluster.stone.measurement if cluster.stone else None
        if measurement is None:
            stones.append(_unmeasured(volume, cluster, midline))
        else:
            stones.append(_measured(volume, measurement, cluster, midline))
    return tuple(stones[:MAX_CANDIDATES])


def _measured(
    volume: Volume, measurement: Measurement, cluster: Cluster, midline: Midline
) -> Finding:
    x0, y0, first, x1, y1, end = measurement.edges
    _, rows, columns = volume.pixels.shape
    index = int(min(max(round(measurement.centre[2]), first), end - 1))
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
        probability=cluster.probability,
        size_class=size_class(measurement.diameter_mm),
        side=side_of(volume, measurement.centre, midline=midline(index)),
        centre_lps_mm=to_lps(volume, measurement.centre),
        **agreement(cluster.seen_by),
        **measured,
    )


def _unmeasured(volume: Volume, cluster: Cluster, midline: Midline) -> Finding:
    x0, y0, first, x1, y1, end = cluster.best.edges
    _, _, lowest, _, _, highest = cluster.edges
    centre = ((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2, (first + end - 1) / 2)
    return Finding(
        plane=volume.plane,
        slice_index=int(first),
        slice_first=int(lowest),
        slice_last=int(highest) - 1,
        box=(x0, y0, x1, y1),
        probability=cluster.probability,
        side=side_of(volume, centre, midline=midline(int(first))),
        centre_lps_mm=to_lps(volume, centre),
        **agreement(cluster.seen_by),
    )
