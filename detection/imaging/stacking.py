"""What a planned series is as a volume: which frame goes where, and the header."""

from typing import Any

from detection.imaging.series import SeriesPlan


def files_of(plan: SeriesPlan) -> list[tuple[int, list[tuple[int, int]]]]:
    """For each file, by its row: which frame goes to which place of the volume."""
    files: dict[int, list[tuple[int, int]]] = {}
    is_reversed = plan.arrangement is not None and plan.arrangement.flips[0]
    for index, ref in enumerate(plan.slices):
        place = len(plan.slices) - 1 - index if is_reversed else index
        files.setdefault(ref.row, []).append((ref.facts.frame, place))
    return list(files.items())


def header_of(plan: SeriesPlan) -> dict[str, Any]:
    facts = plan.slices[0].facts
    rows, columns = facts.rows, facts.columns
    affine = None
    if plan.arrangement is not None:
        if plan.arrangement.order[1] == 2:
            rows, columns = columns, rows
        affine = [list(row) for row in plan.arrangement.affine_lps]
    return {
        "slices": len(plan.slices),
        "rows": rows,
        "columns": columns,
        "is_hu": facts.is_hu,
        "plane": plan.plane,
        "spacing_mm": list(plan.spacing_mm) if plan.spacing_mm else None,
        "caveats": [],
        "colour_spread": 0.0,
        "affine_lps": affine,
        "is_evenly_spaced": plan.is_evenly_spaced,
    }
