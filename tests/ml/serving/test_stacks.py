"""Series that are hard to put in order are answered as the plain series is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from detection.imaging.errors import Code
from detection.imaging.ingest import choose_series, ingest
from detection.imaging.ingest.jobs import InProcess
from detection.imaging.volume import Volume, load_volume
from detection.imaging.window import Window, apply_window
from detection.ml.bundle import load_default_bundle
from detection.ml.serving import Predictor
from detection.ml.serving.answer import NO_STONE, STONE

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("predictor-volumes")]
ROOT = Path(__file__).resolve().parents[3]
PHASES = ROOT / "tests/samples/two_phases"
NATIVE, CONTRAST = (2, 3, 6), (1, 4, 5)
SOFT_TISSUE = Window(center_hu=40, width_hu=400)


@pytest.fixture(scope="module")
def predictor():
    return Predictor(load_default_bundle(ROOT / "ml_models"), threads=1)


def series_in(folder, changes, *, numbers=NATIVE):
    """Read slices of the sample, each after `changes`; the names run against the order."""
    (folder / "in").mkdir()
    (folder / "volumes").mkdir()
    for index, number in enumerate(numbers):
        dataset = pydicom.dcmread(PHASES / f"{number}.dcm")
        for keyword, value in changes(index).items():
            if value is None:
                dataset.pop(keyword, None)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(folder / f"in/{9 - index}.dcm")
    return ingest([folder / "in"], target_folder=folder / "volumes", worker=InProcess())


CASES = {
    "plain": lambda i: {},
    "same position": lambda i: {"ImagePositionPatient": [0, 0, 0]},
    "same position, numbers alone": lambda i: {
        "ImagePositionPatient": [0, 0, 0],
        "SliceLocation": None,
    },
    "no position": lambda i: {"ImagePositionPatient": None, "ImageOrientationPatient": None},
    "a series each": lambda i: {"SeriesInstanceUID": f"1.2.3.{i}"},
    "no pixel size": lambda i: {"PixelSpacing": None, "ImagerPixelSpacing": [1.7, 1.7]},
    "nothing tells the order": lambda i: {
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "SliceLocation": None,
        "InstanceNumber": None,
    },
}


@pytest.mark.parametrize("name", CASES)
def test_stone_on_each_slice_is_found_however_they_are_stacked(tmp_path, predictor, name):
    (series,) = series_in(tmp_path, CASES[name]).series
    assessment = predictor.assess(load_volume(series.volume_path))

    assert series.header["slices"] == len(assessment.slice_probabilities) == 3
    assert assessment.verdict == STONE
    assert assessment.probability > 0.9


@pytest.mark.parametrize(
    "changes",
    [
        lambda i: {},
        lambda i: {"AcquisitionNumber": None},
        lambda i: {"AcquisitionNumber": 1, "AcquisitionTime": None, "ContrastBolusAgent": None},
        lambda i: {
            "AcquisitionNumber": None,
            "AcquisitionTime": None,
            "ContentTime": None,
            "ContrastBolusAgent": None,
        },
    ],
    ids=["as it is", "by time", "by content time", "by numbers"],
)
def test_native_phase_is_read_first_and_shows_its_stone(tmp_path, predictor, changes):
    result = series_in(tmp_path, changes, numbers=(*CONTRAST, 7, *NATIVE))
    verdicts = [predictor.assess(load_volume(one.volume_path)).verdict for one in result.series]

    assert sorted(verdicts) == [NO_STONE, STONE]
    assert [one.header["slices"] for one in result.series] == [3, 3]
    assert [row.code for row in result.report if row.status == "skipped"] == [Code.SET_ASIDE]
    if changes(0) == {}:
        assert verdicts[choose_series(result.series)] == STONE


def test_one_slice_in_no_order_speaks_for_the_others(tmp_path, predictor):
    native, contrast = (
        load_volume(
            series_in(tmp_path / name, CASES["plain"], numbers=numbers).series[0].volume_path
        )
        for name, numbers in (("native", NATIVE), ("contrast", CONTRAST))
        if (tmp_path / name).mkdir() is None
    )
    pixels = np.concatenate([contrast.pixels, native.pixels[:1], contrast.pixels])
    hu = Volume(pixels=pixels, is_hu=True, spacing_mm=native.spacing_mm, plane="axial")
    grey = replace(hu, is_hu=False, pixels=apply_window(pixels, SOFT_TISSUE))

    # In a grey series it would need a neighbour.
    assert predictor.assess(grey).verdict == NO_STONE
    for volume in (hu, grey):
        none = replace(volume, is_ordered=False, is_evenly_spaced=False)
        assessment = predictor.assess(none)
        assert assessment.verdict == STONE
        assert assessment.probability == max(assessment.slice_probabilities)
        assert assessment.operating_point["threshold"] == predictor.threshold
        assert [finding.slice_index for finding in assessment.findings][:1] == [3]
        assert all(finding.diameter_mm is None for finding in assessment.findings)
