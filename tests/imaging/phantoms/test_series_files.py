import csv
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from detection.imaging.ingest import ingest
from detection.imaging.ingest.jobs import InProcess
from detection.imaging.measure import measure_stone, to_lps
from detection.imaging.phantoms import KnownStone, make_phantom_volume, write_phantom_volumes
from detection.imaging.phantoms.series_files import ENCODINGS, write_encoding
from detection.imaging.volume import load_volume

STONES = (
    KnownStone(centre_lps_mm=(70.0, 27.0, 11.0), diameters_mm=(7.0, 6.0, 6.0), hu=900),
    KnownStone(centre_lps_mm=(-71.0, 25.0, -9.0), diameters_mm=(10.0, 9.0, 12.0), hu=1100),
)
AXIAL = [encoding for encoding in ENCODINGS if encoding.plane == "axial"]


@pytest.fixture(scope="module")
def phantom():
    return make_phantom_volume(
        STONES, generator=np.random.default_rng(3), slice_mm=2.0, pixel_mm=1.0, height_mm=44
    )


@pytest.fixture
def read(phantom, tmp_path):
    def read(encoding):
        folder, target = tmp_path / encoding.name, tmp_path / "volumes"
        target.mkdir()
        write_encoding(phantom.volume, folder, encoding, generator=np.random.default_rng(1))
        (series,) = ingest([folder], target_folder=target, worker=InProcess()).series
        return load_volume(series.volume_path)

    return read


def test_there_are_at_least_seven_encodings_of_the_axial_slices():
    assert len(AXIAL) >= 7


@pytest.mark.parametrize("encoding", AXIAL, ids=lambda encoding: encoding.name)
def test_every_axial_encoding_is_the_same_volume(phantom, read, encoding):
    volume = read(encoding)

    assert volume.plane == "axial"
    assert np.array_equal(volume.pixels, phantom.volume.pixels)
    assert np.allclose(volume.affine_lps, phantom.volume.affine_lps, atol=1e-3)
    assert volume.spacing_mm == pytest.approx(phantom.volume.spacing_mm, abs=1e-4)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)
def test_stones_are_in_place_in_every_encoding(read, encoding):
    volume = read(encoding)
    inverse = np.linalg.inv(np.array(volume.affine_lps))

    for stone in STONES:
        seed = tuple(int(v) for v in np.rint(inverse @ (*stone.centre_lps_mm, 1.0))[:3])
        measured = measure_stone(volume, seed)
        assert to_lps(volume, measured.centre) == pytest.approx(stone.centre_lps_mm, abs=0.4)
        assert measured.diameter_mm == pytest.approx(stone.diameter_mm, abs=0.7)
        assert measured.peak_hu == pytest.approx(stone.hu, abs=12)


@pytest.mark.parametrize("name", ["dicom", "dicom-mirrored", "dicom-coronal"])
def test_another_reader_finds_the_stones_in_the_same_place(phantom, tmp_path, name):
    encoding = next(one for one in ENCODINGS if one.name == name)
    write_encoding(phantom.volume, tmp_path, encoding, generator=np.random.default_rng(1))

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()

    for stone in STONES:
        index = image.TransformPhysicalPointToIndex(stone.centre_lps_mm)
        assert image[index] == pytest.approx(stone.hu, abs=60)


def test_file_names_tell_neither_order_nor_kind(phantom, tmp_path):
    write_encoding(phantom.volume, tmp_path, ENCODINGS[0], generator=np.random.default_rng(1))

    assert len(list(tmp_path.iterdir())) == phantom.volume.pixels.shape[0]
    assert not any(path.suffix for path in tmp_path.iterdir())


def test_folder_of_volumes_names_its_truth(tmp_path):
    assert write_phantom_volumes(tmp_path, volumes=1, seed=1) == 1

    with (tmp_path / "stones.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["series"] == "phantom_000_dicom"
    assert row["side"] == ("left" if float(row["x_mm"]) > 0 else "right")
    assert "No person was measured" in (tmp_path / "README.md").read_text()


def test_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("four years of work")

    with pytest.raises(FileExistsError, match="left as it is"):
        write_phantom_volumes(tmp_path, volumes=1, seed=1)


def test_no_volumes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="positive"):
        write_phantom_volumes(tmp_path / "new", volumes=0, seed=1)


def test_flipping_an_encoding_twice_changes_nothing(phantom):
    # The writer's own geometry: a flipped axis and its origin go together.
    from detection.imaging.phantoms.series_files import _turned

    encoding = replace(ENCODINGS[0], flipped=(0, 1, 2))
    pixels, matrix = _turned(phantom.volume, encoding)
    straight = np.array(phantom.volume.affine_lps)

    end = np.array([*(np.array(pixels.shape)[::-1] - 1), 1.0])
    assert np.allclose(matrix @ end, straight @ (0, 0, 0, 1.0))
    assert pixels[-1, -1, -1] == phantom.volume.pixels[0, 0, 0]
