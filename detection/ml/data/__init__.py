"""Labelled images: data folder, parts by patient, what is judged."""

from detection.ml.data.copies import (
    HASH_BITS,
    MAX_DISTANCE,
    SPLIT_FILE,
    check_near_copies,
    check_split_file,
    near_copies,
)
from detection.ml.data.dataset import (
    PARTS,
    Box,
    Dataset,
    Sample,
    check_split,
    deal,
    load_dataset,
    split,
    split_units,
    thin,
)
from detection.ml.data.items import (
    LEFT,
    RIGHT,
    UNIT,
    Item,
    halved_sources,
    is_near_box,
    judged_items,
)

__all__ = [
    "Box",
    "Dataset",
    "HASH_BITS",
    "Item",
    "LEFT",
    "MAX_DISTANCE",
    "PARTS",
    "RIGHT",
    "SPLIT_FILE",
    "Sample",
    "UNIT",
    "check_near_copies",
    "check_split",
    "check_split_file",
    "deal",
    "halved_sources",
    "is_near_box",
    "judged_items",
    "load_dataset",
    "near_copies",
    "split",
    "split_units",
    "thin",
]
