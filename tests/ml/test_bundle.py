import json
import time
from pathlib import Path

import pytest

from detection.ml.bundle import (
    Bundle,
    building,
    default_bundle_path,
    load_bundle,
    load_default_bundle,
    open_bundle,
    publish,
    set_default_bundle,
    write_manifest,
)
from detection.ml.errors import BundleError

MODELS = Path(__file__).resolve().parents[2] / "ml_models"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "bundle-1"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"weights")
    write_manifest(folder, {"name": "bundle-1", "serving": {"file": "model.onnx"}})
    return folder


def test_a_whole_bundle_loads(folder):
    assert load_bundle(folder).name == "bundle-1"


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda f: (f / "model.onnx").write_bytes(b"weightS"), "checksum of model.onnx"),
        (lambda f: (f / "model.onnx").unlink(), "lacks its file model.onnx"),
        (lambda f: (f / "model.json").unlink(), "is missing"),
        (lambda f: (f / "model.json").write_text("{"), "unreadable model.json"),
        (lambda f: (f / "model.json").write_text('{"format": 99}'), "format"),
        (
            lambda f: (f / "model.json").write_text(
                json.dumps({"format": 1, "name": "b", "files": {"../x": {"sha256": ""}}})
            ),
            "outside its folder",
        ),
        (lambda f: (f / "model.json").write_text('{"format": 1}'), "incomplete model.json"),
    ],
)
def test_a_damaged_bundle_is_refused(folder, break_it, sentence):
    break_it(folder)

    with pytest.raises(BundleError, match=sentence):
        load_bundle(folder)


def test_a_changed_threshold_is_noticed_by_the_recorded_digest(folder):
    digest = load_bundle(folder).digest
    manifest = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**manifest, "threshold": 0.01}))

    with pytest.raises(BundleError, match="not the one that was registered"):
        load_bundle(folder, expected_digest=digest)


def test_a_bundle_is_never_rewritten(folder):
    before = (folder / "model.json").read_bytes()

    with pytest.raises(BundleError, match="bundle-1 is complete"):
        write_manifest(folder, {"name": "bundle-1", "serving": {"file": "other.onnx"}})

    assert (folder / "model.json").read_bytes() == before


def published(root):
    with building(root) as folder:
        (folder / "model.onnx").write_bytes(b"weights")
        told = {"serving": {"file": "model.onnx"}, "data": {"fingerprint": "422ae7aa"}}
        return publish(folder, told, kind="resnet50")


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until somebody sleeps."""
    now = [1_000_000_000.0]
    told = time.strftime
    monkeypatch.setattr("time.time", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.append(now.pop() + seconds))
    monkeypatch.setattr("time.strftime", lambda form: told(form, time.gmtime(now[0])))


@pytest.mark.usefixtures("clock")
def test_bundles_of_the_same_second_get_names_of_their_own(tmp_path):
    first, second = published(tmp_path), published(tmp_path)

    assert first.name == "resnet50-20010909-014640-422ae7"
    assert second.name == "resnet50-20010909-014641-422ae7"
    assert load_bundle(first).name == first.name
    assert load_bundle(second).name == second.name
    assert sorted(tmp_path.iterdir()) == [first, second]


@pytest.mark.usefixtures("clock")
def test_a_name_that_another_process_takes_meanwhile_is_left_to_it(tmp_path, monkeypatch):
    taken = tmp_path / "resnet50-20010909-014640-422ae7"

    def load(folder):
        taken.mkdir(exist_ok=True)
        (taken / "model.json").write_text("theirs")
        return load_bundle(folder)

    monkeypatch.setattr("detection.ml.bundle.writing.load_bundle", load)
    path = published(tmp_path)

    assert path.name == "resnet50-20010909-014641-422ae7"
    assert (taken / "model.json").read_text() == "theirs"
    assert json.loads((path / "model.json").read_text())["name"] == path.name


def bundle_of(folder, **series):
    point = {"name": "balanced", "threshold": 0.3, "sensitivity": 0.9}
    manifest = {"operating_points": {"balanced": point}, "default_operating_point": "balanced"}
    return Bundle(path=folder, digest="", manifest=manifest | series)


def test_series_point_of_a_bundle_that_holds_counts_alone(tmp_path):
    told = {
        "threshold": 0.65,
        "unit": "run of neighbouring slices",
        "test": {"n": 12, "sensitivity": [4, 4], "specificity": [8, 8]},
    }

    assert bundle_of(tmp_path, series=told).series_point == {
        "name": "series rule",
        "threshold": 0.65,
        "unit": "run of neighbouring slices",
        "sensitivity": 1.0,
        "sensitivity_interval": pytest.approx((0.5101, 1.0), abs=1e-4),
        "n_positive": 4,
        "specificity": 1.0,
        "specificity_interval": pytest.approx((0.6756, 1.0), abs=1e-4),
        "n_negative": 8,
    }


def test_series_point_of_a_bundle_without_a_rule_is_that_of_images(tmp_path):
    bundle = bundle_of(tmp_path)

    assert bundle.series_point == bundle.operating_point


def test_series_point_of_a_rule_that_nothing_was_counted_for_claims_nothing(tmp_path):
    assert bundle_of(tmp_path, series={"threshold": 0.6}).series_point == {
        "name": "series rule",
        "threshold": 0.6,
        "unit": "",
    }


def test_incomplete_manifest_is_said_when_it_is_needed(folder):
    (folder / "model.json").unlink()
    write_manifest(
        folder,
        {"name": "bundle-1", "serving": {"file": "other.onnx"}, "preprocessing": {"of": "later"}},
    )
    bundle = load_bundle(folder)
    # It lies there, but nobody has compared its checksum.
    (folder / "other.onnx").write_bytes(b"not listed")

    with pytest.raises(BundleError, match="incomplete"):
        _ = bundle.preprocessing
    with pytest.raises(BundleError, match="incomplete"):
        _ = bundle.operating_point
    with pytest.raises(BundleError, match="incomplete"):
        _ = bundle.serving_path


def test_default_names_the_bundle_and_its_digest(folder):
    set_default_bundle(folder.parent, load_bundle(folder))

    assert default_bundle_path(folder.parent) == folder
    assert load_default_bundle(folder.parent).name == "bundle-1"


@pytest.mark.parametrize("content", ["", "one", "../etc 123", "a b c"])
def test_a_broken_default_is_refused(tmp_path, content):
    (tmp_path / "default").write_text(content)

    with pytest.raises(BundleError, match="default"):
        default_bundle_path(tmp_path)


def test_a_bundle_that_names_no_backbone_is_a_resnet50(folder):
    assert load_bundle(folder).backbone == "resnet50"


def test_shipped_bundles_load_unchanged():
    paths = [path.parent for path in MODELS.glob("*/model.json")]
    assert paths
    for path in paths:
        bundle = load_bundle(path)
        assert bundle.name.startswith(f"{bundle.backbone}-")


def test_a_bundle_of_another_backbone_says_so(tmp_path):
    folder = tmp_path / "tiny-1"
    folder.mkdir()
    write_manifest(folder, {"name": "tiny-1", "backbone": "tiny"})

    assert load_bundle(folder).backbone == "tiny"


def test_bundle_is_opened_by_its_name_or_its_folder(folder, tmp_path):
    set_default_bundle(folder.parent, load_bundle(folder))
    roots = [folder.parent, tmp_path / "nowhere"]

    for model in (None, "bundle-1", folder, str(folder)):
        assert open_bundle(model, roots=roots).path == folder
    assert open_bundle("bundle-1", roots=roots[::-1]).path == folder


def test_unknown_name_lists_the_bundles_that_are_there(folder, tmp_path):
    (folder.parent / ".building-x").mkdir()
    (folder.parent / ".building-x" / "model.json").touch()

    with pytest.raises(BundleError, match=r"no model bundle other\. .* are there: bundle-1\.$"):
        open_bundle("other", roots=[folder.parent])
    with pytest.raises(BundleError, match="none"):
        open_bundle("other", roots=[tmp_path / "nowhere"])
    with pytest.raises(BundleError, match="is missing"):
        open_bundle("elsewhere/other", roots=[folder.parent])
