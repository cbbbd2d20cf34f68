import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from detection.ml import __main__ as command_line
from detection.ml import serving
from detection.ml.data import Box, Sample, halved_sources, judged_items
from detection.ml.preprocess import Preprocessing
from detection.ml.training import measure, score

SMALL = Preprocessing(height=64, width=96)


def bright_cells(canvases):
    """Stand for a network: the logit of a cell is its mean grey value."""
    n, rows, columns = canvases.shape
    cells = canvases.reshape(n, rows // 8, 8, columns // 8, 8).mean((2, 4))
    return cells.astype(np.float32) - 50


def picture(folder: Path, name: str, *, source: str, stone_x: int | None, is_boxed: bool = True):
    """One image of 96 x 64 px; a stone is a bright square with its centre at column `stone_x`."""
    grey = np.full((64, 96), 10, np.uint8)
    boxes = ()
    if stone_x is not None:
        grey[28:36, stone_x - 4 : stone_x + 4] = 200
        boxes = (Box(stone_x - 4, 28, stone_x + 4, 36),) if is_boxed else ()
    cv2.imwrite(str(folder / name), grey)
    return Sample(
        path=folder / name,
        image=name,
        source=source,
        is_stone=stone_x is not None,
        finding="stone" if stone_x is not None else "normal",
        group=name,
        boxes=boxes,
    )


def scored(samples, *, of):
    return score(samples, map_logits=bright_cells, preprocessing=SMALL, halved=halved_sources(of))


def test_part_without_stone_free_images_is_judged_as_the_whole_data_set_says(tmp_path):
    part = [picture(tmp_path, f"{x}.png", source="mixed", stone_x=x) for x in (24, 72)]
    whole = [*part, picture(tmp_path, "free.png", source="mixed", stone_x=None)]

    scores = scored(part, of=whole)

    # By the part alone the two would be four halves.
    assert scores.labels.tolist() == [True, True]
    assert len(scores.labels) == len(judged_items(part, halved=halved_sources(whole)))


def test_halves_get_the_labels_and_the_logits_of_their_side(tmp_path):
    samples = [picture(tmp_path, f"{x}.png", source="boxed", stone_x=x) for x in (20, 76)]

    scores = scored(samples, of=samples)

    assert scores.labels.tolist() == [True, False, False, True]
    assert [item.is_stone for item in judged_items(samples, halved=frozenset({"boxed"}))] == (
        scores.labels.tolist()
    )
    assert ((scores.logits > 0) == scores.labels).all()
    assert scores.groups.tolist() == ["20.png", "20.png", "76.png", "76.png"]


def test_image_without_a_box_is_judged_whole(tmp_path):
    samples = [
        picture(tmp_path, "boxed.png", source="boxed", stone_x=20),
        picture(tmp_path, "bag.png", source="boxed", stone_x=20, is_boxed=False),
    ]

    assert scored(samples, of=samples).labels.tolist() == [True, False, True]


def test_sources_are_judged_each_by_its_own_rule(tmp_path):
    samples = [
        picture(tmp_path, "left.png", source="boxed", stone_x=20),
        picture(tmp_path, "stone.png", source="mixed", stone_x=20),
        picture(tmp_path, "free.png", source="mixed", stone_x=None),
    ]

    scores = scored(samples, of=samples)

    assert scores.sources.tolist() == ["boxed", "boxed", "mixed", "mixed"]
    measured = measure(scores, calibration={"slope": 1.0, "intercept": 0.0}, threshold=0.5)
    assert (measured["boxed"]["n"], measured["mixed"]["n"]) == (2, 2)
    assert measured["all"]["accuracy"]["hits"] == 4


@pytest.mark.parametrize(("gap", "hits"), [(12, 1), (20, 0)])
def test_peak_may_lie_twelve_pixels_beside_the_box(tmp_path, gap, hits):
    one = picture(tmp_path, "one.png", source="boxed", stone_x=20)
    # The peak is the cell of 16 to 24 px; its centre lies at 20, 28 px.
    moved = Box(20 + gap, 28, 40 + gap, 36)
    one = Sample(**{**vars(one), "boxes": (moved,)})

    assert scored([one], of=[one]).pointing.tolist() == [bool(hits)]


def test_verb_evaluate_judges_a_part_as_the_whole_data_set_says(tmp_path, monkeypatch, capsys):
    lines, boxes = ["image,source,label,group"], ["image,x0,y0,x1,y1"]
    for number in range(40):
        x = 24 if number % 2 else None
        picture(tmp_path, f"{number}.png", source="mixed", stone_x=x)
        lines.append(f"{number}.png,mixed,{'stone' if x else 'no_stone'},g{number}")
        boxes += [f"{number}.png,20,28,28,36"] * bool(x)
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "boxes.csv").write_text("\n".join(boxes) + "\n")
    only_stones = [f"{number}.png" for number in range(40) if number % 2]

    class Predictor:
        network = SimpleNamespace(map_logits=bright_cells)
        preprocessing = SMALL
        threshold = 0.5
        bundle = SimpleNamespace(calibration={"slope": 1.0, "intercept": 0.0})

    def stones_alone(samples, *, parts):
        return {"test": [sample for sample in samples if sample.image in only_stones]}

    monkeypatch.setattr(serving, "open_predictor", lambda **_: Predictor())
    monkeypatch.setattr("detection.ml.data.split", stones_alone)

    assert command_line.main(["evaluate", str(tmp_path), "--part", "test"]) == 0

    assert json.loads(capsys.readouterr().out)["all"]["n"] == len(only_stones)
