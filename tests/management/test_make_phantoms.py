from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from detection.imaging.phantoms import write_phantoms
from detection.ml.data import load_dataset


def test_phantoms_go_below_the_training_data(settings):
    output = StringIO()
    call_command("make_phantoms", images=8, seed=3, stdout=output)

    folder = settings.TRAINING_DATA_ROOT / "phantoms"
    assert load_dataset(folder).snapshot()["images"] == 8
    assert "8 synthetic images" in output.getvalue()


def test_out_names_another_folder(tmp_path):
    call_command("make_phantoms", out=tmp_path / "here", images=8, stdout=StringIO())

    assert (tmp_path / "here" / "manifest.csv").is_file()


def test_folder_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("four years of work")

    with pytest.raises(CommandError, match="already holds something else"):
        call_command("make_phantoms", out=tmp_path, stdout=StringIO())

    assert (tmp_path / "thesis.txt").read_text() == "four years of work"


@pytest.mark.parametrize(
    ("options", "words"), [({"images": 3}, "at least 8"), ({"seed": -1}, "negative")]
)
def test_numbers_that_make_no_folder_are_refused(tmp_path, options, words):
    with pytest.raises(CommandError, match=words):
        call_command("make_phantoms", out=tmp_path / "new", stdout=StringIO(), **options)

    assert not (tmp_path / "new").exists()


def test_file_in_the_way_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(CommandError, match=r"cannot be written|already holds"):
        call_command("make_phantoms", out=tmp_path / "file" / "new", stdout=StringIO())


def test_folder_made_before_is_filled_anew(tmp_path):
    write_phantoms(tmp_path, images=10, seed=1)
    call_command("make_phantoms", out=tmp_path, images=8, stdout=StringIO())

    assert load_dataset(tmp_path).snapshot()["images"] == 8


def test_volumes_are_written_below_the_data_folder(settings):
    output = StringIO()
    call_command("make_phantoms", images=8, volumes=1, stdout=output)

    folder = settings.DATA_DIR / "phantom-volumes"
    assert len(list((folder / "phantom_000_dicom").iterdir())) == 110
    assert (folder / "stones.csv").read_text().count("phantom_000_dicom") == 1
    assert "1 synthetic series" in output.getvalue()
