from pathlib import Path

import cv2
import numpy as np
import pytest

from detection.ml.data import PARTS, Box, Sample, load_dataset, split, split_units, thin
from detection.ml.data.dataset import check_split
from detection.ml.data.sources import facts_of
from detection.ml.errors import DatasetError


def sample(group, *, source="islam2022", is_stone=True, number=0):
    return Sample(
        path=Path("x.png"),
        image=f"{group}-{number}.png",
        source=source,
        is_stone=is_stone,
        finding="stone" if is_stone else "normal",
        group=group,
        facts=facts_of(source),
    )


def write_folder(folder, rows, *, boxes=()):
    folder.mkdir(exist_ok=True)
    lines = ["image,source,label,finding,group"]
    for index, (label, group) in enumerate(rows):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((8, 8), index, np.uint8))
        lines.append(f"{index}.png,phantom,{label},{label},{group}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    (folder / "boxes.csv").write_text("\n".join(["image,x0,y0,x1,y1", *boxes]) + "\n")
    return folder


ROWS = [("stone" if i % 2 else "no_stone", f"p{i}") for i in range(10)]


def test_fingerprint_changes_with_a_pixel(tmp_path):
    folder = write_folder(tmp_path / "data", ROWS)
    before = load_dataset(folder).fingerprint
    cv2.imwrite(str(folder / "0.png"), np.full((8, 8), 200, np.uint8))

    assert load_dataset(folder).fingerprint != before


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda f: (f / "manifest.csv").unlink(), "no manifest.csv"),
        (lambda f: (f / "manifest.csv").write_text("image,label\n"), "lacks the column"),
        (lambda f: (f / "3.png").unlink(), "line 5: there is no such image"),
        (lambda f: (f / "boxes.csv").write_text("image,x0\n1.png,a\n"), "boxes.csv, line 2"),
        (
            lambda f: (f / "manifest.csv").write_text(
                "image,source,label,group\n../../etc/passwd,p,stone,g\n"
            ),
            "no such image",
        ),
        (
            lambda f: (f / "manifest.csv").write_text(
                "image,source,label,group\n0.png,p,maybe,g\n"
            ),
            "the label must be",
        ),
    ],
)
def test_a_broken_folder_is_refused_with_a_sentence(tmp_path, break_it, sentence):
    folder = write_folder(tmp_path / "data", ROWS)
    break_it(folder)

    with pytest.raises(DatasetError, match=sentence):
        load_dataset(folder)


def write_tight(folder, *lines):
    (folder / "boxes_tight.csv").write_text("\n".join(["image,x0,y0,x1,y1,area_px", *lines]) + "\n")


def test_tight_boxes_replace_the_loose_ones_of_their_images_alone(tmp_path):
    boxes = ("1.png,0,0,8,8", "1.png,1,1,8,8", "3.png,0,0,8,8")
    folder = write_folder(tmp_path / "data", ROWS, boxes=boxes)
    (folder / "sources.csv").write_text("source,boxes\nphantom,loose\n")
    loose = load_dataset(folder)
    write_tight(folder, "1.png,2,3,4,5,4")

    tight = load_dataset(folder)

    by_name = {sample.image: sample for sample in tight.samples}
    assert by_name["1.png"].boxes == (Box(2, 3, 4, 5),)
    assert not by_name["1.png"].has_loose_boxes
    assert by_name["3.png"].has_loose_boxes
    assert by_name["3.png"].boxes == (Box(0, 0, 8, 8),)
    assert tight.fingerprint != loose.fingerprint
    assert load_dataset(folder, with_tight_boxes=False) == loose


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("0.png,2,3,4,5,4", "boxes_tight.csv: 0.png is labelled no_stone"),
        ("99.png,2,3,4,5,4", "boxes_tight.csv: 99.png is not an image of manifest.csv"),
        ("1.png,2,3,4", "boxes_tight.csv, line 2: not a box"),
    ],
)
def test_a_tight_box_that_cannot_be_is_refused(tmp_path, line, sentence):
    folder = write_folder(tmp_path / "data", ROWS)
    write_tight(folder, line)

    with pytest.raises(DatasetError, match=sentence):
        load_dataset(folder)


def test_neighbouring_islam_groups_are_one_unit():
    units = split_units([sample("islam-G024"), sample("islam-G025"), sample("islam-G028")])

    assert units["islam-G024"] == units["islam-G025"] != units["islam-G028"]


@pytest.mark.parametrize("turned", [1, -1])
def test_a_group_of_two_sources_that_differ_about_neighbours_is_refused(turned):
    shared = [sample("P001"), sample("P001", source="clinic")]

    with pytest.raises(DatasetError, match="P001 stands in two sources"):
        split_units(shared[::turned])
    # Sources that agree may share a patient, who then stays on one side.
    assert split_units([sample("P001", source=name) for name in ("clinic", "other")])


def test_split_keeps_units_together_and_does_not_hang_on_the_order():
    samples = [sample(f"islam-G{i:03d}", number=n) for i in range(80) for n in range(3)]

    parts = split(samples, parts=PARTS)
    again = split(samples[::-1], parts=PARTS)

    assert {p: {s.image for s in held} for p, held in parts.items()} == {
        p: {s.image for s in held} for p, held in again.items()
    }
    assert len(parts["train"]) == pytest.approx(0.7 * len(samples), rel=0.1)


def test_a_leaking_split_is_refused():
    with pytest.raises(DatasetError, match="both train and test"):
        check_split({"train": [sample("islam-G024")], "test": [sample("islam-G025")]})


def test_thin_draws_at_most_so_many_of_each_group():
    samples = [sample("a", number=n) for n in range(30)] + [sample("b", number=1)]

    assert len(thin(samples, per_group=12, seed=1)) == 13
