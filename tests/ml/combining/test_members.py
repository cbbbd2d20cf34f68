import numpy as np
import pytest

from detection.ml.bundle import load_bundle
from detection.ml.combining.members import check_beside, judged_members
from detection.ml.combining.predictions import Predictions, check_fold, load_predictions
from detection.ml.data import Dataset, Sample
from detection.ml.errors import MLError
from detection.ml.preprocess import Preprocessing
from detection.ml.training import check_parts
from tests.networks import network_bundle

PART_SIZES = {"train": 2, "validation": 1, "test": 1}


@pytest.fixture
def plain(tmp_path):
    return network_bundle(tmp_path, "tiny-plain")


@pytest.fixture
def refit(tmp_path):
    return network_bundle(tmp_path, "tiny-refit", training={"refit": True})


def judged(tmp_path, *folders, **held_out):
    return judged_members(
        [str(folder) for folder in folders],
        held_out={name.replace("_", "-"): str(folder) for name, folder in held_out.items()},
        root=tmp_path,
    )


def test_a_member_that_has_seen_the_validation_part_needs_a_stand_in(tmp_path, plain, refit):
    with pytest.raises(MLError, match="with --held-out"):
        judged(tmp_path, plain, refit)


def test_a_member_that_started_from_such_a_bundle_needs_one_too(tmp_path, plain, refit):
    later = network_bundle(tmp_path, "tiny-later", training={"init": "bundle tiny-refit"})

    with pytest.raises(MLError, match="tiny-later have seen the validation part"):
        judged(tmp_path, plain, later)


def test_a_stand_in_judges_in_place_of_its_member(tmp_path, plain, refit):
    before = network_bundle(tmp_path, "tiny-before")

    one, other = judged(tmp_path, plain, refit, tiny_refit=before)

    assert one.stand_in is one.member
    assert (other.name, other.stand_in.name) == ("tiny-refit", "tiny-before")


def test_members_are_found_by_name(tmp_path, plain):
    network_bundle(tmp_path, "tiny-other")

    found = judged_members(["tiny-plain", "tiny-other"], held_out={}, root=tmp_path)

    assert [one.name for one in found] == ["tiny-plain", "tiny-other"]


@pytest.mark.parametrize(
    ("name", "told", "sentence"),
    [
        ("tiny-too", {"training": {"refit": True}}, "seen the validation part too"),
        ("other-before", {}, "another architecture"),
        ("tiny-large", {"preprocessing": Preprocessing(height=256, width=256)}, "another way"),
    ],
)
def test_a_stand_in_that_cannot_stand_is_refused(tmp_path, plain, refit, name, told, sentence):
    before = network_bundle(tmp_path, name, **told)

    with pytest.raises(MLError, match=sentence):
        judged(tmp_path, plain, refit, tiny_refit=before)


def test_members_that_make_no_ensemble_are_refused(tmp_path, plain):
    large = network_bundle(tmp_path, "tiny-large", preprocessing=Preprocessing(256, 256))

    for folders, sentence in (
        ([plain], "at least two"),
        ([plain, plain], "at least two"),
        ([plain, large], "another canvas"),
    ):
        with pytest.raises(MLError, match=sentence):
            judged(tmp_path, *folders)


def test_a_held_out_bundle_of_no_member_is_refused(tmp_path, plain):
    other = network_bundle(tmp_path, "tiny-other")

    with pytest.raises(MLError, match="tiny-none, which is no member"):
        judged(tmp_path, plain, other, tiny_none=plain)


def test_a_member_that_does_not_stand_beside_the_ensemble_is_refused(tmp_path, plain):
    bundle = load_bundle(plain)
    check_beside([bundle], out=tmp_path)
    network_bundle(tmp_path / "elsewhere", "tiny-plain", gain=0.3)

    for folder in (tmp_path / "empty", tmp_path / "elsewhere"):
        with pytest.raises(MLError, match="Copy its folder there first"):
            check_beside([bundle], out=folder)


def test_a_bundle_of_other_parts_is_refused(tmp_path):
    same = network_bundle(tmp_path, "tiny-same", data={"fingerprint": "f"}, split={})
    boxes = network_bundle(tmp_path, "tiny-boxes", data={"fingerprint": "g"}, split=PART_SIZES)
    other = network_bundle(tmp_path, "tiny-other", data={"fingerprint": "g"}, split={"train": 9})

    check_parts(load_bundle(same), parts=PART_SIZES, fingerprint="f")
    # New boxes on the same images.
    check_parts(load_bundle(boxes), parts=PART_SIZES, fingerprint="f")
    with pytest.raises(MLError, match="tiny-other was trained on other parts"):
        check_parts(load_bundle(other), parts=PART_SIZES, fingerprint="f")


def sample(name):
    return Sample(
        path=None, image=name, source="s", is_stone=False, finding="normal", group=name
    )  # fmt: skip


PARTS = {
    "train": [sample("a"), sample("b")],
    "validation": [sample("c")],
    "test": [sample("d")],
}
DATASET = Dataset(samples=tuple(s for held in PARTS.values() for s in held), fingerprint="f")


def predictions(*images, **told):
    about = {
        "bundle": "fold-1",
        "digest": "0",
        "calibration": {"slope": 2.0, "intercept": 1.0},
        "trained_on": "less",
        "fingerprint": "f",
    }
    maps = np.arange(4 * len(images), dtype=np.float16).reshape(-1, 2, 2)
    return Predictions(images=images, maps=maps, about=about | told)


def test_predictions_of_images_that_are_not_the_network_s_own_pass():
    check_fold(predictions("a", "c"), dataset=DATASET, parts=PARTS)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (predictions("a", "d"), "images of the test part, such as d"),
        (predictions("a", trained_on="f"), "trained on 1 of the images"),
        (predictions("a", fingerprint="g"), "another data folder"),
        (predictions("z"), "z, which is no image"),
    ],
)
def test_predictions_that_no_weights_may_be_fitted_on_are_refused(made, sentence):
    with pytest.raises(MLError, match=sentence):
        check_fold(made, dataset=DATASET, parts=PARTS)


def test_predictions_are_read_as_they_were_written(tmp_path):
    made = predictions("a", "b")
    made.save(tmp_path / "p.npz")

    read = load_predictions(tmp_path / "p.npz")

    assert (read.images, read.about) == (made.images, made.about)
    assert (read.maps == made.maps).all()
    assert (read.calibrated()["b"] == 2 * made.maps[1] + 1).all()
    (tmp_path / "no.npz").write_bytes(b"no")
    with pytest.raises(MLError, match=r"no.npz is not a file"):
        load_predictions(tmp_path / "no.npz")
