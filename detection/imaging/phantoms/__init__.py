"""Drawn bodies with known stones, for tests, demonstrations and the report on series."""

from detection.imaging.phantoms.series_files import write_phantom_volumes
from detection.imaging.phantoms.training_folder import write_phantoms
from detection.imaging.phantoms.volumes import (
    KnownStone,
    PhantomVolume,
    make_phantom_volume,
    place_stones,
)

__all__ = [
    "KnownStone",
    "PhantomVolume",
    "make_phantom_volume",
    "place_stones",
    "write_phantom_volumes",
    "write_phantoms",
]
