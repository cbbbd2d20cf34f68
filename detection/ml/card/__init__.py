"""Writes the model card from the metrics of a report."""

from detection.ml.card.form import Section
from detection.ml.card.targets import PUBLISHED, bar_rows
from detection.ml.card.text import card_sections, card_text
from detection.ml.card.words import FOR, NOT_FOR, NOT_SEEN

__all__ = [
    "FOR",
    "NOT_FOR",
    "NOT_SEEN",
    "PUBLISHED",
    "Section",
    "bar_rows",
    "card_sections",
    "card_text",
]
