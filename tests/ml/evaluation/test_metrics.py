from pathlib import Path

import cv2
import numpy as np
import pytest

from detection.ml.data import Box, Sample, halved_sources, judged_items
from detection.ml.evaluation.changed import resolution_of, spread
from detection.ml.evaluation.levels import at_threshold, calibration_of, judge, judge_groups, level
from detection.ml.evaluation.metrics import (
    brightness_of,
    failures_of,
    localisation_of,
    subgroups_of,
)
from detection.ml.evaluation.readings import Reading

POINTS = {name: {"threshold": t} for name, t in (("balanced", 0.5), ("rule_out", 0.2))}


def reading(probability, *, halves=(0.0, 0.0), findings=(), refusal=""):
    return Reading(
        probability=probability,
        half_probabilities=halves,
        refusal=refusal,
        findings=tuple(findings),
        width=100,
        height=80,
    )


@pytest.fixture
def samples(tmp_path):
    """Two whole images of one source; three boxed stone images, judged by halves, of another."""
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((80, 100), 90, np.uint8))

    def sample(name, source, finding, group, *boxes):
        return Sample(
            path=path,
            image=name,
            source=source,
            is_stone=finding == "stone",
            finding=finding,
            group=group,
            boxes=tuple(Box(*box) for box in boxes),
        )

    return [
        sample("n", "islam2022", "normal", "i1"),
        sample("s", "islam2022", "stone", "i2"),
        sample("l", "yildirim2021", "stone", "y1", (10, 10, 20, 20)),
        sample("r", "yildirim2021", "stone", "y2", (70, 10, 76, 16)),
        sample("b", "yildirim2021", "stone", "y2", (10, 10, 40, 30), (80, 10, 90, 20)),
    ]


@pytest.fixture
def readings():
    return {
        "n": reading(0.1),
        "s": reading(0.9),
        "l": reading(0.9, halves=(0.9, 0.1), findings=[((11, 11, 19, 19), 0.9)]),
        "r": reading(0.6, halves=(0.6, 0.3), findings=[((11, 11, 19, 19), 0.6)]),
        "b": reading(0.8, halves=(0.8, 0.7), findings=[((11, 11, 19, 19), 0.8)]),
    }


@pytest.fixture
def items(samples):
    return judged_items(samples, halved=halved_sources(samples))


def test_source_without_stone_free_images_is_judged_by_halves(items):
    assert [(item.key, item.is_stone) for item in items] == [
        ("n", False),
        ("s", True),
        ("l#left", True),
        ("l#right", False),
        ("r#left", False),
        ("r#right", True),
        ("b#left", True),
        ("b#right", True),
    ]


def test_half_has_its_own_pixels(items):
    grey = np.arange(12, dtype=np.uint8).reshape(2, 6)

    assert [item.crop(grey).shape[1] for item in items[:4]] == [6, 6, 3, 3]
    assert items[3].crop(grey)[0, 0] == 3


def test_half_is_scored_by_its_own_map_or_highest_finding(items, readings):
    pooled = judge(items, readings, unit="item")
    highest = judge(items, readings, unit="item", score=Reading.highest_finding)

    assert pooled.scores[2:].tolist() == [0.9, 0.1, 0.6, 0.3, 0.8, 0.7]
    assert highest.scores[2:].tolist() == [0.9, 0.0, 0.6, 0.0, 0.8, 0.0]


def test_refused_image_counts_as_wrong_and_is_shown(items, readings):
    readings = {**readings, "s": reading(0.9, refusal="This is no CT."), "n": reading(0.1)}

    judged = judge(items[:2], readings, unit="image")
    measured = at_threshold(judged, threshold=0.5)

    assert measured["confusion"] == {
        "true_positive": 0,
        "false_negative": 0,
        "false_positive": 0,
        "true_negative": 1,
        "refused_stone": 1,
        "refused_stone_free": 0,
    }
    assert measured["accuracy"]["value"] == 0.5
    assert measured["sensitivity"]["value"] == 0.0


def test_level_counts_what_each_threshold_decides(items, readings):
    measured = level(judge(items, readings, unit="item"), points=POINTS)

    assert (measured["n"], measured["stone"], measured["groups"]) == (8, 5, 4)
    assert measured["points"]["balanced"]["confusion"]["false_positive"] == 1
    assert measured["points"]["balanced"]["confusion"]["false_negative"] == 1
    assert measured["points"]["rule_out"]["sensitivity"]["value"] == 1.0
    # Of 5 x 3 pairs only (right half of r, left half of r) stand the wrong way round.
    assert measured["auc"]["value"] == pytest.approx(14 / 15)


def test_patient_group_is_the_mean_of_its_highest_logits(items, readings):
    judged = judge_groups(judge(items, readings, unit="item"))

    logits = np.log([0.8 / 0.2, 0.7 / 0.3, 0.6 / 0.4])
    assert judged.groups.tolist() == ["i1", "i2", "y1", "y2"]
    assert judged.scores[3] == pytest.approx(1 / (1 + np.exp(-logits.mean())))
    assert judged.labels.tolist() == [False, True, True, True]


def test_failures_are_all_and_only_the_wrong_items(items, readings):
    rows = failures_of(items, readings, threshold=0.5)

    assert [(row["kind"], row["image"], row["half"]) for row in rows] == [
        ("false alarm", "r", "left"),
        ("miss", "r", "right"),
    ]
    assert rows[1]["stone_px"] == 6


def test_localisation_uses_the_findings_of_tight_boxes(samples, readings):
    measured = localisation_of(samples, readings)

    assert (measured["images"], measured["stones"], measured["false_findings"]) == (3, 4, 1)
    assert (measured["pointing"]["hits"], measured["pointing"]["n"]) == (2, 3)
    found = {
        row["false_per_image"]: row["found"]["hits"]
        for row in measured["froc"]
        if row["size"] == "all"
    }
    # The false finding of 0.6 lies below both stones that are found.
    assert found == {0.25: 2, 0.5: 2, 1.0: 2, 2.0: 2}


def test_subgroups_split_the_same_items(items, readings):
    rows = subgroups_of(items, readings, threshold=0.5)

    by_source = {row["name"]: row["accuracy"] for row in rows if row["kind"] == "source"}
    assert by_source["islam2022"]["value"] == 1.0
    assert (by_source["yildirim2021"]["hits"], by_source["yildirim2021"]["n"]) == (4, 6)
    sizes = [row["accuracy"]["n"] for row in rows if row["kind"] == "stone size"]
    assert sum(sizes) == 4


def test_same_readings_lose_nothing_and_turned_ones_lose_all(items, readings):
    turned = {
        name: reading(1 - r.probability, halves=tuple(1 - h for h in r.half_probabilities))
        for name, r in readings.items()
    }

    same = resolution_of(items, readings, readings)
    worse = resolution_of(items, readings, turned)

    assert [row["fall"]["value"] for row in same] == [0.0, 0.0]
    assert worse[0]["fall"]["value"] == pytest.approx(1.0)


def test_probability_that_follows_brightness_is_seen(tmp_path):
    samples, readings = [], {}
    for index in range(30):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), np.full((20, 20), 40 + 6 * index, np.uint8))
        samples.append(
            Sample(Path(path), str(index), "islam2022", False, "normal", f"g{index // 3}")
        )
        readings[str(index)] = reading(index / 30)

    rows = brightness_of(samples, readings, feature=lambda grey: float(grey.mean()))

    assert rows[0]["finding"] == "all stone-free"
    assert rows[0]["correlation"]["value"] == pytest.approx(1.0)


def test_reliability_bins_hold_every_item_once(items, readings):
    held = calibration_of(judge(items, readings, unit="item"))

    assert sum(point["stone"]["n"] for point in held["reliability"]) == 8


def test_smaller_draw_is_the_beginning_of_a_larger_one_and_takes_turns(tmp_path):
    samples = [
        Sample(tmp_path, f"{group}-{index}", "s", True, "stone", group)
        for group, count in (("a", 50), ("b", 3), ("c", 3))
        for index in range(count)
    ]

    small, large = spread(samples, 6), spread(samples, 20)

    assert small == large[:6]
    assert sorted(sample.group for sample in small) == ["a", "a", "b", "b", "c", "c"]
    assert small == spread(samples[::-1], 6)
