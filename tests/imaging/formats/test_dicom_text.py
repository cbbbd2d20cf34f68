"""Names in the character sets of the world, said rightly, wrongly or not at all."""

import pytest

from detection.imaging.formats import damage_named, read_identifiers
from tests.imaging.synthetic import ct_dataset, laid_out

CHINESE, KOREAN, JAPANESE = (
    "Zhang^San=张^三",
    "Hong^Gildong=洪^吉洞=홍^길동",
    "Yamada^Tarou=山田^太郎",
)
GB2312 = b"Zhang^San=\x1b$)A\xd5\xc5^\x1b$)A\xc8\xfd"
KANA = b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J"
KATAKANA = "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎"
KSX = (
    b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"
)
JIS = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"


def name_of(tmp_path, raw, told, keyword="PatientName", **layout):
    dataset = ct_dataset(SpecificCharacterSet=told)
    dataset.add_new(keyword, "UN", raw + b" " * (len(raw) % 2))
    data = laid_out(dataset, **layout)
    # Written under its own value representation, as it comes from a scanner.
    vr = {"PatientName": b"PN", "PatientID": b"LO"}[keyword]
    tag = {"PatientName": b"\x10\x00\x10\x00", "PatientID": b"\x10\x00\x20\x00"}[keyword]
    length = len(raw) + len(raw) % 2
    data = data.replace(
        tag + b"UN\0\0" + length.to_bytes(4, "little"), tag + vr + length.to_bytes(2, "little")
    )
    (tmp_path / "x").write_bytes(data)
    with damage_named():
        identifiers, _ = read_identifiers(tmp_path / "x")
    return identifiers.patient_name if keyword == "PatientName" else identifiers.patient_id


@pytest.mark.parametrize(
    ("raw", "told", "name"),
    [
        pytest.param(GB2312, ["", "ISO 2022 IR 58"], CHINESE, id="IR 58"),
        pytest.param(GB2312, ["ISO 2022 IR 6", "ISO 2022 IR 58"], CHINESE, id="IR 6 and 58"),
        pytest.param(GB2312, "ISO 2022 IR 58", CHINESE, id="IR 58 alone"),
        pytest.param(GB2312, ["ISO 2022 IR 100", "ISO 2022 IR 58"], CHINESE, id="IR 100 and 58"),
        pytest.param(GB2312, "ISO_IR 100", CHINESE, id="IR 58, called Latin"),
        pytest.param(GB2312, None, CHINESE, id="IR 58, not said"),
        pytest.param(KSX, "ISO_IR 100", KOREAN, id="IR 149, called Latin"),
        pytest.param(JIS, None, JAPANESE, id="IR 87, not said"),
        pytest.param(KANA, ["ISO 2022 IR 13", "ISO 2022 IR 87"], KATAKANA, id="IR 13 and 87"),
        pytest.param(KSX, ["", "ISO 2022 IR 149"], KOREAN, id="IR 149"),
        pytest.param(JIS, ["", "ISO 2022 IR 87"], JAPANESE, id="IR 87"),
        pytest.param(CHINESE.encode("gb18030"), "GB18030", CHINESE, id="GB18030"),
        pytest.param(CHINESE.encode("gbk"), "GBK", CHINESE, id="GBK"),
        pytest.param(CHINESE.encode(), "ISO_IR 192", CHINESE, id="UTF-8"),
        pytest.param(CHINESE.encode(), "ISO_IR 100", CHINESE, id="UTF-8, called Latin"),
        pytest.param(CHINESE.encode(), None, CHINESE, id="UTF-8, not said"),
        pytest.param("Müller^Jörg".encode(), "ISO_IR 100", "Müller^Jörg", id="umlauts in UTF-8"),
        pytest.param("Müller^Jörg".encode("latin-1"), "ISO_IR 100", "Müller^Jörg", id="Latin"),
        pytest.param("Müller^Jörg".encode("latin-1"), None, "Müller^Jörg", id="Latin, not said"),
        pytest.param("Люкceмбypг".encode("iso8859_5"), "ISO_IR 144", "Люкceмбypг", id="Cyrillic"),
        pytest.param(b"Plain^Name", None, "Plain^Name", id="plain"),
    ],
)
def test_name_is_read_without_remains_of_its_encoding(tmp_path, raw, told, name):
    if told is None:
        told = ""

    assert name_of(tmp_path, raw, told) == name
    assert name_of(tmp_path, raw, told, preamble=False) == name


def test_number_of_a_patient_is_read_alike(tmp_path):
    raw = b"\x1b$)A\xd5\xc5-17"

    assert name_of(tmp_path, raw, ["", "ISO 2022 IR 58"], keyword="PatientID") == "张-17"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("told", ["ISO_IR 999", "nonsense", ["", "ISO 2022 IR 999"]])
def test_unknown_set_gives_some_name_and_no_error(tmp_path, told):
    assert name_of(tmp_path, GB2312, told).startswith("Zhang^San")
