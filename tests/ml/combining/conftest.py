"""A data folder of drawn bodies, and two bundles of small networks that mark what is bright."""

import csv

import cv2
import numpy as np
import pytest

from detection.ml.data import PARTS, load_dataset, split
from tests.networks import network_bundle
from tests.pictures import body


@pytest.fixture(scope="session")
def bodies(tmp_path_factory):
    """Sixty pictures of two sources, one with stone-free images, one with a box on each stone."""
    root = tmp_path_factory.mktemp("bodies")
    generator = np.random.default_rng(4)
    rows, boxes = [], []
    for index in range(60):
        is_boxed = index % 2 == 1
        is_stone = is_boxed or index % 4 == 0
        x, y = (115, 150) if index % 3 else (285, 165)
        # No spine is as bright as a stone: the networks know nothing but brightness.
        grey = np.minimum(body(), 150)
        if is_stone:
            cv2.circle(grey, (x, y), 5, int(generator.integers(165, 240)), -1)
        noise = generator.normal(0, 6, grey.shape)
        name = f"{index}.png"
        cv2.imwrite(str(root / name), np.where(grey, np.clip(grey + noise, 0, 255), 0))
        source = "yildirim2021" if is_boxed else "islam2022"
        label, finding = ("stone", "stone") if is_stone else ("no_stone", "normal")
        rows.append((name, source, label, finding, f"{source}-{4 * index:03d}", "axial"))
        if is_boxed:
            boxes.append((name, x - 5, y - 5, x + 6, y + 6))
    for file, header, held in (
        ("manifest.csv", ("image", "source", "label", "finding", "group", "view"), rows),
        ("boxes.csv", ("image", "x0", "y0", "x1", "y1"), boxes),
    ):
        with (root / file).open("w", newline="") as out:
            csv.writer(out).writerows([header, *held])
    return root


@pytest.fixture(scope="session")
def parts(bodies):
    return split(load_dataset(bodies).samples, parts=PARTS)


def members_of(bodies, *, root):
    """Write two networks that differ in what they call bright; their gates let all pass."""
    dataset = load_dataset(bodies)
    sizes = {name: len(held) for name, held in split(dataset.samples, parts=PARTS).items()}
    told = {"data": dataset.snapshot(), "split": sizes, "gate_passes": True}
    return [
        network_bundle(root, "sharp-1", gain=0.1, offset=-9.0, **told),
        network_bundle(root, "blunt-1", gain=0.03, offset=-5.0, **told),
    ]


@pytest.fixture
def members(tmp_path, bodies):
    return members_of(bodies, root=tmp_path / "models")
