"""The model card's results in words and tables, made from the metrics of a report."""

from typing import Any

from detection.ml.card import (
    Block,
    Items,
    Picture,
    Section,
    Text,
    bounded,
    markdown,
    number,
    points,
    share,
    table,
)
from detection.ml.card_words import DIFFERENCES, SOURCES, intended_use

_POINTS = {"balanced": "balanced", "rule_out": "rule-out", "rule_in": "rule-in"}
Metrics = dict[str, Any]


def card_text(metrics: Metrics) -> str:
    """Write the model card as Markdown."""
    return markdown(f"Model card: {metrics['model']['name']}", card_sections(metrics))


def card_sections(metrics: Metrics) -> list[Section]:
    """Write the sections of the model card; parts that were not measured are left out."""
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
        _evidence(metrics),
        _robustness(metrics),
        _gate(metrics),
        _subgroups(metrics),
        _baselines(metrics),
        _ablation(metrics),
        _precision(metrics),
        _published(metrics),
        _failures(metrics),
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
                "interval and a bootstrap over patient groups "
                f"({run['bootstrap_resamples']} resamples, percentiles, seed "
                f"{run['bootstrap_seed']}); for other figures it is the bootstrap. With so few "
                "groups the intervals say more than the decimals. `metrics.json` holds every "
                "figure "
                "with its unit, groups and method."
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
                "score "
                "on the Islam images says little by itself: there the stone images are "
                "non-contrast "
                "and most others contrast-enhanced. The Yildirim halves and the deletion test are "
                "where the model is judged."
            ),
        ),
    )


def _data(m: Metrics) -> Section:
    parts = list(m["data"]["parts"])
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
                f"**{m['data']['leak_check']}**. Fingerprint of the data: "
                f"`{m['data']['fingerprint']}`."
            ),
            Items(SOURCES),
        ),
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
            *_picture(m, "roc.png"),
        ),
    )


def _operating_points(m: Metrics) -> Section:
    rows = []
    for name, held in m["levels"].items():
        for point, title in _POINTS.items():
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
    return Section("The three operating points", (table(header, rows),))


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
        for point, title in _POINTS.items()
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
                "defined "
                "where the classes do not overlap. With a few hundred items an error of 0.02 is "
                "noise."
            ),
            table(("level", "ECE", "Brier", "slope", "intercept"), rows),
            *_picture(m, "reliability.png"),
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
                "least "
                "0.05; any overlap with the box counts."
            ),
            Text(
                "The centre of the best finding lies within 12 px of a boxed stone: "
                f"{share(held['pointing'])}. Findings that overlap no boxed stone: "
                f"{held['false_findings']}. Stones found, by the longest side of the box "
                f"(tertiles), "
                "at a threshold with at most so many false findings an image:"
            ),
            table(("false findings an image", *names.values()), rows),
            *_picture(m, "froc.png"),
        ),
    )


def _evidence(m: Metrics) -> Section:
    deleted = [
        (row["source"], row["boxes"], row["blanked"], row["fill"], share(row["still_stone"]))
        for row in m["deletion"]
    ]
    resolution = [
        (row["source"], number(row["auc_full"]), number(row["auc_256"]), number(row["fall"]))
        for row in m["resolution"]
    ]
    brightness = [(row["finding"], number(row["correlation"], digits=2)) for row in m["brightness"]]
    return Section(
        "Does the verdict come from the stone?",
        (
            Text(
                "**Deletion test.** The boxed stones of each true positive are blanked, or patches "
                "of the same size elsewhere in the body. Without its stones an image should lose "
                "its "
                "verdict, and without another patch keep it. Share that is still above the "
                "balanced "
                "point:"
            ),
            table(("source", "boxes", "blanked", "filled by", "still stone"), deleted),
            *_picture(m, "deletion.png"),
            Text("**Resolution.** Everything read at 256 px:"),
            table(("source", "AUC at full size", "AUC at 256 px", "fall"), resolution),
            Text(
                "**Contrast phase.** Rank correlation of the probability with body brightness "
                "(share "
                "of body pixels with grey 140 to 225) among the stone-free images; a model that "
                "looks at stones has none:"
            ),
            table(("stone-free images", "rank correlation"), brightness),
        ),
    )


def _robustness(m: Metrics) -> Section:
    header = (
        "corruption",
        "strength",
        "images",
        "accuracy without gate",
        "change, points",
        "AUC",
        "refused by the gate",
        "accuracy of the answered",
    )

    def rows(held: list[dict[str, Any]]) -> list[tuple[str, ...]]:
        return [
            (
                row["name"],
                f"{row['strength']:g} ({row['unit']})",
                str(row["images"]),
                share(row["accuracy"]),
                points(row["change"]),
                number(row["auc"], digits=3),
                share(row["refused"]),
                share(row["accuracy_answered"]),
            )
            for row in held
        ]

    return Section(
        "Robustness",
        (
            Text(
                "Each image is corrupted before it is read, and compared with the clean reading of "
                "the same item. The draw takes turns among the patient groups; seeds are fixed. At "
                "high severities a refusal is the right answer. Mild corruption:"
            ),
            table(header, rows(m["mild"])),
            Text("Five severities:"),
            *_picture(m, "robustness.png"),
            table(header, rows(m["robustness"])),
        ),
    )


def _gate(m: Metrics) -> Section:
    return Section(
        "The input gate",
        (
            Items(
                (
                    f"CT images of the {m['part']} part that are refused: "
                    f"{share(m['gate']['ct_refused'])}.",
                    f"Files that are no CT and are refused: {share(m['gate']['not_ct_refused'])}.",
                )
            ),
        ),
    )


def _subgroups(m: Metrics) -> Section:
    rows = [(row["kind"], row["name"], share(row["accuracy"])) for row in m["subgroups"]]
    return Section("Subgroups", (table(("by", "subgroup", "accuracy, balanced point"), rows),))


def _baselines(m: Metrics) -> Section:
    if not m["baselines"]:
        return Section("Baselines", ())
    sources = list(m["baselines"][0]["sources"])
    header = ["model", "how"]
    for source in sources:
        header += [f"{source}: AUC", f"{source}: accuracy"]
    rows = []
    for row in m["baselines"]:
        cells = []
        for source in sources:
            held = row["sources"][source]
            cells += [number(held["auc"], digits=3), share(held["accuracy"])]
        title = f"**{row['title']}**" if row["name"] == "model" else row["title"]
        rows.append((title, row["how"], *cells))
    return Section(
        "Baselines",
        (
            Text(
                "The same test items. The baselines' thresholds are chosen on the validation part. "
                "They are trained once, at less than half the resolution, to show what a score on "
                "these "
                "images is worth; they are not tuned."
            ),
            table(header, rows),
        ),
    )


def _ablation(m: Metrics) -> Section:
    held = m["ablation"]
    if not held:
        return Section("Augmentations, one by one", ())
    rows = [
        (
            row["augmentation"],
            number(row["clean"], digits=3),
            number(row["corrupted"], digits=3),
            points(row["gain_clean"]),
            points(row["gain_corrupted"]),
        )
        for row in held["rows"]
    ]
    header = (
        "augmentation",
        "AUC, clean",
        "AUC, mildly corrupted",
        "gain, clean, points",
        "gain, corrupted, points",
    )
    return Section("Augmentations, one by one", (Text(held["how"]), table(header, rows)))


def _precision(m: Metrics) -> Section:
    held = m["precision"]
    if not held:
        return Section("int8 against float32", ())
    rows = [
        (
            _POINTS[point],
            *(
                "not measured" if pair[name][what] is None else f"{100 * pair[name][what]:.1f} %"
                for what in ("sensitivity", "specificity")
                for name in ("float32", "int8")
            ),
        )
        for point, pair in held["points"].items()
    ]
    header = (
        "point",
        "sensitivity, float32",
        "sensitivity, int8",
        "specificity, float32",
        "specificity, int8",
    )
    return Section(
        "int8 against float32",
        (
            Text(
                f"The served int8 network against its float32 weights on {held['images']} test "
                f"images ({held['items']} items): AUC {number(held['float32']['auc'])} in float32, "
                f"{number(held['int8']['auc'])} in int8; the largest difference of a probability "
                f"is "
                f"{held['largest_probability_gap']:.3f}."
            ),
            table(header, rows),
        ),
    )


def _published(m: Metrics) -> Section:
    theirs = m["published"]["yildirim2021"]
    rows = [
        ("Yildirim et al. 2021", "346 whole coronal images", share(theirs)),
        ("Islam et al. 2022, Swin transformer", "four classes", "99.30 %"),
    ]
    for name, held in m["levels"].items():
        if not name.startswith("all sources"):
            accuracy = share(held["points"]["balanced"]["accuracy"])
            rows.append(("This model", f"{name}; held-out patient groups", accuracy))
    return Section(
        "Beside the published figures",
        (table(("model", "measured on", "accuracy"), rows), Items(DIFFERENCES)),
    )


def _failures(m: Metrics) -> Section:
    rows = [
        (
            row["kind"],
            f"{row['image']} {row['half']}".strip(),
            row["finding"],
            row["group"],
            f"{row['probability']:.3f}",
            f"{row['stone_px']:.0f}" if row["stone_px"] else "",
        )
        for row in m["failures"]
    ]
    if not rows:
        return Section("All failures", (Text("No miss and no false alarm."),))
    header = ("kind", "image", "finding", "group", "probability", "largest stone, px")
    return Section("All failures", (*_picture(m, "failures.jpg"), table(header, rows)))


def _provenance(m: Metrics) -> Section:
    model, run = m["model"], m["run"]
    made = model.get("provenance", {})
    training = ", ".join(
        f"{name} {_plain(value)}" for name, value in model.get("training", {}).items()
    )
    packages = ", ".join(f"{name} {held}" for name, held in made.get("packages", {}).items())
    return Section(
        "How it was made and measured",
        (
            Items(
                (
                    f"Training: {training}.",
                    f"Made {made.get('created', '')} from commit `{made.get('commit', '')}` with "
                    f"Python {made.get('python', '')}, {packages}. Digest of the bundle: "
                    f"`{model['digest']}`.",
                    f"Served as {model.get('serving', {}).get('precision', 'float32')}: "
                    f"{run['seconds_an_image']} s from file to answer (median of eight images, "
                    f"{run['threads']} threads, {run['processor']}).",
                    f"This card: {run['images_read']} readings, {run['seconds']} s, Python "
                    f"{run['python']}, made {m['created']}.",
                )
            ),
        ),
    )


def _picture(m: Metrics, file: str) -> tuple[Block, ...]:
    caption = m["figures"].get(file)
    return (Picture(file, caption),) if caption else ()


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {held}" for name, held in value.items()) + ")"
    return str(value)
