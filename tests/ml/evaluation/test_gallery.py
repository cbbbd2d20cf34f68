from pathlib import Path

import pytest

from detection.ml.data import Sample
from detection.ml.data.sources import SourceFacts, facts_of
from detection.ml.evaluation.gallery import gallery_credits


def sample(source, facts=None):
    return Sample(
        path=Path("x.png"),
        image="x.png",
        source=source,
        is_stone=True,
        finding="stone",
        group="g",
        facts=facts or facts_of(source),
    )


CLINIC = SourceFacts(may_be_shown=True, credit="Clinic A (with consent)")


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (
            [sample("yildirim2021"), sample("islam2022")],
            "Images of Yildirim et al. 2021 (CC BY 4.0); of Islam et al. 2022 (research use) the "
            "stone map alone is shown.",
        ),
        # Nobody has said that a hospital's images may be printed.
        ([sample("clinic")], "Of clinic the stone map alone is shown."),
        ([sample("clinic", CLINIC)], "Images of Clinic A (with consent)."),
        (
            [sample("a", CLINIC), sample("yildirim2021")],
            "Images of Clinic A (with consent), Yildirim et al. 2021 (CC BY 4.0).",
        ),
    ],
)
def test_gallery_names_whose_images_it_shows(samples, sentence):
    assert gallery_credits(samples) == sentence
