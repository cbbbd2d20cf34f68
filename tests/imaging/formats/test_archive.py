import io
import zipfile

import pytest

from detection.imaging.errors import Code
from detection.imaging.formats import unpack
from detection.imaging.limits import LIMITS


def archive_with(path, name):
    """An archive of a good file and of one whose name is `name`, which no tool would write."""
    data = io.BytesIO()
    stand_in = b"?" * max(1, len(name))
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(stand_in.decode(), b"named oddly")
        archive.writestr("good", b"good")
    path.write_bytes(data.getvalue().replace(stand_in, name or b"\0"))
    return path


@pytest.mark.parametrize("name", [b"", b"\0", b"\0x", b".", b"./.", b".."])
def test_member_without_a_usable_name_is_refused_and_the_others_go_on(tmp_path, name):
    source = archive_with(tmp_path / "x.zip", name)
    (tmp_path / "unpacked").mkdir()
    odd, good = unpack(source, tmp_path / "unpacked", limits=LIMITS, files_left=9, bytes_left=10**6)

    assert (odd.code, odd.path) == (Code.UNSAFE_PATH, "")
    assert good.path


@pytest.mark.parametrize("name", [b"/", b"a/", b"//"])
def test_folder_is_no_member(tmp_path, name):
    source = archive_with(tmp_path / "x.zip", name)
    (tmp_path / "unpacked").mkdir()
    members = unpack(source, tmp_path / "unpacked", limits=LIMITS, files_left=9, bytes_left=10**6)

    assert [member.name for member in members] == ["good"]
