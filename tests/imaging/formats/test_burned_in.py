import cv2
import numpy as np
import pytest

from detection.imaging.errors import Code
from detection.imaging.formats import decode_file
from detection.imaging.formats.burned_in import has_burned_in_text
from tests.pictures import body

TEXTS = ("DOE^JANE 1961-04-02", "Im: 34/112", "kVp 120 mA 240", "Hospital of St. John")


def written(text, *, size, at=(4, 16), shape=(512, 512), level=255):
    picture = cv2.resize(body(), (shape[1] - 80, shape[0] - 120))
    picture = np.pad(picture, ((80, 40), (40, 40)))
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, level, 1, cv2.LINE_AA)
    return picture


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(("size", "level"), [(0.45, 255), (0.5, 200), (0.7, 255)])
def test_text_beside_the_body_is_seen(text, size, level):
    assert has_burned_in_text(written(text, size=size, level=level))


def test_text_is_seen_after_jpeg():
    _, data = cv2.imencode(".jpg", written(TEXTS[0], size=0.5), [cv2.IMWRITE_JPEG_QUALITY, 75])

    assert has_burned_in_text(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize("text", ["", "R", "L 5", "20cm"])
def test_side_letters_and_scales_are_none(text):
    assert not has_burned_in_text(written(text, size=0.6))


def test_a_ruler_and_a_table_are_none():
    picture = written("", size=0.5)
    for y in range(60, 460, 20):
        cv2.line(picture, (500, y), (508, y), 255, 1)
    cv2.ellipse(picture, (256, 300), (240, 200), 0, 20, 160, 220, 2)

    assert not has_burned_in_text(picture)


def test_a_picture_with_text_has_a_notice(tmp_path):
    for name, text in (("with", TEXTS[0]), ("without", "")):
        cv2.imwrite(str(tmp_path / f"{name}.png"), written(text, size=0.5))

    codes = [
        [notice.code for notice in decode_file(tmp_path / f"{name}.png").notices]
        for name in ("with", "without")
    ]
    assert codes == [[Code.EIGHT_BIT, Code.BURNED_IN], [Code.EIGHT_BIT]]
