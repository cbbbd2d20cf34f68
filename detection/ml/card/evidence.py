"""Sections of the model card on what may mislead, such as deletion, robustness and failures."""

from typing import Any

from detection.ml.card.form import (
    Block,
    Items,
    Picture,
    Section,
    Text,
    number,
    points,
    share,
    table,
)
from detection.ml.card.words import DIFFERENCES

POINTS = {"balanced": "balanced", "rule_out": "rule-out", "rule_in": "rule-in"}
Metrics = dict[str, Any]


def evidence(m: Metrics) -> Section:
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
                "its verdict, and without another patch keep it. Share that is still above the "
                "balanced point:"
            ),
            table(("source", "boxes", "blanked", "filled by", "still stone"), deleted),
            *picture(m, "deletion.png"),
            Text("**Resolution.** Everything read at 256 px:"),
            table(("source", "AUC at full size", "AUC at 256 px", "fall"), resolution),
            Text(
                "**Contrast phase.** Rank correlation of the probability with body brightness "
                "(share of body pixels with grey 140 to 225) among the stone-free images; a model "
                "that looks at stones has none:"
            ),
            table(("stone-free images", "rank correlation"), brightness),
        ),
    )


def robustness(m: Metrics) -> Section:
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
            *picture(m, "robustness.png"),
            table(header, rows(m["robustness"])),
        ),
    )


def gate(m: Metrics) -> Section:
    blocks: list[Block] = [
        Items(
            (
                f"CT images of the {m['part']} part that are refused: "
                f"{share(m['gate']['ct_refused'])}.",
                f"Files that are no CT and are refused: {share(m['gate']['not_ct_refused'])}.",
            )
        )
    ]
    kinds = m["gate"].get("kinds", [])
    if kinds:
        rows = [(row["kind"], share(row["refused"]), row["reasons"]) for row in kinds]
        blocks += [
            Text(
                "Kind by kind. No file that is no CT has set a limit of the gate or chosen its "
                "features: each kind is new to it, as in a leave-one-kind-out table. Turned and "
                "inverted slices were shown in training, of other patients; CT images with a mild "
                "change should pass, and one that is flipped top to bottom, as some exports are, "
                "cannot be told from one that is turned."
            ),
            table(("kind", "refused", "reasons"), rows),
        ]
    return Section("The input gate", tuple(blocks))


def subgroups(m: Metrics) -> Section:
    rows = [(row["kind"], row["name"], share(row["accuracy"])) for row in m["subgroups"]]
    return Section("Subgroups", (table(("by", "subgroup", "accuracy, balanced point"), rows),))


def baselines(m: Metrics) -> Section:
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
                "these images is worth; they are not tuned."
            ),
            table(header, rows),
        ),
    )


def ablation(m: Metrics) -> Section:
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


def precision(m: Metrics) -> Section:
    held = m["precision"]
    if not held:
        return Section("int8 against float32", ())
    rows = [
        (
            POINTS[point],
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
                f"is {held['largest_probability_gap']:.3f}."
            ),
            table(header, rows),
        ),
    )


def published(m: Metrics) -> Section:
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


def failures(m: Metrics) -> Section:
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
    return Section("All failures", (*picture(m, "failures.jpg"), table(header, rows)))


def picture(m: Metrics, file: str) -> tuple[Block, ...]:
    caption = m["figures"].get(file)
    return (Picture(file, caption),) if caption else ()
