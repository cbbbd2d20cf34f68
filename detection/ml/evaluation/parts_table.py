"""Counts what is refused of CT series of any part of the body, slice by slice.

Nothing of the gate is fitted on such slices, so that each scanner is judged by rules and limits
that come from others. The numbers of `imaging.anatomy` were set by hand, with wide margins.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from detection.imaging.anatomy import picture_part, volume_parts
from detection.imaging.ingest import ingest
from detection.imaging.volume import Volume, load_volume
from detection.imaging.window import Window, grey_slice
from detection.ml.evaluation.gate_table import Row, judge, row_of
from detection.ml.serving import Predictor, Refusal


def parts_rows(folders: Iterable[Path], *, predictor: Predictor) -> list[Row]:
    """Judge the axial slices in Hounsfield units below folders, one folder for each scanner.

    Returns
    -------
    list of Row
        For each folder and each part of the body that `volume_parts` names in it: every slice as
        a part of its series, by itself, and as a picture in the model's window.
    """
    rows = []
    for folder in folders:
        for volume in _volumes(folder):
            parts = volume_parts(volume)
            greys = [
                grey_slice(volume, index, window=_window(predictor))
                for index in range(len(volume.pixels))
            ]
            series = predictor.assess(volume)
            in_series = _read_in(series.slice_probabilities, count=len(parts))
            alone = [_alone(volume, index, predictor) for index in range(len(parts))]
            by_gate = judge(greys, predictor=predictor)
            pictures = [
                Refusal(seen, "") if seen != "abdomen" else gate
                for seen, gate in zip(map(picture_part, greys), by_gate, strict=True)
            ]
            for part in dict.fromkeys(parts):
                at = [index for index, one in enumerate(parts) if one is part]
                for kind, judged in (
                    ("in its series", in_series),
                    ("alone", alone),
                    ("as a picture", pictures),
                ):
                    name = f"{folder.name}: {part}, {kind}"
                    rows.append(row_of(name, [judged[index] for index in at]))
    return rows


def _volumes(folder: Path) -> Iterator[Volume]:
    with tempfile.TemporaryDirectory() as scratch:
        for series in ingest([folder], target_folder=Path(scratch)).series:
            volume = load_volume(series.volume_path)
            if volume.is_hu and volume.plane == "axial":
                yield volume


def _window(predictor: Predictor) -> Window:
    preprocessing = predictor.preprocessing
    return Window(center_hu=preprocessing.window_center_hu, width_hu=preprocessing.window_width_hu)


def _read_in(probabilities: Sequence[float | None], *, count: int) -> list[Refusal | None]:
    read = list(probabilities) or [None] * count
    return [Refusal("not_read", "") if one is None else None for one in read]


def _alone(volume: Volume, index: int, predictor: Predictor) -> Refusal | None:
    one = replace(volume, pixels=volume.pixels[index : index + 1])
    part = volume_parts(one)[0]
    if part != "abdomen":
        return Refusal(part, "")
    reason = predictor.assess(one).reason
    return Refusal("gate", reason) if reason else None
