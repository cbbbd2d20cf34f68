import json
import shutil

import numpy as np
import pytest

from detection.imaging.volume import Volume
from detection.ml.bundle import Bundle, derive_bundle, load_bundle, sha256_of
from detection.ml.errors import BundleError, MLError
from detection.ml.preprocess import Preprocessing
from detection.ml.serving import Predictor, pool
from detection.ml.serving.agreement import seen_anywhere
from detection.ml.serving.ensemble import combine, open_served
from detection.ml.serving.marks import Mark, merge_marks
from detection.ml.serving.network import ServedNetwork
from detection.ml.serving.pictures import Picture
from tests.networks import ensemble_bundle, network_bundle
from tests.pictures import body

WITH_STONE = Volume(pixels=body(stone_at=(280, 150))[None], is_hu=False)
CALIBRATIONS = ({"slope": 0.5, "intercept": -1.0}, {"slope": 2.0, "intercept": 0.25})


@pytest.fixture
def members(tmp_path):
    """Two networks that see what is white, and one that sees nothing."""
    return [
        network_bundle(tmp_path, "alpha-1", gain=0.12, offset=-12, calibration=CALIBRATIONS[0]),
        network_bundle(tmp_path, "beta-1", gain=0.1, offset=-9),
        network_bundle(tmp_path, "blind-1", gain=0.0, offset=-8),
    ]


def altered(path, change):
    """Change what `model.json` says, which `write_manifest` would refuse."""
    told = json.loads((path / "model.json").read_text())
    change(told)
    (path / "model.json").write_text(json.dumps(told))
    return path


def test_the_combined_map_is_the_weighted_mean_of_calibrated_logits():
    one = np.array([[1.0, -2.0], [0.0, 4.0]], np.float32)
    other = np.array([[-1.0, 3.0], [2.0, 0.5]], np.float32)

    merged = combine([one, other], calibrations=CALIBRATIONS, weights=[0.75, 0.25])

    assert merged.dtype == np.float32
    assert merged == pytest.approx(0.75 * (0.5 * one - 1.0) + 0.25 * (2.0 * other + 0.25))


def test_an_ensemble_runs_each_member_and_merges_their_cells(tmp_path, members):
    bundle = load_bundle(ensemble_bundle(tmp_path, members, weights=[0.5, 0.3, 0.2]))
    canvases = np.random.default_rng(1).integers(0, 255, (3, 384, 416)).astype(np.uint8)

    network = open_served(bundle, threads=1)
    cells, _ = network.run(canvases)

    held = bundle.networks
    alone = [ServedNetwork(one, threads=1).map_logits(canvases) for one in held]
    calibrations = [one.calibration for one in held]
    assert cells == pytest.approx(
        combine(alone, calibrations=calibrations, weights=[0.5, 0.3, 0.2]), abs=1e-5
    )
    assert network.map_logits(canvases) == pytest.approx(cells)
    (batch,) = network.read([Picture(grey=one) for one in canvases])
    assert batch.member_cells.shape == (3, *cells.shape)
    assert batch.member_cells[0] == pytest.approx(0.5 * alone[0] - 1.0, abs=1e-5)


def test_an_image_is_answered_by_the_combined_map(tmp_path, members):
    told = {"calibration": {"slope": 1.5, "intercept": 0.5}}
    predictor = Predictor(load_bundle(ensemble_bundle(tmp_path, members[:2], **told)), threads=1)
    volume = WITH_STONE

    assessment = predictor.assess(volume)

    (read,) = predictor.read([Picture(grey=volume.pixels[0])])
    assert assessment.probability == pytest.approx(
        1 / (1 + np.exp(-(1.5 * pool(read.cells) + 0.5)))
    )


def test_a_finding_counts_the_members_that_see_it(tmp_path, members):
    predictor = Predictor(load_bundle(ensemble_bundle(tmp_path, members)), threads=1)

    assessment = predictor.assess(WITH_STONE)

    assert {(one.members_seeing, one.members) for one in assessment.findings} == {(2, 3)}


@pytest.mark.parametrize(("threshold", "seeing"), [(0.5, 2), (0.999, 1)])
def test_a_member_is_asked_for_its_own_threshold(tmp_path, members, threshold, seeing):
    other = network_bundle(tmp_path, "other-1", gain=0.1, offset=-9, threshold=threshold)
    predictor = Predictor(load_bundle(ensemble_bundle(tmp_path, [members[1], other])), threads=1)

    (finding, *_) = predictor.assess(WITH_STONE).findings

    assert (finding.members_seeing, finding.members) == (seeing, 2)


def test_what_the_members_mark_together_may_be_seen_by_none_alone(tmp_path):
    held = [
        network_bundle(tmp_path, name, gain=0.1, offset=-9, threshold=0.999)
        for name in ("one-1", "two-1")
    ]

    assessment = Predictor(load_bundle(ensemble_bundle(tmp_path, held)), threads=1).assess(
        WITH_STONE
    )

    assert {(one.members_seeing, one.members) for one in assessment.findings} == {(0, 2)}


def test_a_volume_is_read_and_its_stones_are_counted(tmp_path, members):
    predictor = Predictor(load_bundle(ensemble_bundle(tmp_path, members)), threads=1)
    slices = np.stack([body(), body(stone_at=(280, 150)), body(stone_at=(280, 150)), body()])

    assessment = predictor.assess(Volume(pixels=slices, is_hu=False))

    assert len(assessment.slice_probabilities) == 4
    assert {(one.members_seeing, one.members) for one in assessment.findings} == {(2, 3)}


def test_a_member_sees_a_stone_that_it_sees_on_any_slice():
    place = {"probability": 0.9, "stone": None}
    marks = [
        Mark(edges=(5, 5, z, 9, 9, z + 1), step=z, seen_by=seen, **place)
        for z, seen in ((0, (True, False, False)), (1, (False, True, False)))
    ]

    (cluster,) = merge_marks(marks)

    assert cluster.seen_by == (True, True, False)
    assert seen_anywhere([(), ()]) == ()


def test_a_single_network_counts_no_members(members):
    predictor = Predictor(load_bundle(members[1]), threads=1)

    findings = predictor.assess(WITH_STONE).findings

    assert {(one.members_seeing, one.members) for one in findings} == {(None, None)}


@pytest.mark.parametrize(("judge", "verdict"), [("open-1", "stone"), ("shut-1", "cannot_assess")])
def test_the_gate_is_that_of_the_member_it_names(tmp_path, judge, verdict):
    held = [
        network_bundle(tmp_path, "open-1", gate_passes=True),
        network_bundle(tmp_path, "shut-1", gain=0.12, gate_passes=False),
    ]
    bundle = load_bundle(ensemble_bundle(tmp_path, held, gate={"member": judge}))

    assessment = Predictor(bundle, threads=1).assess(WITH_STONE)

    assert assessment.verdict == verdict


def test_a_missing_a_changed_and_a_damaged_member_fail_the_whole_ensemble(tmp_path, members):
    ensemble = ensemble_bundle(tmp_path, members)

    def refused(name):
        with pytest.raises(BundleError, match=f"ensemble-1 cannot be used.*{name}"):
            load_bundle(ensemble)

    (members[0] / "model.onnx").write_bytes(b"damaged")
    refused("alpha-1 is damaged")
    shutil.rmtree(members[0])
    refused("alpha-1 is missing")
    network_bundle(tmp_path, "alpha-1", gain=0.5)
    refused("alpha-1 is not the one")


def test_a_member_that_is_no_network_fails_the_whole_ensemble(tmp_path, members):
    source = network_bundle(tmp_path, "alpha-2")
    (source / "model.onnx").write_bytes(b"no network")
    altered(
        source,
        lambda told: told["files"]["model.onnx"].update(sha256=sha256_of(source / "model.onnx")),
    )
    bundle = load_bundle(ensemble_bundle(tmp_path, [members[1], source]))

    with pytest.raises(BundleError, match="ensemble-1 cannot be used.*alpha-2 could not be loaded"):
        open_served(bundle, threads=1)


def test_a_member_without_usable_numbers_is_named(tmp_path, members):
    nan = network_bundle(tmp_path, "nan-1", gain=float("nan"))
    predictor = Predictor(load_bundle(ensemble_bundle(tmp_path, [*members, nan])), threads=1)

    with pytest.raises(MLError, match="no usable numbers.*member nan-1"):
        predictor.assess(Volume(pixels=body()[None], is_hu=False))


def test_ensembles_are_not_nested(tmp_path, members):
    inner = ensemble_bundle(tmp_path, members)
    outer = ensemble_bundle(tmp_path, [inner, members[0]], name="ensemble-2")

    with pytest.raises(BundleError, match="ensemble-1 is itself an ensemble"):
        load_bundle(outer)


def test_an_ensemble_that_names_itself_ends_with_a_sentence(tmp_path, members):
    ensemble = ensemble_bundle(tmp_path, members)
    altered(ensemble, lambda told: told["members"][0].update(name="ensemble-1"))

    with pytest.raises(BundleError, match="itself an ensemble"):
        load_bundle(ensemble)


def test_members_of_another_preprocessing_are_refused(tmp_path, members):
    wide = network_bundle(tmp_path, "wide-1", preprocessing=Preprocessing(width=512))

    with pytest.raises(BundleError, match="wide-1 reads images on another canvas"):
        load_bundle(ensemble_bundle(tmp_path, [*members, wide]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda told: told.update(kind="forest"), "a kind that this version does not read"),
        (lambda told: told.pop("members"), "of each member its name, digest and weight"),
        (lambda told: told.update(members=7), "of each member its name, digest and weight"),
        (lambda told: told["members"][0].pop("digest"), "its name, digest and weight"),
        (lambda told: told["members"][0].update(weight="much"), "its name, digest and weight"),
        (lambda told: told.update(members=told["members"][:1]), "at least two different members"),
        (lambda told: told["members"][0].update(name="beta-1"), "at least two different members"),
        (lambda told: told["members"][0].update(name="../alpha-1"), "which is no bundle"),
        (lambda told: told["members"][0].update(weight=0.5), "not convex"),
        (lambda told: told["members"][0].update(weight=float("nan")), "not convex"),
        (
            lambda told: [
                one.update(weight=w) for one, w in zip(told["members"], (-1, 1, 1), strict=True)
            ],
            "not convex",
        ),
        (lambda told: told.update(gate={"member": "gamma-1"}), "gate from none of its members"),
    ],
)
def test_a_manifest_that_names_no_sound_ensemble_is_refused(tmp_path, members, change, sentence):
    ensemble = altered(ensemble_bundle(tmp_path, members), change)

    with pytest.raises(BundleError, match=sentence):
        load_bundle(ensemble)


def test_a_member_without_a_balanced_point_is_refused(tmp_path, members):
    point = {"name": "own", "threshold": 0.5}
    other = network_bundle(
        tmp_path, "own-1", operating_points={"own": point}, default_operating_point="own"
    )

    with pytest.raises(BundleError, match="own-1 has no balanced operating point"):
        open_served(load_bundle(ensemble_bundle(tmp_path, [*members, other])), threads=1)


def test_an_ensemble_is_derived_beside_its_members(tmp_path, members):
    parent = load_bundle(ensemble_bundle(tmp_path, members))

    renewed = derive_bundle(parent, name="ensemble-1-series-1", changes={"series": {"top": 1}})

    assert renewed.is_ensemble
    assert renewed.members == parent.members
    assert [one.name for one in renewed.networks] == ["alpha-1", "beta-1", "blind-1"]


def test_a_single_network_has_no_members(members):
    bundle = load_bundle(members[0])

    assert isinstance(bundle, Bundle)
    assert (bundle.is_ensemble, bundle.members, list(bundle.networks)) == (False, (), [])
