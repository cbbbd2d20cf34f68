"""Writes the model card from the metrics of a report, as sections and as Markdown."""

from typing import Any

from detection.ml.card.evidence import (
    POINTS,
    Metrics,
    ablation,
    baselines,
    evidence,
    failures,
    gate,
    picture,
    precision,
    published,
    robustness,
    subgroups,
)
from detection.ml.card.form import Items, Section, Text, bounded, markdown, number, share, table
from detection.ml.card.words import POINTS_CHOSEN, SOURCES, intended_use


def card_text(metrics: Metrics) -> str:
    """Write the model card as Markdown."""
    return markdown(f"Model card: {metrics['model']['name']}", card_sections(metrics))


def card_sections(metrics: Metrics) -> list[Section]:
    """Write the sections of the model card, without parts that were not measured."""
    sections = [
        _head(metrics),
        _bar(metrics),
        intended_use(),
        _data(metrics),
        _verdicts(metrics),
        _operating_points(metrics),
        _predictive_values(metrics),
        _calibration(metrics),
        _localisation(metrics),
        evidence(metrics),
        robustness(metrics),
        gate(metrics),
        subgroups(metrics),
        baselines(metrics),
        ablation(metrics),
        precision(metrics),
        published(metrics),
        failures(metrics),
        _provenance(metrics),
    ]
    return [section for section in sections if section.blocks]


def _head(m: Metrics) -> Section:
    part = m["data"]["parts"][m["part"]]
    run = m["run"]
    return Section(
        "About these figures",
        (
            Text(
                f"{m['model']['architecture']}. Decision support for research use, not a diagnosis."
            ),
            Text(
                f"Measured on the {m['part']} part of the fixed split: {part['images']} images of "
                f"{part['groups']} patient groups that are not in training. One command makes all "
                "of it: `python -m detection.ml report DATA_FOLDER --out docs/model-card`."
            ),
            Text(
                "In brackets: n, and the 95 % interval. For a share it is the wider of Wilson's "
                f"interval and a bootstrap over patient groups ({run['bootstrap_resamples']} "
                f"resamples, percentiles, seed {run['bootstrap_seed']}); for other figures it is "
                "the bootstrap. With so few groups the intervals say more than the decimals. "
                "`metrics.json` holds every figure with its unit, groups and method."
            ),
        ),
    )


def _bar(m: Metrics) -> Section:
    rows = []
    for row in m["bar"]:
        is_share = row["kind"] == "share"
        limit = f"{100 * row['limit']:.1f} %" if is_share else f"{row['limit']:g}"
        measured = share(row["figure"]) if is_share else number(row["figure"])
        met = {True: "yes", False: "**no**", None: "not measured"}[row["met"]]
        rows.append((row["what"], f"{row['sense']} {limit}", measured, met))
    return Section(
        "Targets",
        (
            table(("what", "asked", "measured", "met"), rows),
            Text(
                "Accuracy counts an image that the input gate refuses as wrong. The best accuracy "
                "chooses its threshold on the items it is measured on, and so flatters. A high "
                "score on the Islam images says little by itself: there the stone images are "
                "non-contrast and most others contrast-enhanced. The Yildirim halves and the "
                "deletion test are where the model is judged."
            ),
        ),
    )


def _data(m: Metrics) -> Section:
    parts = list(m["data"]["parts"])
    copies = m["data"]["near_copies"]
    rows = [
        (
            row["source"],
            row["finding"],
            *(f"{row[name]['images']} / {row[name]['groups']}" for name in parts),
        )
        for row in m["data"]["flow"]
    ]
    totals = (m["data"]["parts"][name] for name in parts)
    rows.append(("all", "", *(f"{held['images']} / {held['groups']}" for held in totals)))
    return Section(
        "Data and split",
        (
            Text("Images / patient groups:"),
            table(("source", "finding", *parts), rows),
            Text(
                "Split by patient, stratified by source and finding, by a hash of the patient "
                "unit's name; neighbouring Islam groups, which may be the axial and the coronal "
                "series of one patient, stay together. Check that nothing stands on two sides: "
                f"**{m['data']['leak_check']}**. Near-copies in two parts, by a perceptual hash "
                f"of {copies['bits']} bits of which at most {copies['most']} differ, mirrored or "
                f"not: **{copies['found']}**. Fingerprint of the data: "
                f"`{m['data']['fingerprint']}`."
            ),
            Text(_use_of_parts(m)),
            Items(SOURCES),
        ),
    )


def _use_of_parts(m: Metrics) -> str:
    if m["model"].get("members"):
        return (
            "The model is an ensemble: the bundle of each member says on which parts that network "
            "was trained. The test part set neither a member nor the weights of the members."
        )
    if m["model"].get("training", {}).get("refit"):
        return (
            "The weights were trained on the training and the validation part. Calibration, "
            "operating points and the choice of int8 come from the same training without the "
            "validation part, read on it: logits of patients that it did not know. The test part "
            "was not trained on, nor did it set a limit."
        )
    return (
        "The weights were trained on the training part; the validation part set calibration, "
        "operating points and the choice of int8. The test part was not trained on, nor did it "
        "set a limit."
    )


def _verdicts(m: Metrics) -> Section:
    rows = [
        (
            name,
            f"{held['n']} ({held['stone']} stone) / {held['groups']}",
            number(held["auc"]),
            f"{100 * held['best_accuracy']['value']:.1f} %",
            share(held["points"]["balanced"]["accuracy"]),
        )
        for name, held in m["levels"].items()
    ]
    return Section(
        "Verdicts",
        (
            table(
                ("level", "items / groups", "AUC", "best accuracy", "accuracy, balanced point"),
                rows,
            ),
            Text("A patient group is scored by the mean of its three highest logits."),
            *picture(m, "roc.png"),
        ),
    )


def _operating_points(m: Metrics) -> Section:
    rows = []
    for name, held in m["levels"].items():
        for point, title in POINTS.items():
            at = held["points"][point]
            counts = at["confusion"]
            refused = counts["refused_stone"] + counts["refused_stone_free"]
            shown = [
                counts[cell]
                for cell in ("true_positive", "false_negative", "false_positive", "true_negative")
            ]
            rows.append(
                (
                    name,
                    f"{title} ({at['threshold']:.3f})",
                    " / ".join(str(count) for count in [*shown, refused]),
                    share(at["sensitivity"]),
                    share(at["specificity"]),
                )
            )
    header = (
        "level",
        "point (threshold)",
        "TP / FN / FP / TN / refused",
        "sensitivity",
        "specificity",
    )
    return Section("The three operating points", (Text(POINTS_CHOSEN), table(header, rows)))


def _predictive_values(m: Metrics) -> Section:
    rows = [
        (
            name,
            title,
            f"{100 * float(prevalence):.0f} %",
            bounded(pair["ppv"]),
            bounded(pair["npv"]),
        )
        for name, held in m["levels"].items()
        if not name.startswith("all sources") and "finding" not in name
        for point, title in POINTS.items()
        for prevalence, pair in held["points"][point]["predictive_values"].items()
    ]
    return Section(
        "Predictive values",
        (
            Text(
                "Half of the test images show a stone; where the model would be used, few do. By "
                "Bayes' rule from sensitivity and specificity, with both bounds at once, so that "
                "the intervals are wider than 95 %."
            ),
            table(("level", "point", "prevalence", "PPV", "NPV"), rows),
        ),
    )


def _calibration(m: Metrics) -> Section:
    rows = [
        (
            name,
            number(held["ece"], digits=3),
            number(held["brier"], digits=3),
            number(held["slope"], digits=2),
            number(held["intercept"], digits=2),
        )
        for name, held in m["calibration"].items()
    ]
    return Section(
        "Calibration",
        (
            Text(
                "Expected calibration error over 15 bins of equal mass, Brier score, and slope and "
                "intercept of the label on the logit: 1 and 0 are perfect, and they are not "
                "defined where the classes do not overlap. With a few hundred items an error of "
                "0.02 is noise."
            ),
            table(("level", "ECE", "Brier", "slope", "intercept"), rows),
            *picture(m, "reliability.png"),
        ),
    )


def _localisation(m: Metrics) -> Section:
    held = m["localisation"]
    if not held:
        return Section("Where the stones are", ())
    low, high = held["size_limits_px"]
    names = {
        "all": "all stones",
        "small": f"up to {low:.0f} px",
        "middle": f"{low:.0f} to {high:.0f} px",
        "large": f"above {high:.0f} px",
    }
    found = {(row["size"], row["false_per_image"]): share(row["found"]) for row in held["froc"]}
    rows = [
        (f"{allowed:g}", *(found[size, allowed] for size in names))
        for allowed in sorted({allowed for _, allowed in found})
    ]
    return Section(
        "Where the stones are",
        (
            Text(
                f"The {held['images']} images with tight boxes hold {held['stones']} boxed stones. "
                "Findings are exactly those that `classify` returns, with a probability of at "
                "least 0.05; any overlap with the box counts."
            ),
            Text(
                "The centre of the best finding lies within 12 px of a boxed stone: "
                f"{share(held['pointing'])}. Findings that overlap no boxed stone: "
                f"{held['false_findings']}. Stones found, by the longest side of the box "
                "(tertiles), at a threshold with at most so many false findings an image:"
            ),
            table(("false findings an image", *names.values()), rows),
            *picture(m, "froc.png"),
        ),
    )


def _provenance(m: Metrics) -> Section:
    model, run = m["model"], m["run"]
    made = model.get("provenance", {})
    packages = ", ".join(f"{name} {held}" for name, held in made.get("packages", {}).items())
    return Section(
        "How it was made and measured",
        (
            Items(
                (
                    _origin(model),
                    f"Made {made.get('created', '')} from commit `{made.get('commit', '')}` with "
                    f"Python {made.get('python', '')}, {packages}. Digest of the bundle: "
                    f"`{model['digest']}`.",
                    f"Served as {_served(model)}: "
                    f"{run['seconds_an_image']} s from file to answer (median of eight images, "
                    f"{run['threads']} threads, {run['processor']}).",
                    f"This card: {run['images_read']} readings, {run['seconds']} s, Python "
                    f"{run['python']}, made {m['created']}.",
                )
            ),
        ),
    )


def _origin(model: Metrics) -> str:
    """Say how a network was trained, or which networks an ensemble is made of."""
    if members := model.get("members"):
        held = ", ".join(f"{one['name']} (weight {one['weight']:.3f})" for one in members)
        return f"Members: {held}. Weights by: {model['combination']['method']}."
    training = ", ".join(
        f"{name} {_plain(value)}" for name, value in model.get("training", {}).items()
    )
    return f"Training: {training}."


def _served(model: Metrics) -> str:
    if members := model.get("members"):
        return f"an ensemble of {len(members)} networks"
    return model.get("serving", {}).get("precision", "float32")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {held}" for name, held in value.items()) + ")"
    return str(value)
