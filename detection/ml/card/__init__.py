"""Writes the model card from the metrics of a report."""

from detection.ml.card.form import Block, Items, Picture, Section, Text, markdown, table
from detection.ml.card.targets import PUBLISHED, bar_rows
from detection.ml.card.text import card_sections, card_text
from detection.ml.card.words import FOR, NOT_FOR, NOT_SEEN

__all__ = [
    "Block",
    "FOR",
    "Items",
    "NOT_FOR",
    "NOT_SEEN",
    "PUBLISHED",
    "Picture",
    "Section",
    "Text",
    "bar_rows",
    "card_sections",
    "card_text",
    "markdown",
    "table",
]
