"""The words of the model card: Markdown from the metrics, every figure with its n and interval."""

from collections.abc import Iterable, Sequence
from typing import Any

_POINTS = ("balanced", "rule_out", "rule_in")
_POINT_NAMES = {"balanced": "balanced", "rule_out": "rule-out", "rule_in": "rule-in"}


def card_text(metrics: dict[str, Any]) -> str:
    """Write the model card."""
    sections = [
        _head(metrics),
        _bar(metrics),
        INTENDED_USE,
        _data(metrics),
        _levels(metrics),
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
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def share(figure: dict[str, Any] | None, *, digits: int = 1) -> str:
    """Write a proportion: `97.5 % (195/200; 95 % CI 94.2 to 99.1; 31 groups)`."""
    if not figure or figure["value"] is None:
        return "not measured"
    counted = f"{figure['hits']}/{figure['n']}" if figure.get("hits") is not None else (
        f"n = {figure['n']}"
    )  # fmt: skip
    text = f"{100 * figure['value']:.{digits}f} % ({counted}"
    if figure.get("low") is not None:
        text += f"; {100 * figure['low']:.{digits}f} to {100 * figure['high']:.{digits}f}"
    return text + ")"


def number(figure: dict[str, Any] | None, *, digits: int = 4) -> str:
    """Write a figure that is no share: `0.9985 (0.9961 to 0.9998; n = 468)`."""
    if not figure or figure["value"] is None:
        return "not measured"
    text = f"{figure['value']:.{digits}f} ("
    if figure.get("low") is not None:
        text += f"{figure['low']:.{digits}f} to {figure['high']:.{digits}f}; "
    return text + f"n = {figure['n']})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


INTENDED_USE = """
## What it is for, and what not

**For:** a second look, in research, at single axial or coronal CT slices of the abdomen, by
people who can read CT. It marks places
that look like kidney stones, gives the image a calibrated probability, and says when it cannot
assess an image.

**Not for:** a diagnosis or a decision about a patient; clearing a patient of stones (a slice is
not a study); stones of the ureter or
bladder, which the training images do not show systematically; children and pregnant patients;
measuring a stone on a picture; saying what
a stone is made of; X-ray, ultrasound or MRI.

**What the model has not seen:** whole volumes (it was trained and is measured on selected
slices); any hospital but the two sources'
own; 12-bit Hounsfield values in training (the images are 8-bit pictures in a soft-tissue window,
in which 83 % of the stone voxels
above 200 HU are saturated); stents, drains, calcified vessels or phleboliths as labelled classes;
any prospective use.

**Who labelled it:** the authors of the two data sets. How many readers there were, and how far
they agreed, is not published with the
images. A few small stones carry no box, so some "false" findings and some stones that survive
their deletion are real stones.
"""


def _head(m: dict[str, Any]) -> str:
    run = m["run"]
    return f"""# Model card: {m["model"]["name"]}

{m["model"]["architecture"]}. Decision support for research use, not a diagnosis.

Every figure below was measured on the {m["part"]} part of the fixed split
({m["data"]["parts"][m["part"]]["images"]} images of
{m["data"]["parts"][m["part"]]["groups"]} patient groups, none of them in training) by one command:
`python -m detection.ml report DATA --out docs/model-card`. In brackets: n, and the 95 % interval.
For shares it is the wider of Wilson's
interval and a bootstrap over patient groups ({run["bootstrap_resamples"]} resamples, percentiles,
seed {run["bootstrap_seed"]}); for
other figures the bootstrap alone. All of them are in [metrics.json](metrics.json). With so few
patient groups the intervals say more than
the decimals."""


def _bar(m: dict[str, Any]) -> str:
    rows = []
    for row in m["bar"]:
        figure = row["figure"]
        is_share = not any(word in row["what"] for word in ("area", "ECE", "AUC"))
        written = share(figure) if is_share else number(figure)
        limit = f"{100 * row['limit']:.1f} %" if is_share else f"{row['limit']:.3f}"
        met = {True: "yes", False: "**no**", None: "not measured"}[row["met"]]
        rows.append((row["what"], f"{row['sense']} {limit}", written, met))
    return "## The bar\n\n" + table(("what", "asked", "measured", "met"), rows) + (
        "\n\nAccuracies count an image that the input gate refuses as wrong. \"Best accuracy\" "
        "chooses its threshold on the same items "
        "and so flatters; it is what the bar asks for. A high score on the Islam images says "
        "little by itself: there the stone images "
        "are non-contrast and most others contrast-enhanced. The Yildirim halves and the "
        "deletion test are where the model is judged."
    )  # fmt: skip


def _data(m: dict[str, Any]) -> str:
    parts = list(m["data"]["parts"])
    rows = []
    for row in m["data"]["flow"]:
        counts = [f"{row[name]['images']} / {row[name]['groups']}" for name in parts]
        rows.append((row["source"], row["finding"], *counts))
    totals = [
        f"{m['data']['parts'][n]['images']} / {m['data']['parts'][n]['groups']}" for n in parts
    ]
    rows.append(("all", "", *totals))
    return (
        "## Data\n\nImages / patient groups:\n\n"
        + table(("source", "finding", *parts), rows)
        + f"""

Split by patient unit, stratified by source and finding, by a hash of the unit's name;
neighbouring Islam groups, which may be the axial and
the coronal series of one patient, stay together. Check that no unit stands on two sides:
**{m["data"]["leak_check"]}**. Fingerprint of the data:
`{m["data"]["fingerprint"]}`.

- Islam et al. 2022, Sci Rep 12:11440 (research use): axial and coronal slices; stone images
  mostly non-contrast, normal, cyst and tumour
  images mostly contrast-enhanced; loose boxes on some stone images. The view of a single image is
  not recorded, so there is no subgroup by view.
- Yildirim et al. 2021, Comput Biol Med 135:104569 (stone images with boxes, CC BY 4.0): coronal,
  non-contrast, a tight box around every
  stone, no stone-free images. A half of an image without the centre of a box is the stone-free
  item, the half with one the stone item."""
    )


def _levels(m: dict[str, Any]) -> str:
    rows = []
    for name, held in m["levels"].items():
        rows.append(
            (
                name,
                f"{held['n']} ({held['stone']} stone), {held['groups']} groups",
                number(held["auc"]),
                f"{100 * held['best_accuracy']['value']:.1f} %",
                share(held["points"]["balanced"]["accuracy"]),
            )
        )
    text = "## Verdicts\n\n" + table(
        ("level", "n", "AUC", "best accuracy", "accuracy, balanced point"), rows
    )
    text += (
        "\n\nA patient group is scored by the mean of its three highest logits. "
        "![ROC curves](roc.png)\n\n### The three operating points\n\n"
    )
    rows = []
    for name, held in m["levels"].items():
        for point in _POINTS:
            at = held["points"][point]
            c = at["confusion"]
            refused = c["refused_stone"] + c["refused_stone_free"]
            rows.append(
                (
                    name,
                    f"{_POINT_NAMES[point]} ({at['threshold']:.3f})",
                    f"{c['true_positive']} / {c['false_negative']} / {c['false_positive']} / "
                    f"{c['true_negative']} / {refused}",
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
    return text + table(header, rows)


def _predictive_values(m: dict[str, Any]) -> str:
    rows = []
    for name, held in m["levels"].items():
        if "pooled" not in name and ", image" not in name or "all" in name:
            continue
        for point in _POINTS:
            values = held["points"][point]["predictive_values"]
            for prevalence, pair in values.items():
                rows.append(
                    (
                        name,
                        _POINT_NAMES[point],
                        f"{100 * float(prevalence):.0f} %",
                        _range(pair["ppv"]),
                        _range(pair["npv"]),
                    )
                )
    return (
        "## Predictive values\n\nHalf of the test images show a stone; where the model would be "
        "used few do. By Bayes' rule from the "
        "sensitivity and specificity above, with both bounds at once (so wider than 95 %):\n\n"
        + table(("level", "point", "prevalence", "PPV", "NPV"), rows)
    )


def _range(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "not measured"
    return (
        f"{100 * figure['value']:.1f} % ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"
    )


def _calibration(m: dict[str, Any]) -> str:
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
    return (
        "## Calibration\n\nExpected calibration error over 15 bins of equal mass, Brier score, "
        "and slope and intercept of the label on the "
        "logit (1 and 0 are perfect; not defined where the classes do not overlap). An error of "
        "0.02 is within the noise of a few hundred "
        "items.\n\n"
        + table(("level", "ECE", "Brier", "slope", "intercept"), rows)
        + "\n\n![Reliability](reliability.png)"
    )


def _localisation(m: dict[str, Any]) -> str:
    held = m["localisation"]
    if not held:
        return ""
    low, high = held["size_limits_px"]
    names = {
        "all": "all",
        "small": f"up to {low:.0f} px",
        "middle": f"{low:.0f} to {high:.0f} px",
        "large": f"above {high:.0f} px",
    }
    sizes = list(names)
    rows = []
    for allowed in sorted({row["false_per_image"] for row in held["froc"]}):
        cells = [
            share(row["found"])
            for size in sizes
            for row in held["froc"]
            if row["size"] == size and row["false_per_image"] == allowed
        ]
        rows.append((f"{allowed:g}", *cells))
    return f"""## Where the stones are

On the {held["images"]} test images with tight boxes ({held["stones"]} stones), with the findings
exactly as `classify` returns them (probability at
least 0.05).

- Pointing: the centre of the best finding lies within 12 px of a boxed stone in
  {share(held["pointing"])}.
- {held["false_findings"]} findings overlap no boxed stone. Share of stones that a finding
  overlaps, by the longest side of the box (tertiles),
  at a threshold with so many false findings an image:

{table(("false findings an image", *names.values()), rows)}

![FROC](froc.png)"""


def _evidence(m: dict[str, Any]) -> str:
    rows = [
        (row["source"], row["boxes"], row["blanked"], row["fill"], share(row["still_stone"]))
        for row in m["deletion"]
    ]
    text = (
        "## Does the verdict come from the stone?\n\n**Deletion test.** The boxed stone of each "
        "true positive is blanked, or a patch of "
        "the same size elsewhere in the body; the image should lose its verdict, or keep it. "
        'Share still "stone" at the balanced '
        "point:\n\n"
        + table(("source", "boxes", "blanked", "filled by", "still stone"), rows)
        + "\n\n![Deletion test](deletion.png)\n\n**Resolution.** Everything read at 256 px:\n\n"
        + table(
            ("source", "AUC at full size", "AUC at 256 px", "fall"),
            [
                (
                    row["source"],
                    number(row["auc_full"]),
                    number(row["auc_256"]),
                    number(row["fall"]),
                )
                for row in m["resolution"]
            ],
        )
    )
    text += (
        "\n\n**Contrast phase.** Rank correlation of the probability with body brightness (share "
        "of body pixels with grey 140 to 225) among "
        "the stone-free images; 0 is what a model that looks at stones has:\n\n"
        + table(
            ("stone-free images", "rank correlation"),
            [(row["finding"], number(row["correlation"], digits=2)) for row in m["brightness"]],
        )
    )
    return text


def _robustness(m: dict[str, Any]) -> str:
    header = (
        "corruption", "strength", "images", "accuracy without gate", "change, points",
        "AUC", "refused by the gate", "accuracy of the answered",
    )  # fmt: skip

    def rows(held: list[dict[str, Any]]) -> list[tuple[str, ...]]:
        return [
            (
                row["name"],
                f"{row['strength']:g} ({row['unit']})",
                str(row["images"]),
                share(row["accuracy"]),
                _points(row["change"]),
                number(row["auc"], digits=3),
                share(row["refused"]),
                share(row["accuracy_answered"]),
            )
            for row in held
        ]

    return (
        "## Robustness\n\nEach image is corrupted before it is read; the same items are "
        "compared. The draw of images takes turns among the "
        "patient groups, seeds are fixed. At high severities a refusal is the right "
        "answer.\n\n### Mild corruption\n\n"
        + table(header, rows(m["mild"]))
        + "\n\n### Five severities\n\n![Robustness](robustness.png)\n\n"
        + table(header, rows(m["robustness"]))
    )


def _points(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "not measured"
    return (
        f"{100 * figure['value']:+.1f} ({100 * figure['low']:+.1f} to {100 * figure['high']:+.1f})"
    )


def _gate(m: dict[str, Any]) -> str:
    return f"""## The input gate

- CT images of the {m["part"]} part refused: {share(m["gate"]["ct_refused"])}.
- Files that are no CT refused: {share(m["gate"]["not_ct_refused"])}."""


def _subgroups(m: dict[str, Any]) -> str:
    rows = [(row["kind"], row["name"], share(row["accuracy"])) for row in m["subgroups"]]
    return "## Subgroups\n\n" + table(("by", "subgroup", "accuracy, balanced point"), rows)


def _baselines(m: dict[str, Any]) -> str:
    if not m["baselines"]:
        return ""
    sources = list(m["baselines"][0]["sources"])
    rows = []
    for row in m["baselines"]:
        cells = []
        for source in sources:
            cells.append(number(row["sources"][source]["auc"], digits=3))
            cells.append(share(row["sources"][source]["accuracy"]))
        title = f"**{row['title']}**" if row["name"] == "model" else row["title"]
        rows.append((title, row["how"], *cells))
    header = ["model", "how"]
    for source in sources:
        header += [f"{source}: AUC", f"{source}: accuracy"]
    return (
        "## Baselines\n\nThe same test items. Thresholds of the baselines are chosen on the "
        "validation part. They are trained once, at half "
        "the resolution, to show what the scores of these data sets are worth; they are not "
        "tuned.\n\n" + table(header, rows)
    )


def _ablation(m: dict[str, Any]) -> str:
    held = m["ablation"]
    if not held:
        return ""
    rows = [
        (
            row["augmentation"],
            number(row["clean"], digits=3),
            number(row["corrupted"], digits=3),
            f"{row['gain_corrupted']['value']:+.3f} ({row['gain_corrupted']['low']:+.3f} to "
            f"{row['gain_corrupted']['high']:+.3f})",
        )
        for row in held["rows"]
    ]
    return f"## Augmentations, one by one\n\n{held['how']}\n\n" + table(
        ("augmentation", "AUC, clean", "AUC, mildly corrupted", "gain when corrupted"), rows
    )


def _precision(m: dict[str, Any]) -> str:
    held = m["precision"]
    if not held:
        return ""
    rows = []
    for point, pair in held["points"].items():
        rows.append(
            (
                _POINT_NAMES[point],
                *(
                    f"{100 * pair[name][what]:.1f} %" if pair[name][what] is not None else "-"
                    for what in ("sensitivity", "specificity")
                    for name in ("float32", "int8")
                ),
            )
        )
    return (
        f"## int8 against float32\n\nThe served int8 network against its float32 weights, "
        f"{held['images']} test images, {held['items']} items: "
        f"AUC {number(held['float32']['auc'])} in float32, {number(held['int8']['auc'])} in "
        f"int8; largest difference of a probability "
        f"{held['largest_probability_gap']:.3f}.\n\n"
        + table(
            (
                "point",
                "sensitivity, float32",
                "sensitivity, int8",
                "specificity, float32",
                "specificity, int8",
            ),
            rows,
        )
    )


def _published(m: dict[str, Any]) -> str:
    ours = m["levels"].get("yildirim2021, half, highest finding")
    line = ""
    if ours:
        line = f"Ours, on Yildirim halves: {share(ours['points']['balanced']['accuracy'])}."
    return f"""## Beside the published figures

- Yildirim et al. 2021 report **96.82 %** on 346 coronal images: 335/346, Wilson interval
  {100 * m["published"]["yildirim2021"]["low"]:.1f} to
  {100 * m["published"]["yildirim2021"]["high"]:.1f}. {line}
- Islam et al. 2022 report **99.30 %** for their best network on four classes.

Why these and ours are not the same measurement: theirs are whole-image verdicts on a test part
that is not known to be split by patient (Islam's
public images allow no such split by patient; neighbouring slices there correlate above 0.99);
theirs include the stone-free images of Yildirim,
which are not published with boxes, so that our stone-free items are halves of stone images; ours
are measured on patient groups that no
choice, training or threshold has seen, and fall under the deletion test above. A number from one
protocol is no evidence for or against a number
from the other."""


def _failures(m: dict[str, Any]) -> str:
    if not m["failures"]:
        return "## Failures\n\nNo miss and no false alarm on the test part."
    rows = [
        (
            row["kind"],
            f"{row['image']}{' ' + row['half'] if row['half'] else ''}",
            row["finding"],
            row["group"],
            f"{row['probability']:.3f}",
            f"{row['stone_px']:.0f}" if row["stone_px"] else "",
        )
        for row in m["failures"]
    ]
    gallery = "![Failures](failures.jpg)\n\n" if "failures.jpg" in m["figures"] else ""
    caption = m["figures"].get("failures.jpg", "")
    return f"## All failures of the {m['part']} part\n\n{caption}\n\n{gallery}" + table(
        ("kind", "image", "finding", "group", "probability", "stone, px"), rows
    )


def _provenance(m: dict[str, Any]) -> str:
    model, run = m["model"], m["run"]
    training = ", ".join(
        f"{name} {_plain(value)}" for name, value in model.get("training", {}).items()
    )
    packages = ", ".join(
        f"{name} {version}"
        for name, version in model.get("provenance", {}).get("packages", {}).items()
    )
    return f"""## How it was made and measured

- Training: {training}.
- Made {model.get("provenance", {}).get("created", "")}, commit
  `{model.get("provenance", {}).get("commit", "")}`, Python
  {model.get("provenance", {}).get("python", "")}, {packages}. Bundle digest `{model["digest"]}`.
- Served precision: {model.get("serving", {}).get("precision", "")}; {run["seconds_an_image"]} s
  from file to answer (median of eight images,
  {run["threads"]} threads, {run["processor"]}).
- This card: {run["images_read"]} readings in {run["seconds"]} s, Python {run["python"]}, made
  {m["created"]}."""


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {held}" for name, held in value.items()) + ")"
    return str(value)
