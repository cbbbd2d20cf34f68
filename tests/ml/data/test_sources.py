"""What `sources.csv` says of a source reaches every place that asks for it."""

import hashlib

import cv2
import numpy as np
import pytest

from detection.ml.data import halved_sources, load_dataset, split_units
from detection.ml.data.sources import KNOWN_SOURCES, SourceFacts
from detection.ml.errors import DatasetError

ALL = "source,boxes,groups_are_runs,neighbours_are_one_patient,halved,may_be_shown,credit\n"


@pytest.fixture
def folder(tmp_path):
    """Boxed stone images of a hospital and of Islam 2022, and stone-free ones of the hospital."""
    lines, boxes = ["image,source,label,finding,group"], ["image,x0,y0,x1,y1"]
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8), number, np.uint8))
        source = "islam2022" if number % 3 == 2 else "clinic"
        is_stone = source == "islam2022" or number % 3 == 0
        label = "stone" if is_stone else "no_stone"
        lines.append(f"{number}.png,{source},{label},{label},{source}-G{number:03d}")
        boxes += [f"{number}.png,1,1,3,3"] * is_stone
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "boxes.csv").write_text("\n".join(boxes) + "\n")
    return tmp_path


def fingerprint_without_the_file(dataset) -> str:
    """Compute it as it has always been computed: shipped bundles are named by it."""
    digest = hashlib.sha256()
    for one in dataset.samples:
        digest.update(repr((one.image, one.is_stone, one.group, one.boxes)).encode())
        digest.update(one.path.read_bytes())
    return digest.hexdigest()


def facts(folder):
    return {sample.source: sample.facts for sample in load_dataset(folder).samples}


def test_without_the_file_the_known_source_keeps_its_rules_and_data_their_fingerprint(folder):
    dataset = load_dataset(folder)

    assert facts(folder) == {"islam2022": KNOWN_SOURCES["islam2022"], "clinic": SourceFacts()}
    assert KNOWN_SOURCES["islam2022"].has_loose_boxes
    assert halved_sources(dataset.samples) == {"islam2022"}
    assert dataset.fingerprint == fingerprint_without_the_file(dataset)


def test_source_that_the_file_describes_is_treated_as_it_says(folder):
    (folder / "sources.csv").write_text(ALL + 'clinic,loose,yes,yes,yes,yes,"Clinic, CC BY"\n')

    dataset = load_dataset(folder)

    clinic = [sample for sample in dataset.samples if sample.source == "clinic"]
    assert all(sample.has_loose_boxes and sample.facts.groups_are_runs for sample in clinic)
    units = split_units(clinic)
    assert units["clinic-G000"] == units["clinic-G003"] != units["clinic-G004"]
    assert halved_sources(dataset.samples) == {"clinic", "islam2022"}
    assert facts(folder)["islam2022"] == KNOWN_SOURCES["islam2022"]
    assert (clinic[0].facts.may_be_shown, clinic[0].facts.credit) == (True, "Clinic, CC BY")


def test_line_about_a_known_source_overrides_what_it_says_and_no_more(folder):
    (folder / "sources.csv").write_text("source,boxes,halved\nislam2022,tight,no\n")

    islam = facts(folder)["islam2022"]

    assert (islam.has_loose_boxes, islam.is_halved) == (False, False)
    assert islam.neighbours_are_one_patient
    assert islam.groups_are_runs
    assert halved_sources(load_dataset(folder).samples) == frozenset()


def test_fingerprint_hangs_on_what_the_file_says_not_on_how_it_is_saved(folder):
    plain = load_dataset(folder).fingerprint

    def fingerprint(content: bytes) -> str:
        (folder / "sources.csv").write_bytes(content)
        return load_dataset(folder).fingerprint

    loose = fingerprint(b"source,boxes\nclinic,loose\n")

    assert loose != plain
    assert loose != fingerprint(b"source,boxes\nclinic,tight\n")
    assert loose == fingerprint(b"\xef\xbb\xbfsource;boxes;halved\r\nclinic ; Loose;\r\n;;\r\n")
    assert loose == fingerprint(b'"source","boxes"\r"clinic","loose"\r')


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "sources.csv holds no line"),
        (b"\xef\xbb\xbf\r\n", "sources.csv holds no line"),
        (b"source,boxes\n", "sources.csv holds no line"),
        (b"boxes\nloose\n", "sources.csv lacks the column source"),
        (b"source,box\nclinic,loose\n", "unknown column box.*boxes, groups_are_runs"),
        (b"source,boxes,boxes\nclinic,loose,tight\n", "names the column boxes twice"),
        (b"source,boxes\nclinic,lose\n", "line 2: boxes must be tight or loose, not 'lose'"),
        (b"source,halved\nclinic,1\n", "line 2: halved must be yes or no, not '1'"),
        (b"source,boxes\n\nklinik,loose\n", "line 3: no image of manifest.csv.*'klinik'"),
        (b"source,boxes\n,loose\n", "line 2: no image of manifest.csv"),
        (b"source,boxes\nclinic,loose\nclinic,tight\n", "line 3: .*'clinic'.*line 2"),
        (b"source,credit\nclinic,Clinic, 2026\n", "line 2: more values than columns"),
        (b"source,credit\nclinic,Universit\xe4t\n", "sources.csv is not UTF-8 text"),
        ("source,boxes\nclinic,loose\n".encode("utf-16"), "sources.csv is not UTF-8 text"),
        (b"source,boxes\nclinic,lo\0ose\n", "boxes must be|cannot be read"),
        (b'source,credit\nclinic,"' + b"x" * 200_000 + b'"\n', "sources.csv cannot be read"),
    ],
)
def test_wrong_file_is_refused_with_a_sentence(folder, content, sentence):
    (folder / "sources.csv").write_bytes(content)

    with pytest.raises(DatasetError, match=sentence):
        load_dataset(folder)


def test_manifest_and_boxes_that_excel_saved_are_read_as_any_other(folder):
    plain = load_dataset(folder)
    for name in ("manifest.csv", "boxes.csv"):
        text = (folder / name).read_text().replace(",", ";").replace("\n", "\r\n")
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text.encode())

    assert load_dataset(folder) == plain


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("manifest.csv", b"image,source,label,group\n\xe4.png,c,stone,g\n", "not UTF-8 text"),
        ("manifest.csv", b"image,source,label,group\n0.png\n", "line 2: the label must be"),
        ("manifest.csv", b"image,source,label,group\n0.png,a,b,stone,g\n", "more values than"),
        ("boxes.csv", b"image,x0,y0,x1,y1\n0.png,1,1,3\n", "boxes.csv, line 2: not a box"),
        ("boxes.csv", b"picture,x0,y0,x1,y1\n0.png,1,1,3,3\n", "boxes.csv, line 2: not a box"),
    ],
)
def test_wrong_manifest_or_boxes_are_refused_with_a_sentence(folder, name, content, sentence):
    (folder / name).write_bytes(content)

    with pytest.raises(DatasetError, match=sentence):
        load_dataset(folder)
