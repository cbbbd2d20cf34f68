import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from detection.imaging.phantoms import KnownStone, make_phantom_volume
from detection.imaging.volume import Volume
from detection.ml.bundle import (
    default_bundle_path,
    load_bundle,
    load_default_bundle,
    set_default_bundle,
    write_manifest,
)
from detection.ml.data import Sample
from detection.ml.data.sources import facts_of
from detection.ml.errors import BundleError, DatasetError
from detection.ml.evaluation.series_page import DrawnStone, StoneCounts, count_stones, page
from detection.ml.evaluation.series_runs import (
    Run,
    choose_rule,
    measure_runs,
    point_of,
    read_runs,
    ways_of,
    write_rule,
)
from detection.ml.preprocess import Preprocessing
from detection.ml.serving import SCOPE, Assessment, Finding, SeriesRule
from detection.ml.serving.network import ServedNetwork
from detection.ml.serving.series_rule import SCOPE_OF_DEFAULT, checked_rule_of, rule_of

MODELS = Path(__file__).resolve().parents[3] / "ml_models"
RULE = SeriesRule(threshold=0.5)


class BrightnessNetwork(ServedNetwork):
    """Stands for a loaded network: the logit of a picture is its brightest grey value."""

    def __init__(self):
        self.preprocessing = Preprocessing()

    def run(self, canvases):
        brightest = canvases.reshape(len(canvases), -1).max(axis=1)
        logits = np.full((1, 2, 2), -50, np.float32) + brightest[:, None, None].astype(np.float32)
        return logits, {}


class BrightnessPredictor:
    """Stands for a loaded model."""

    threshold = 0.5
    network = BrightnessNetwork()

    def __init__(self):
        self.bundle = load_default_bundle(MODELS)
        self.rule = RULE
        self.checked_rule = replace(RULE, smooth=1, run=1, top=1)


def run(group, *logits, is_stone):
    return Run(group=group, is_stone=is_stone, logits=logits)


QUIET = [run(f"q{n}", -4.0 - n, -4.0, -4.0, is_stone=False) for n in range(4)]
ALONE = run("alone", -4.0, 5.0, -4.0, -4.0, -4.0, is_stone=False)
STONES = [run(f"s{n}", -4.0, 2.0 + n, 2.5, 3.0, -4.0, is_stone=True) for n in range(4)]


def test_threshold_parts_the_runs_and_one_bright_slice_is_no_alarm():
    unset = replace(RULE, scope=SCOPE_OF_DEFAULT)
    rule = choose_rule([*QUIET, ALONE, *STONES], rule=unset)
    assert rule.scope == SCOPE
    ways = ways_of([*QUIET, ALONE, *STONES], rule=rule, image_threshold=0.5)

    by_rule, _, _, by_maximum = (measure_runs([*QUIET, ALONE, *STONES], way) for way in ways)

    assert by_rule["sensitivity"] == (4, 4)
    assert by_rule["specificity"] == (5, 5)
    assert by_maximum["specificity"] == (4, 5)


def test_runs_of_one_kind_set_no_rule():
    with pytest.raises(DatasetError, match="no series rule"):
        choose_rule(QUIET, rule=RULE)


def test_only_groups_of_neighbouring_slices_are_runs(tmp_path):
    samples = []
    for source, group, count in (
        ("islam2022", "G1", 4),
        ("islam2022", "G2", 2),
        ("other", "G3", 4),
    ):
        for number in range(count):
            path = tmp_path / f"{group}-{number}.png"
            cv2.imwrite(str(path), np.full((40, 40), 50 + number, np.uint8))
            samples.append(
                Sample(path=path, image=path.name, source=source, is_stone=True, finding="stone",
                       group=group, facts=facts_of(source))
            )  # fmt: skip

    (only,) = read_runs(samples, BrightnessPredictor())

    assert (only.group, len(only.logits)) == ("G1", 4)
    assert list(only.logits) == sorted(only.logits)


@pytest.mark.parametrize("stones", [(), (0,), (2,), (0, 1, 2, 3)], ids=repr)
def test_a_run_with_a_stone_on_any_slice_is_a_run_with_a_stone(tmp_path, stones):
    samples = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((40, 40), 50, np.uint8))
        samples.append(
            Sample(path=path, image=path.name, source="islam2022", is_stone=number in stones,
                   finding="x", group="G1", facts=facts_of("islam2022"))
        )  # fmt: skip

    (run,) = read_runs(samples, BrightnessPredictor())

    assert run.is_stone == bool(stones)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_written_rule_travels_with_a_new_bundle_and_the_default_follows(tmp_path):
    root = tmp_path / "ml_models"
    source = default_bundle_path(MODELS)
    target = root / source.name
    shutil.copytree(source, target)
    told = load_bundle(target).manifest
    (target / "model.json").unlink()
    write_manifest(target, {k: v for k, v in told.items() if k not in ("files", "series")})
    set_default_bundle(root, load_bundle(target))
    before, untouched = load_default_bundle(root), contents(target)
    rule = SeriesRule(threshold=0.61)

    written = write_rule(
        before, rule, point=point_of([*QUIET, *STONES], rule), measured={"test": {"n": 12}}
    )

    after = load_default_bundle(root)
    assert contents(target) == untouched
    assert (after, after.path.parent) == (written, root)
    assert after.name == after.path.name != before.name
    assert {path.name for path in root.iterdir()} == {"default", before.name, after.name}
    assert after.manifest["provenance"]["parent"] == {"name": before.name, "digest": before.digest}
    assert after.manifest["provenance"]["commit"] == before.manifest["provenance"]["commit"]
    assert after.series_point == {
        "name": "series rule",
        "threshold": 0.61,
        "unit": "run of neighbouring slices",
        "sensitivity": 1.0,
        "sensitivity_interval": pytest.approx([0.5101, 1.0], abs=1e-4),
        "n_positive": 4,
        "specificity": 1.0,
        "specificity_interval": pytest.approx([0.5101, 1.0], abs=1e-4),
        "n_negative": 4,
    }
    assert rule_of(before).threshold == before.operating_point["threshold"]
    assert "single images" in rule_of(before).scope
    assert rule_of(after) == SeriesRule(threshold=0.61)
    assert after.manifest["series"]["test"] == {"n": 12}
    new = ("series", "name", "provenance")
    assert {k: v for k, v in after.manifest.items() if k not in new} == {
        k: v for k, v in before.manifest.items() if k not in new
    }
    json.dumps(load_bundle(after.path).manifest)


def test_page_tells_the_rule_the_counts_and_the_limits():
    free = Volume(pixels=np.zeros((5, 1, 1), np.int16), is_hu=True, plane="axial")
    alarmed = Assessment(
        verdict="stone",
        probability=0.9,
        slice_probabilities=(0.01, 0.01, 0.9, 0.9, 0.9),
        stone_map=np.full((5, 1, 1), 0.9),
    )
    calm = Assessment(
        verdict="no_stone",
        probability=0.1,
        slice_probabilities=(0.1, None, 0.1, 0.1, 0.1),
        stone_map=np.array([0.1, 0.0, 0.8, 0.1, 0.1])[:, None, None],
    )
    stones = StoneCounts(
        stones=(
            DrawnStone(hu=300, slice_mm=2.0, is_marked=True, is_listed=False),
            DrawnStone(hu=600, slice_mm=2.0, is_marked=True, is_listed=True),
        ),
        bodies=2,
        called=1,
    )
    held = [*QUIET, *STONES]
    parts = {"train": held, "validation": held, "test": [ALONE, *STONES]}

    text = page(
        parts,
        predictor=BrightnessPredictor(),
        phantoms=[("phantom 1", free, alarmed), ("phantom 2", free, calm)],
        stones=stones,
        samples=[("axial, 5 slices", free, calm)],
    )

    assert "Not measured on volumes" in text
    assert "| the map reaches the threshold somewhere | 2/2 = 1.000" in text
    assert "| the volume is called, after the check of the marks | 1/2 = 0.500" in text
    assert "| 300 HU, slices of 2.0 mm | 1 | 1 | 0 | 1/1 = 1.000" in text
    assert "| all | 2 | 2 | 1 | 1/2 = 0.500" in text
    assert "Bodies called: 1/2 = 0.500" in text
    assert "| axial, 5 slices | 5 | 4 | 1 | 0 | no_stone (0.10) | 0 |" in text
    assert "| test | the series rule, threshold set on train and validation |" in text


def test_a_drawn_stone_is_marked_by_the_map_and_listed_by_a_finding():
    at = KnownStone(centre_lps_mm=(70.0, 28.0, 0.0), diameters_mm=(6.0, 6.0, 6.0), hu=600)
    body = make_phantom_volume([at], generator=np.random.default_rng(1), slice_mm=5, height_mm=25)
    column, row = 0.5 + (70 + 199.6) / 0.8, 0.5 + (28 + 149.6) / 0.8
    stone_map = np.zeros((5, 96, 128), np.float16)
    stone_map[2, int(row * 96 / 375), int(column * 128 / 500)] = 0.9
    box = (column - 3, row - 3, column + 3, row + 3)
    found = Finding(
        plane="axial", slice_index=2, box=box, probability=0.9, slice_first=2, slice_last=2
    )
    answers = iter(
        [
            Assessment("stone", 0.9, stone_map=stone_map, findings=(found,)),
            Assessment("no_stone", 0.1, stone_map=stone_map),
            Assessment("no_stone", 0.1, stone_map=np.zeros_like(stone_map)),
        ]
    )
    predictor = BrightnessPredictor()
    predictor.assess = lambda volume: next(answers)

    counted = count_stones([body] * 3, predictor, report=lambda line: None)

    assert (counted.bodies, counted.called) == (3, 1)
    assert [(one.is_marked, one.is_listed) for one in counted.stones] == [
        (True, True), (True, False), (False, False),
    ]  # fmt: skip


def test_a_bundle_tells_the_threshold_of_checked_volumes_or_takes_that_of_images(tmp_path):
    source = default_bundle_path(MODELS)
    shutil.copytree(source, tmp_path / source.name)
    bundle = load_bundle(tmp_path / source.name)
    point = {"name": "series rule", "threshold": 0.4}

    written = write_rule(
        bundle, RULE, point={}, measured={"checked": {"threshold": 0.4, "operating_point": point}}
    )

    older = replace(bundle, manifest={k: v for k, v in bundle.manifest.items() if k != "series"})
    assert checked_rule_of(older).threshold == bundle.operating_point["threshold"]
    assert older.checked_point == bundle.operating_point
    assert checked_rule_of(written).threshold == 0.4
    assert written.checked_point == point


def test_a_bundle_outside_the_shipped_folder_is_written_alone(tmp_path):
    source = default_bundle_path(MODELS)
    shutil.copytree(source, tmp_path / source.name)

    written = write_rule(load_bundle(tmp_path / source.name), RULE, point={}, measured={})

    assert rule_of(written) == RULE
    assert not (tmp_path / "default").exists()


def test_rule_written_again_makes_a_third_bundle_with_a_name_of_its_own(tmp_path, monkeypatch):
    source = default_bundle_path(MODELS)
    shutil.copytree(source, tmp_path / source.name)
    times = iter(["20261130-120000", "20261130-120001", "20261130-120001"])
    clock = SimpleNamespace(strftime=lambda _: next(times))
    monkeypatch.setattr("detection.ml.evaluation.series_runs.time", clock)

    second = write_rule(load_bundle(tmp_path / source.name), RULE, point={}, measured={})
    third = write_rule(second, RULE, point={}, measured={})

    trained = source.name.partition("-series-")[0]
    assert second.name == f"{trained}-series-20261130-120000"
    assert third.name == f"{trained}-series-20261130-120001"
    assert third.manifest["provenance"]["parent"]["name"] == second.name
    before = contents(third.path)
    with pytest.raises(BundleError, match="is there already"):
        write_rule(second, RULE, point={}, measured={})
    assert contents(third.path) == before
    assert len(list(tmp_path.iterdir())) == 3


def test_point_of_runs_of_one_kind_claims_nothing_of_the_other():
    point = point_of(STONES, RULE)

    assert (point["sensitivity"], point["n_positive"]) == (1.0, 4)
    assert (point["specificity"], point["specificity_interval"]) == (None, None)
