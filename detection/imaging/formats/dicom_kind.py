"""Tells from a DICOM header what an image is of: a slice, a map, a screenshot, which body part."""

import re

from pydicom.dataset import Dataset

from detection.imaging.errors import Code, ImageError, Notice
from detection.imaging.formats.burned_in import BURNED_IN

# Words of Image Type (0008,0008): terms of PS3.3, C.8.15.3.1.4 (Enhanced CT) and C.8.15.3.10
# (multi-energy CT), and names that perfusion and dual-energy programs of the vendors write. A mean
# over slices and a virtual monoenergetic image are slices in Hounsfield units, and are read.
_MAPS = {
    "perfusion map": (
        *("CBF", "CBV", "RCBF", "RCBV", "MTT", "RMTT", "TTP", "TTS", "TTD", "TMAX", "PBV", "PBF"),
        *("BF", "BV", "PMB", "PERMEABILITY"),
    ),
    "projection of many slices": ("MIP", "MINIP", "MAXIP", "MAXIMUM", "MINIMUM"),
    "difference or ratio of images": ("SUBTRACTION", "MASKED", "DIVISION", "MULTIPLICATION"),
    "material map": (
        *("MAT_SPECIFIC", "MAT_REMOVED", "MAT_FRACTIONAL", "MAT_MODIFIED", "MAT_VALUE_BASED"),
        *("EFF_ATOMIC_NUM", "ELECTRON_DENSITY", "IODINE", "VNC", "Z_EFF", "QUANTITY"),
    ),
}
_PAIRS = {("MAX", "IP"): "MAXIP", ("MIN", "IP"): "MINIP"}
_SCREEN = frozenset({"SCREEN", "SCREENSAVE", "DOSE_INFO"})
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# Body Part Examined (0018,0015), by the beginning of the term (PS3.16, annex L). The first table
# holds parts without a kidney.
_FAR = {
    "the head": ("HEAD", "BRAIN", "SKULL", "FACE", "ORBIT", "EYE", "EAR", "IAC", "SINUS", "JAW"),
    "the neck": ("NECK", "CSPINE", "CERVICALSPINE", "THYROID", "LARYNX", "PHARYNX", "CAROTID"),
    "the shoulder": ("SHOULDER", "CLAVICLE", "SCAPULA"),
    "an arm or a leg": (
        *(
            "ARM",
            "FOREARM",
            "ELBOW",
            "WRIST",
            "HAND",
            "FINGER",
            "HUMERUS",
            "EXTREMITY",
            "UPPERLIMB",
        ),
        *("LEG", "THIGH", "FEMUR", "KNEE", "CALF", "ANKLE", "FOOT", "TOE", "TIBIA", "LOWERLIMB"),
    ),
}
_NEAR = {
    "the chest": ("CHEST", "THORAX", "LUNG", "HEART", "CORONARY", "STERNUM", "RIB", "TSPINE"),
    "the breast": ("BREAST",),
    "the hip": ("HIP",),
}


def refuse_other_kinds(dataset: Dataset) -> None:
    """Refuse a screenshot and a map whose values are no slice in Hounsfield units.

    Raises
    ------
    ImageError
        With the code `SECONDARY_CAPTURE` or `DERIVED_MAP`.
    """
    words = _image_type(dataset)
    # Some converters call true slices captures; those say how they lie and what they measure.
    is_capture = str(dataset.get("SOPClassUID") or "").startswith(_SECONDARY_CAPTURE) and (
        dataset.get("RescaleSlope") is None or dataset.get("ImageOrientationPatient") is None
    )
    if is_capture or words & _SCREEN:
        raise ImageError(
            "This DICOM file is a secondary capture (a screenshot or a report), not a CT slice. "
            "Please upload the CT slices themselves.",
            code=Code.SECONDARY_CAPTURE,
        )
    for kind, names in _MAPS.items():
        # "PERFUSION" alone also stands on the scans from which the maps are made.
        if words & set(names) or (kind == "perfusion map" and words >= {"PERFUSION", "DERIVED"}):
            raise ImageError(
                f"This DICOM file is a {kind}, not a CT slice. "
                "Please upload the CT slices from which it was made.",
                code=Code.DERIVED_MAP,
            )


def kind_notices(dataset: Dataset) -> tuple[Notice, ...]:
    """Return notices on burnt-in text and on a part of the body that is not the abdomen."""
    notices = []
    if str(dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES":
        notices.append(BURNED_IN)
    told = re.sub("[^A-Z]", "", str(dataset.get("BodyPartExamined") or "").upper())
    for code, table in ((Code.BODY_PART_FAR, _FAR), (Code.BODY_PART_NEAR, _NEAR)):
        for part, terms in table.items():
            if told.startswith(terms) and not ("ABDOM" in told or "PELV" in told):
                sentence = (
                    f"The file says that it shows {part}. "
                    "Please check that the kidneys are in the image."
                )
                notices.append(Notice(code, sentence))
                return tuple(notices)
    return tuple(notices)


def _image_type(dataset: Dataset) -> set[str]:
    """Return the values of Image Type and the words in them, in upper case."""
    value = dataset.get("ImageType")
    values = [value] if isinstance(value, str) else [str(item) for item in value or ()]
    whole = {item.strip().upper() for item in values}
    parts = [re.split("[^A-Z]+", item) for item in whole]
    words = {word for part in parts for word in part if word}
    pairs = {_PAIRS.get(pair, "") for part in parts for pair in zip(part, part[1:], strict=False)}
    return (whole | words | pairs) - {""}
