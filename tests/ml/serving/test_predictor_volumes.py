from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detection.imaging.errors import Notice
from detection.imaging.phantoms import KnownStone, make_phantom_volume
from detection.imaging.volume import Volume
from detection.ml.bundle import load_default_bundle
from detection.ml.errors import ReadingCode
from detection.ml.serving import Predictor
from detection.ml.serving.series_rule import SCOPE_OF_CHECKED

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("predictor-volumes")]
MODELS = Path(__file__).resolve().parents[3] / "ml_models"
STONE = KnownStone(centre_lps_mm=(71.0, 28.0, 20.0), diameters_mm=(8.0, 7.0, 9.0), hu=1000)


@pytest.fixture(scope="module")
def predictor():
    return Predictor(load_default_bundle(MODELS), threads=1)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom_volume(
        [STONE], generator=np.random.default_rng(1), slice_mm=3, pixel_mm=1.0, height_mm=156
    )


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def assessment(predictor, phantom, steps):
    return predictor.assess(phantom.volume, progress=lambda *step: steps.append(step))


def test_every_slice_of_a_volume_is_read(assessment, phantom):
    assert len(assessment.slice_probabilities) == phantom.volume.pixels.shape[0]
    assert assessment.stone_map.shape[0] == phantom.volume.pixels.shape[0]
    assert Notice(ReadingCode.SERIES_RULE, SCOPE_OF_CHECKED) in assessment.notices


def test_a_volume_in_hu_is_decided_by_its_highest_slice(assessment, predictor):
    point = assessment.operating_point

    assert assessment.probability == pytest.approx(max(assessment.slice_probabilities))
    assert point == predictor.bundle.checked_point
    assert predictor.checked_rule.threshold == point["threshold"]
    assert (assessment.verdict == "stone") == (assessment.probability >= point["threshold"])


def test_progress_counts_every_picture_to_the_end(assessment, steps):
    total = steps[-1][1]

    assert [done for done, _ in steps] == list(range(1, total + 1))
    assert total == len(assessment.slice_probabilities)


def test_stone_of_the_body_comes_first_and_is_measured(assessment):
    stone = assessment.findings[0]

    assert stone.centre_lps_mm == pytest.approx(STONE.centre_lps_mm, abs=1.0)
    assert stone.diameter_mm == pytest.approx(STONE.diameter_mm, abs=1.0)
    assert stone.size_class == "5-10 mm"
    assert stone.side == "left"
    assert stone.peak_hu == pytest.approx(STONE.hu, abs=60)
    assert stone.slice_first <= stone.slice_index <= stone.slice_last
    assert stone.slice_last - stone.slice_first in (2, 3)


def test_box_of_the_stone_lies_on_it_in_its_slice(assessment, phantom):
    stone = assessment.findings[0]
    x0, y0, x1, y1 = (int(side) for side in stone.box)

    inside = phantom.volume.pixels[stone.slice_index, y0:y1, x0:x1]

    assert inside.max() > 900
    assert max(x1 - x0, y1 - y0) < 15


def test_findings_of_a_volume_are_its_stones_and_the_most_probable_come_first(assessment):
    probabilities = [finding.probability for finding in assessment.findings]

    assert probabilities == sorted(probabilities, reverse=True)
    for finding in assessment.findings:
        # A box measured on the map says nothing beside a stone that is measured in the volume.
        assert finding.extent_mm is None
        assert finding.slice_first <= finding.slice_index <= finding.slice_last


def test_key_slices_show_the_stone(assessment):
    stone = assessment.findings[0]

    assert stone.slice_first - 1 <= assessment.key_slices[0] <= stone.slice_last + 1


def test_a_drawn_body_without_a_stone_is_not_called_for_its_ribs(predictor):
    """Its ribs reach 1.0 on the map, which shows them; no score counts them."""
    volume = make_phantom_volume(
        generator=np.random.default_rng([7, 9]), slice_mm=1.5, noise_hu=8.0, has_arms=True
    ).volume
    part = replace(volume, pixels=volume.pixels[64:84])

    assessment = predictor.assess(part)

    assert assessment.stone_map.max() > 0.5
    assert assessment.verdict == "no_stone"
    assert max(assessment.slice_probabilities) < 0.15
    assert assessment.findings == ()
    assert ReadingCode.MARKS_WITHOUT_OBJECT in [notice.code for notice in assessment.notices]


def test_a_single_slice_and_its_series_give_one_answer(predictor, phantom):
    index = round((STONE.centre_lps_mm[2] + 156 / 2) / 3)
    alone = replace(phantom.volume, pixels=phantom.volume.pixels[index : index + 1])
    around = replace(phantom.volume, pixels=phantom.volume.pixels[index - 2 : index + 3])

    single, series = predictor.assess(alone), predictor.assess(around)

    assert single.verdict == series.verdict == "stone"
    assert len(single.findings) == len(series.findings) == 1
    assert single.probability == pytest.approx(series.slice_probabilities[2], abs=0.05)


def test_a_stone_of_uneven_slices_counts_and_is_not_measured(predictor, phantom):
    index = round((STONE.centre_lps_mm[2] + 156 / 2) / 3)
    uneven = replace(
        phantom.volume,
        pixels=phantom.volume.pixels[index - 2 : index + 3],
        is_evenly_spaced=False,
    )

    assessment = predictor.assess(uneven)

    (stone,) = assessment.findings
    assert assessment.verdict == "stone"
    assert (stone.diameter_mm, stone.slice_first <= 2 <= stone.slice_last) == (None, True)


def test_map_is_dark_outside_the_body(assessment):
    assert (assessment.stone_map[:, 0, :3] == 0).all()


def test_a_short_stack_is_read(predictor, phantom):
    short = replace(phantom.volume, pixels=phantom.volume.pixels[:3])

    assessment = predictor.assess(short)

    assert len(assessment.slice_probabilities) == 3


def test_slices_without_a_body_are_not_read(predictor, phantom):
    pixels = phantom.volume.pixels[:4].copy()
    pixels[0] = -1000

    assessment = predictor.assess(replace(phantom.volume, pixels=pixels))

    assert assessment.slice_probabilities[0] is None
    assert None not in assessment.slice_probabilities[1:]


def test_coarse_pixels_are_a_notice(predictor, phantom):
    coarse = replace(phantom.volume, pixels=phantom.volume.pixels[:2], spacing_mm=(2.0, 1.8, 1.8))

    codes = [notice.code for notice in predictor.assess(coarse).notices]
    # That slices are thick is told by the import, once.
    assert codes == [ReadingCode.SERIES_RULE, ReadingCode.COARSE_PIXELS]


def test_volume_without_hu_has_unmeasured_stones_of_unknown_side(predictor, phantom):
    index = round((STONE.centre_lps_mm[2] + 156 / 2) / 3)
    window = phantom.volume.pixels[index - 1 : index + 2].clip(-160, 240)
    grey = ((window + 160) * (255 / 400)).astype(np.uint8)

    assessment = predictor.assess(Volume(pixels=grey, is_hu=False, plane="axial"))

    for stone in assessment.findings:
        assert (stone.diameter_mm, stone.mean_hu, stone.centre_lps_mm) == (None, None, None)
        assert (stone.side, stone.size_class) == ("unknown", "unknown")


def test_volume_without_a_body_cannot_be_assessed(predictor):
    air = Volume(
        pixels=np.full((3, 200, 200), -1000, np.int16),
        is_hu=True,
        spacing_mm=(1.0, 1.0, 1.0),
        plane="axial",
    )

    assessment = predictor.assess(air)

    assert (assessment.verdict, assessment.probability) == ("cannot_assess", None)
    assert assessment.reason


def test_reduced_copy_is_too_coarse_to_be_assessed(predictor, phantom):
    reduced = replace(phantom.volume, spacing_mm=(3.0, 3.0, 3.0))

    assessment = predictor.assess(reduced)

    assert assessment.probability is None
    assert "3.0 mm wide" in assessment.reason


@pytest.fixture(scope="module")
def healthy(phantom):
    """A few slices of the phantom without its stones, in which nothing is suspected."""
    index = round((STONE.centre_lps_mm[2] + 156 / 2) / 3)
    far = [i for i in range(phantom.volume.pixels.shape[0]) if abs(i - index) > 8][:6]
    return replace(phantom.volume, pixels=phantom.volume.pixels[far[0] : far[0] + 6])


AIR = -1000


@pytest.mark.parametrize(
    ("unread", "apart", "verdict", "read"),
    [
        ([], 0, "no_stone", 6),
        # At the ends: other parts of the body, named.
        ([0], 0, "no_stone", 5),
        ([0, 1, 5], 0, "no_stone", 3),
        # In between.
        ([3], 0, "cannot_assess", 5),
        ([1, 2, 4], 0, "cannot_assess", 3),
        # Not in the volume.
        ([], 1, "cannot_assess", 6),
        ([0], 5, "cannot_assess", 5),
    ],
)
def test_no_stone_is_said_of_what_was_read_without_a_gap(
    predictor, healthy, unread, apart, verdict, read
):
    pixels = healthy.pixels.copy()
    pixels[unread] = AIR

    assessment = predictor.assess(replace(healthy, pixels=pixels, slices_unread=apart))

    extent = assessment.extent
    assert (assessment.verdict, extent.slices_read) == (verdict, read)
    assert extent.slices == 6 + apart
    assert extent.height_mm == pytest.approx(read * 3.0)
    assert (ReadingCode.SLICES_UNREAD in [one.code for one in assessment.notices]) is (
        read < extent.slices
    )
    if verdict == "cannot_assess":
        assert assessment.probability is None
        assert f"{read} of {6 + apart} slices could be" in assessment.reason
        # What was found stays to be looked at.
        assert len(assessment.slice_probabilities) == 6
        assert assessment.stone_map is not None


def test_few_slices_that_pass_among_many_that_do_not_speak_for_nothing(predictor, phantom):
    stone = round((STONE.centre_lps_mm[2] + 156 / 2) / 3)
    pixels = phantom.volume.pixels[stone - 3 : stone + 3].copy()
    noise = np.random.default_rng(5).integers(-400, 600, pixels.shape[1:], np.int16)
    volume = replace(phantom.volume, pixels=pixels, plane="axial")

    assert predictor.assess(volume).verdict == "stone"
    pixels[[0, 1, 4, 5]] = noise
    assessment = predictor.assess(volume)
    assert (assessment.verdict, assessment.findings) == ("cannot_assess", ())


def test_single_slice_of_several_is_no_answer_about_them(predictor, healthy):
    alone = replace(healthy, pixels=healthy.pixels[:1])

    assert predictor.assess(alone).verdict == "no_stone"
    assessment = predictor.assess(replace(alone, slices_unread=5))

    assert (assessment.verdict, assessment.probability) == ("cannot_assess", None)
    assert assessment.reason.startswith("1 of 6 slices could be put in order and read.")


def test_stone_is_told_however_little_was_read(predictor, phantom):
    index = round((STONE.centre_lps_mm[2] + 156 / 2) / 3)
    pixels = phantom.volume.pixels[index - 3 : index + 6].copy()
    pixels[-2] = AIR

    assessment = predictor.assess(replace(phantom.volume, pixels=pixels, slices_unread=4))

    assert assessment.verdict == "stone"
    assert (assessment.extent.slices_read, assessment.extent.slices) == (8, 13)
    (told,) = [n.text for n in assessment.notices if n.code == ReadingCode.SLICES_UNREAD]
    assert "4 of 13 slices could not be put in order" in told


def test_volume_without_an_order_has_no_ends(predictor, healthy):
    pixels = healthy.pixels.copy()
    pixels[0] = AIR

    assessment = predictor.assess(replace(healthy, pixels=pixels, is_ordered=False))

    assert assessment.verdict == "cannot_assess"
    assert assessment.reason.startswith("5 of 6 slices could be read.")


def test_height_is_not_told_where_slices_lie_unevenly(predictor, healthy):
    assert predictor.assess(replace(healthy, is_evenly_spaced=False)).extent.height_mm is None
