"""The page about the model in service, and the figures of its card."""

from typing import Any

from django.contrib.auth.decorators import login_required, permission_required
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from detection.selectors.model_card import (
    intended_use,
    model_card,
    model_card_figure,
    model_manifest,
    model_members,
)
from detection.selectors.registry import activation_list

Manifest = dict[str, Any]
# The page shows these first, in this order; other points follow.
POINTS = ("balanced", "rule_out", "rule_in")
# How the weights of an ensemble came about.
COMBINATIONS = {
    "mean": "All members weigh the same.",
    "stacking": "The weights were fitted by stacking.",
    "pso": "The weights were found by particle swarm optimisation.",
    "ga": "The weights were found by a genetic algorithm.",
}


@login_required
@permission_required("detection.view_study", raise_exception=True)
@require_safe
def model_page(request: HttpRequest) -> HttpResponse:
    activation = activation_list().first()
    model_version = activation.model_version if activation else None
    manifest = model_manifest(model_version=model_version) if model_version else None
    card = model_card()
    is_own_card = bool(card and model_version and card.describes(model_version))
    context = {
        "activation": activation,
        "model_version": model_version,
        "manifest": manifest,
        "points": _points(manifest),
        "measured": _measured(manifest),
        "facts": _facts(manifest),
        "members": model_members(model_version=model_version) if model_version else [],
        "combination": _combination(manifest),
        "card": card if is_own_card else None,
        "other_card": card if card and not is_own_card else None,
        **intended_use(),
    }
    return render(request, "detection/model.html", context)


@login_required
@permission_required("detection.view_study", raise_exception=True)
@require_safe
def model_figure(request: HttpRequest, name: str) -> FileResponse:
    path = model_card_figure(name=name)
    if path is None:
        raise Http404
    response = FileResponse(path.open("rb"))
    response["Cache-Control"] = "private, max-age=300"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _points(manifest: Manifest | None) -> list[dict[str, Any]]:
    """List the operating points, the default one marked."""
    if not manifest:
        return []
    held = manifest.get("operating_points", {})
    names = [name for name in POINTS if name in held]
    names += [name for name in held if name not in POINTS]
    default = manifest.get("default_operating_point")
    return [
        held[name] | {"title": name.replace("_", "-"), "is_default": name == default}
        for name in names
    ]


def _combination(manifest: Manifest | None) -> str:
    """Say how the weights of an ensemble came about; "" if it is none, or does not say."""
    method = (manifest or {}).get("combination", {}).get("method", "")
    return COMBINATIONS.get(method, method)


def _measured(manifest: Manifest | None) -> list[dict[str, Any]]:
    """List what training measured: one row for each part and source."""
    rows = []
    parts = manifest.get("metrics", {}) if manifest else {}
    for part, sources in parts.items():
        if not isinstance(sources, dict):
            continue
        for source, figures in sources.items():
            if isinstance(figures, dict) and "auc" in figures:
                rows.append(figures | {"part": part, "source": source})
    return rows


def _facts(manifest: Manifest | None) -> list[tuple[str, Any]]:
    """List provenance as (name, value), in words."""
    if not manifest:
        return []
    training, data = manifest.get("training", {}), manifest.get("data", {})
    made, serving = manifest.get("provenance", {}), manifest.get("serving", {})
    calibration = manifest.get("calibration", {})
    packages = ", ".join(f"{name} {held}" for name, held in made.get("packages", {}).items())
    facts = [
        ("Architecture", manifest.get("architecture")),
        ("Started from", training.get("init")),
        (
            "Trained",
            training and f"{training.get('epochs')} epochs, seed {training.get('seed')}",
        ),
        (
            "Training data",
            data
            and f"{data.get('images')} images ({data.get('stone_images')} with a stone) of "
            f"{data.get('groups')} patient groups",
        ),
        ("Data fingerprint", str(data.get("fingerprint", ""))[:16]),
        (
            "Calibration",
            f"Platt scaling on held-out patients: slope {calibration.get('slope', 1):.3f}, "
            f"intercept {calibration.get('intercept', 0):.3f}",
        ),
        ("Served as", serving.get("precision")),
        ("Made", made.get("created")),
        ("Commit", str(made.get("commit", ""))[:12]),
        ("Software", f"Python {made.get('python', '')}, {packages}"),
    ]
    return [(name, value) for name, value in facts if value]
