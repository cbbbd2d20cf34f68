"""Refuses images of another part of the body than the abdomen, with a sentence for each."""

from collections.abc import Sequence

from detection.imaging.anatomy import BodyPart, picture_part, volume_parts
from detection.imaging.errors import Code
from detection.imaging.volume import Volume

_ADVICE = "Please upload a slice at the level of the kidneys."
_SERIES_ADVICE = "Please upload a series at the level of the kidneys."
_NAMES = {
    BodyPart.HEAD: "the head",
    BodyPart.NECK: "the neck",
    BodyPart.SHOULDER: "the shoulders",
    BodyPart.CHEST: "the chest",
    BodyPart.PELVIS: "the pelvis",
    BodyPart.LIMB: "arms or legs",
    BodyPart.DETAIL: "a detail",
}
_DETAIL = (
    "The field of view is too small ({width_cm:.0f} cm wide): both kidneys cannot be in it. "
    "Please upload slices that show the whole width of the body."
)


def body_part_reason(volume: Volume) -> str:
    """Return the sentence that refuses an image before it is read, or "".

    A single slice in Hounsfield units is judged by its anatomy if it is or may be axial, a grey
    picture by skull and lungs. Beyond that, and in other planes, the pixels cannot tell, and a part
    far from the kidneys that the file names refuses it. The slices of an axial volume are judged
    one by one, when they are read (`parts_reason`).
    """
    is_single = volume.pixels.shape[0] == 1
    if volume.is_hu and is_single:
        (part,) = volume_parts(volume)
        if part is not BodyPart.ABDOMEN:
            return _slice_reason(part, volume)
    if volume.is_hu and volume.plane == "axial":
        return ""
    if not volume.is_hu:
        seen = {picture_part(grey) for grey in volume.pixels}
        if BodyPart.ABDOMEN not in seen:
            return _slice_reason(min(seen), volume)
    told = [notice for notice in volume.notices if notice.code == Code.BODY_PART_FAR]
    return f"{told[0].reason} {_ADVICE}" if told else ""


def part_names(parts: Sequence[BodyPart]) -> tuple[str, ...]:
    """Return what each slice shows, such as "the pelvis"; "" for the abdomen."""
    return tuple(_NAMES.get(part, "") for part in parts)


def parts_reason(parts: Sequence[BodyPart], volume: Volume) -> str:
    """Return the sentence for an axial volume in which no slice counts as abdomen."""
    if all(part is BodyPart.DETAIL for part in parts):
        return _slice_reason(BodyPart.DETAIL, volume)
    seen = [_NAMES[part] for part in BodyPart if part in parts and part in _NAMES]
    if not seen:
        return f"The slices show no body. {_SERIES_ADVICE}"
    listed = f"{', '.join(seen[:-1])} and {seen[-1]}" if len(seen) > 1 else seen[0]
    return (
        f"None of the {len(parts)} slices shows the level of the kidneys: they show {listed}. "
        f"{_SERIES_ADVICE}"
    )


def _slice_reason(part: BodyPart, volume: Volume) -> str:
    if part is BodyPart.DETAIL and volume.spacing_mm:
        width_cm = volume.spacing_mm[2] * volume.pixels.shape[2] / 10
        return _DETAIL.format(width_cm=width_cm)
    return f"The image shows {_NAMES[part]}, not the abdomen. {_ADVICE}"
