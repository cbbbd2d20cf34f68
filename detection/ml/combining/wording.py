"""Writes figures and differences in words, as a comparison has them."""

from typing import Any

from detection.ml.combining.paired import BETTER, WORSE

_DIGITS = {"share": 1, "number": 4, "seconds": 3}
_SCALES = {"share": 100.0}


def figure_text(figure: dict[str, Any], form: str) -> str:
    """Write a figure: `97.5 % (94.2 to 99.1)` or `0.9985 (0.9961 to 0.9998)`."""
    if figure["value"] is None:
        return "not measured"
    scale, digits = _SCALES.get(form, 1.0), _DIGITS[form]
    value, low, high = (f"{scale * figure[name]:.{digits}f}" for name in ("value", "low", "high"))
    sign = " %" if form == "share" else ""
    return f"{value}{sign} ({low} to {high})"


def difference_text(told: dict[str, Any], form: str) -> str:
    """Write a difference: `+0.5 (-0.2 to +1.1)`, in points of a share, in bold if it is shown."""
    if told["value"] is None or told["low"] is None:
        return "no difference measured"
    scale, digits = _SCALES.get(form, 1.0), _DIGITS[form]
    value, low, high = (
        f"{scale * told[name] + 0.0:+.{digits}f}" for name in ("value", "low", "high")
    )
    text = f"{value} ({low} to {high})"
    return f"**{text}**" if told["shows"] in (BETTER, WORSE) else text


def megabytes(count: float) -> str:
    """Write a number of bytes: `48.4 MB`."""
    return f"{count / 1e6:.1f} MB"


def listed(names: list[str]) -> str:
    """Join names by commas and a last "and"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
