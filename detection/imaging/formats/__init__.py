"""Decoders for each kind of image file; untrusted files reach them through `ingest` alone."""

from detection.imaging.formats.archive import Member, is_system_file, unpack
from detection.imaging.formats.dicom_facts import (
    SeriesKeys,
    SliceFacts,
    opaque,
    read_identifiers,
    slice_facts,
)
from detection.imaging.formats.dicom_header import (
    Identifiers,
    damage_named,
    frame_datasets,
    open_dicom,
)
from detection.imaging.formats.dicom_pixels import decode_frame, frames_of, representable_hu
from detection.imaging.formats.kinds import HEAD_BYTES, PICTURE_KINDS, Kind, sniff
from detection.imaging.formats.nifti import convert_nifti, is_nifti_gzip
from detection.imaging.formats.picture import decode_picture
from detection.imaging.formats.single_image import check_size, decode_file

__all__ = [
    "HEAD_BYTES",
    "PICTURE_KINDS",
    "Identifiers",
    "Kind",
    "Member",
    "SeriesKeys",
    "SliceFacts",
    "check_size",
    "convert_nifti",
    "damage_named",
    "decode_file",
    "decode_frame",
    "decode_picture",
    "frame_datasets",
    "frames_of",
    "is_nifti_gzip",
    "is_system_file",
    "opaque",
    "open_dicom",
    "read_identifiers",
    "representable_hu",
    "slice_facts",
    "sniff",
    "unpack",
]
