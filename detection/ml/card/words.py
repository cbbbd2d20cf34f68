"""The sentences that every model card has: intended use, sources, and how to compare."""

from detection.ml.card.form import Items, Section, Text

FOR = (
    "A second look, in research, at single axial or coronal CT slices of the abdomen, by people "
    "who can read CT.",
    "It marks places that look like kidney stones, gives the image a calibrated probability, and "
    "says when it cannot assess an image.",
)
NOT_FOR = (
    "A diagnosis, or a decision about a patient.",
    "Clearing a patient of stones: a slice is not a study.",
    "Stones of the ureter or the bladder, which the training images do not show systematically.",
    "Children, and pregnant patients.",
    "Measuring a stone on a picture without pixel spacing, or saying what a stone is made of.",
    "X-ray, ultrasound, MRI.",
)
NOT_SEEN = (
    "Whole volumes: it was trained on, and is measured on, selected slices.",
    "Any hospital but those of its two sources.",
    "Hounsfield units in training: the images are 8-bit pictures in a soft-tissue window, in which "
    "dense stones and bone are equally white. DICOM is read through the same window.",
    "Stents, drains, calcified vessels and phleboliths as findings of their own.",
    "Prospective use.",
)
REFERENCE = (
    "The reference standard is the labels and boxes of the two data sets' authors. How many "
    "readers there were, and how far they agreed, is not published with the images. A few small "
    "stones carry no box, so that some false findings, and some stones that survive their "
    "deletion, are real stones."
)
SOURCES = (
    "Islam et al. 2022, Sci Rep 12:11440 (public CT KIDNEY data set, research use): axial and "
    "coronal slices. Stone images are mostly non-contrast; normal, cyst and tumour images mostly "
    "contrast-enhanced. Loose boxes on some stone images. The plane of the cyst and tumour images "
    "is not recorded.",
    "Yildirim et al. 2021, Comput Biol Med 135:104569 (stone images with boxes, CC BY 4.0): "
    "coronal, non-contrast, a tight box on every stone, no stone-free images. A half of an image "
    "that holds the centre of a box is a stone item, the other half a stone-free one.",
)
POINTS_CHOSEN = (
    "Rule-out is the highest threshold that keeps a sensitivity of 98 %, rule-in the lowest that "
    "keeps a specificity of 98 %, both by the lower bound of the interval where the patients are "
    "enough for it, else by the point estimate (`chosen_by` in `model.json`); balanced, which "
    "gives the verdict, lies halfway between them on the logit scale. That rule was chosen "
    "after the figures of an earlier model on this same test part had been seen: figures at the "
    "balanced point are not free of that choice, areas under curves and localisation are."
)
DIFFERENCES = (
    "Theirs are verdicts on whole images of a test part that is not known to be split by patient. "
    "Neighbouring slices correlate above 0.99, and the public Islam images carry no patient, so "
    "that a random split of them puts near-copies on both sides.",
    "Yildirim's test part holds stone-free images, which are not published with the boxes; our "
    "stone-free items are halves of stone images.",
    "Islam's 99.30 % is the accuracy of a Swin transformer on four classes.",
    "Ours are measured on patient groups that no training, choice or threshold has seen, and stand "
    "beside a deletion test. A figure of one protocol is no evidence for or against one of "
    "another.",
)


def intended_use() -> Section:
    """Write the section on what the model is for, what not, and what it has not seen."""
    return Section(
        "What it is for, and what not",
        (
            Text("**For:**"),
            Items(FOR),
            Text("**Not for:**"),
            Items(NOT_FOR),
            Text("**What the model has not seen:**"),
            Items(NOT_SEEN),
            Text(REFERENCE),
        ),
    )
