"""Small files with known content, made in memory."""

import struct
import zlib

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
)


def ct_dataset(stored=None, *, syntax=ExplicitVRLittleEndian, **changes):
    """A small CT image; `changes` are elements by keyword, None removes one."""
    stored = np.arange(48, dtype=np.int16).reshape(6, 8) if stored is None else stored
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    bits = stored.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelSpacing = [0.7, 0.8]
    dataset.SliceThickness = 3
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def write_ct(path, stored=None, **changes):
    ct_dataset(stored, **changes).save_as(path, enforce_file_format=True)
    return path


def png_bytes(*, width, height, bit_depth=8, colour_type=0, rows=b"", before=()):
    """A PNG by hand: for headers that promise what the data does not hold."""

    def chunk(name, data):
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    extra = b"".join(chunk(name, data) for name, data in before)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def write_series(
    folder,
    pixels_hu,
    *,
    origin=(-10.0, -20.0, -30.0),
    orientation=(1, 0, 0, 0, 1, 0),
    step=(0, 0, 2.0),
    names=None,
    syntax=ExplicitVRLittleEndian,
    series="1.2.3.4",
    each=None,
    **changes,
):
    """A series of single slices, `(slices, rows, columns)`; `each` maps an index to changes."""
    folder.mkdir(exist_ok=True, parents=True)
    paths = []
    for index, slice_hu in enumerate(pixels_hu):
        more = {
            "StudyInstanceUID": "1.2.3",
            "SeriesInstanceUID": series,
            "SOPInstanceUID": f"{series}.{index + 1}",
            "ImagePositionPatient": [float(o + index * s) for o, s in zip(origin, step)],  # noqa: B905
            "ImageOrientationPatient": list(orientation),
            # As misleading as it may be.
            "InstanceNumber": len(pixels_hu) - index,
            **changes,
            **(each(index) if each else {}),
        }
        dataset = ct_dataset((np.asarray(slice_hu) + 1024).astype(np.int16), **more)
        path = folder / (names[index] if names else f"{index:04d}")
        if syntax in (ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
            dataset.file_meta.TransferSyntaxUID = syntax
        elif syntax.is_compressed:
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
            if syntax == ExplicitVRBigEndian:
                dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
                dataset["PixelData"].VR = "OW"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def enhanced_dataset(pixels_hu, *, order=None, slopes=None, syntax=ExplicitVRLittleEndian):
    """An enhanced multi-frame CT (PS3.3, A.38), 2 mm slices; `order` is that of its frames."""
    count = len(pixels_hu)
    order = list(range(count)) if order is None else order
    slopes = [1] * count if slopes is None else slopes
    stored = np.stack([(pixels_hu[i] + 1024) // slopes[i] for i in order]).astype(np.int16)
    dataset = ct_dataset(stored[0], SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1")
    for name in (
        "PixelSpacing",
        "SliceThickness",
        "ImageOrientationPatient",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(dataset, name)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.9"
    dataset.NumberOfFrames = count

    def item(**elements):
        one = Dataset()
        for keyword, value in elements.items():
            setattr(one, keyword, value)
        return one

    dataset.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[0.7, 0.8], SliceThickness=2)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[-10, -20, -30 + 2.0 * i])],
            PixelValueTransformationSequence=[
                item(RescaleSlope=slopes[i], RescaleIntercept=-1024, RescaleType="HU")
            ],
            CTImageFrameTypeSequence=[item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])],
            FrameContentSequence=[item(FrameAcquisitionNumber=1)],
        )
        for i in order
    ]
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax.is_compressed and syntax != DeflatedExplicitVRLittleEndian:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def laid_out(dataset, *, preamble=True, meta=True, told=ExplicitVRLittleEndian, found=None):
    """The bytes of a data set in another layout than a program would write.

    Parameters
    ----------
    told : UID or None
        The Transfer Syntax UID of the file meta group; None leaves the element out.
    found : UID, optional
        The encoding that the data set really has, if another.
    """
    found = found or told or ExplicitVRLittleEndian
    data = DicomBytesIO()
    if preamble:
        data.write(bytes(128) + b"DICM")
    if meta:
        group = FileMetaDataset()
        group.MediaStorageSOPClassUID = CTImageStorage
        group.MediaStorageSOPInstanceUID = "1.2.3"
        if told:
            group.TransferSyntaxUID = told
        data.is_little_endian, data.is_implicit_VR = True, False
        write_file_meta_info(data, group, enforce_standard=False)
    data.is_little_endian, data.is_implicit_VR = found.is_little_endian, found.is_implicit_VR
    bare = Dataset()
    bare.update(dataset)
    if not found.is_little_endian:
        bare.PixelData = np.frombuffer(bare.PixelData, "<u2").astype(">u2").tobytes()
        bare["PixelData"].VR = "OW"
    write_dataset(data, bare)
    return data.getvalue()
