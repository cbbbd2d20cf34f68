"""Writes synthetic volumes as DICOM series and NIfTI files, in many encodings."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from detection.imaging.phantoms.volumes import (
    KnownStone,
    PhantomVolume,
    make_phantom_volume,
    place_stones,
)
from detection.imaging.volume import Volume

MARK = "phantom-volumes.json"
Orientation = Literal["axial", "coronal", "sagittal"]
# The axes of an axial volume (slice, row, column) in the order of another plane.
_ORDERS = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}


@dataclass(frozen=True)
class Encoding:
    """One way to write the same body.

    `flipped` names the axes (0 slices, 1 rows, 2 columns) that run against the canonical order.
    """

    name: str
    is_nifti: bool = False
    plane: Orientation = "axial"
    flipped: tuple[int, ...] = ()
    is_shuffled: bool = True
    slope: float = 1.0
    is_compressed: bool = False


ENCODINGS = (
    Encoding("dicom"),
    Encoding("dicom-head-first", flipped=(0,)),
    Encoding("dicom-mirrored", flipped=(1, 2)),
    Encoding("dicom-slopes", slope=0.5),
    Encoding("dicom-jpeg2000", is_compressed=True),
    Encoding("nifti", is_nifti=True),
    Encoding("nifti-flipped", is_nifti=True, flipped=(0, 2)),
    Encoding("dicom-coronal", plane="coronal"),
    Encoding("dicom-sagittal", plane="sagittal", flipped=(2,)),
    Encoding("nifti-coronal", is_nifti=True, plane="coronal", flipped=(1,)),
)


def write_encoding(
    volume: Volume, folder: Path, encoding: Encoding, *, generator: np.random.Generator
) -> None:
    """Write a canonical axial volume in HU into a folder, in one of the encodings.

    Parameters
    ----------
    folder : Path
        Created if missing. DICOM gets a file for each slice, with a random name without extension,
        and instance numbers that are shuffled if the encoding says so. NIfTI gets one compressed
        file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pixels_hu, matrix = _turned(volume, encoding)
    if encoding.is_nifti:
        _write_nifti(folder / "phantom.nii.gz", pixels_hu, matrix)
    else:
        _write_dicom(folder, pixels_hu, matrix, encoding, generator)


def write_phantom_volumes(folder: Path, *, volumes: int, seed: int) -> int:
    """Write phantoms as series below a folder, the encodings in turn, with the truth.

    Two of three bodies have one to four stones. `stones.csv` lists the series of each stone, its
    centre in LPS mm, its diameters along x, y and z in mm, its HU and its side.

    Returns
    -------
    int
        Number of volumes that hold a stone.

    Raises
    ------
    FileExistsError
        If the folder holds other files; nothing is changed then.
    ValueError
        If the number is not positive.
    """
    if volumes < 1:
        raise ValueError(f"The number of volumes must be positive, not {volumes}.")
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise FileExistsError(
            f"{folder} already holds something else, which is left as it is. "
            "Please name an empty or a new folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text(json.dumps({"volumes": volumes, "seed": seed}) + "\n")
    (folder / "README.md").write_text(_README.format(volumes=volumes, seed=seed))
    rows: list[tuple[str | float, ...]] = []
    with_stones = 0
    for number in range(volumes):
        generator = np.random.default_rng([seed, number])
        phantom = draw(number, generator)
        encoding = ENCODINGS[number % len(ENCODINGS)]
        name = f"phantom_{number:03d}_{encoding.name}"
        for old in (folder / name).glob("*"):
            old.unlink()
        write_encoding(phantom.volume, folder / name, encoding, generator=generator)
        with_stones += bool(phantom.stones)
        rows += [(name, *_truth(stone)) for stone in phantom.stones]
    with (folder / "stones.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("series", "x_mm", "y_mm", "z_mm", "dx_mm", "dy_mm", "dz_mm", "hu", "side"))
        writer.writerows(rows)
    return with_stones


def draw(number: int, generator: np.random.Generator) -> PhantomVolume:
    """Draw the phantom of a number: slices of 1 to 5 mm, and no stone in every third body."""
    count = 0 if number % 3 == 2 else 1 + number % 4
    stones = place_stones(
        generator.uniform(1, 15, count).tolist(),
        hu=generator.uniform(150, 1200, count).tolist(),
        generator=generator,
    )
    return make_phantom_volume(
        stones,
        generator=generator,
        slice_mm=(2.0, 1.0, 3.0, 5.0)[number % 4],
        noise_hu=float(generator.uniform(8, 20)),
        has_arms=number % 2 == 1,
    )


def _truth(stone: KnownStone) -> tuple[str | float, ...]:
    numbers = (*stone.centre_lps_mm, *stone.diameters_mm, stone.hu)
    return (*(round(number, 2) for number in numbers), stone.side)


def _turned(volume: Volume, encoding: Encoding) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Return the pixels in the encoding's order, and the matrix from their indices to LPS mm."""
    order = _ORDERS[encoding.plane]
    pixels_hu = volume.pixels.transpose(order)
    matrix = np.array(volume.affine_lps, np.float64)
    # Pixels are (slice, row, column), the matrix takes (column, row, slice).
    axes = [matrix[:, 2 - axis] for axis in order]
    origin = matrix[:, 3]
    for axis in range(3):
        # Coronal and sagittal pictures have the head up: their rows run to the feet.
        is_flipped = (axis in encoding.flipped) != (encoding.plane != "axial" and axis == 1)
        if is_flipped:
            pixels_hu = np.flip(pixels_hu, axis)
            origin = origin + axes[axis] * (pixels_hu.shape[axis] - 1)
            axes[axis] = -axes[axis]
    return np.ascontiguousarray(pixels_hu), np.stack([*axes[::-1], origin], axis=1)


def _write_nifti(path: Path, pixels_hu: NDArray[np.int16], matrix: NDArray[np.float64]) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(pixels_hu)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing([float(side) for side in spacing])
    image.SetDirection([float(v) for v in (matrix[:3, :3] / spacing).ravel()])
    image.SetOrigin([float(v) for v in matrix[:3, 3]])
    sitk.WriteImage(image, str(path), useCompression=True)


def _write_dicom(
    folder: Path,
    pixels_hu: NDArray[np.int16],
    matrix: NDArray[np.float64],
    encoding: Encoding,
    generator: np.random.Generator,
) -> None:
    study, series, frame = (
        generate_uid(entropy_srcs=[str(generator.integers(1 << 60)), kind])
        for kind in ("study", "series", "frame")
    )
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    along_row, along_column = (matrix[:3, axis] / spacing[axis] for axis in (0, 1))
    count = len(pixels_hu)
    numbers = generator.permutation(count) if encoding.is_shuffled else np.arange(count)
    names = generator.choice(1 << 40, count, replace=False)
    for index in range(count):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
        uid = generate_uid(entropy_srcs=[series, str(index)])
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.FrameOfReferenceUID = frame
        dataset.Modality = "CT"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", encoding.plane.upper()]
        dataset.PatientName, dataset.PatientID = "Phantom", "PHANTOM"
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = "Synthetic: no person was measured"
        dataset.InstanceNumber = int(numbers[index]) + 1
        dataset.ImageOrientationPatient = [_ds(v) for v in (*along_row, *along_column)]
        place = matrix[:3, 3] + matrix[:3, 2] * index
        dataset.ImagePositionPatient = [_ds(v) for v in place]
        dataset.PixelSpacing = [_ds(spacing[1]), _ds(spacing[0])]
        dataset.SliceThickness = _ds(spacing[2])
        dataset.Rows, dataset.Columns = pixels_hu.shape[1:]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 1
        # Scanners may choose an intercept for each slice; the HU come out the same.
        intercept = -1024 if encoding.slope == 1.0 else -1024 + index % 3
        dataset.RescaleSlope, dataset.RescaleIntercept = encoding.slope, intercept
        dataset.RescaleType = "HU"
        stored = np.rint((pixels_hu[index] - intercept) / encoding.slope).astype("<i2")
        dataset.PixelData = stored.tobytes()
        dataset["PixelData"].VR = "OW"
        if encoding.is_compressed:
            dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        dataset.save_as(folder / f"{int(names[index]):010x}", enforce_file_format=True)


def _ds(value: float) -> str:
    """Write a number as DICOM's decimal string, which has room for 16 characters."""
    return f"{value + 0.0:.10g}"


_README = """# Phantoms: synthetic CT volumes

{volumes} drawn bodies (seed {seed}) with known stones, made by `manage.py make_phantoms --volumes`.
No person was measured. They prove geometry and measurement, not that a stone in a person is found.

Each folder is one series, in another encoding: DICOM with shuffled names and without extensions,
flipped axes, other planes, rescale slopes, JPEG 2000, and NIfTI. `stones.csv`: series, centre in
LPS mm (x to the left, y to the back, z to the head), diameters along x, y, z in mm, HU, side.
"""
