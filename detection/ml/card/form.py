"""The form of a model card: sections of paragraphs, tables and figures, and their Markdown."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

_WIDTH = 120


@dataclass(frozen=True)
class Text:
    """A paragraph; its only markup is `**bold**` and backticks for code."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Items:
    """A list of short paragraphs."""

    kind: ClassVar[str] = "items"
    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table of cells that are text already."""

    kind: ClassVar[str] = "table"
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A figure in the card's folder."""

    kind: ClassVar[str] = "picture"
    file: str
    caption: str


Block = Text | Items | Table | Picture


@dataclass(frozen=True)
class Section:
    """A titled part of the card."""

    title: str
    blocks: tuple[Block, ...]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Make a table of rows of any sequences."""
    return Table(tuple(header), tuple(tuple(row) for row in rows))


def markdown(title: str, sections: Sequence[Section]) -> str:
    """Write a card as Markdown, its first section without a title."""
    parts = [f"# {title}"]
    for index, section in enumerate(sections):
        if index:
            parts.append(f"## {section.title}")
        parts += [_markdown(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def share(figure: dict[str, Any] | None, *, digits: int = 1) -> str:
    """Write a proportion: `97.5 % (195/200; 94.2 to 99.1)`."""
    if not figure or figure["value"] is None:
        return "not measured"
    hits = figure.get("hits")
    counted = f"{hits}/{figure['n']}" if hits is not None else f"n = {figure['n']}"
    bounds = ""
    if figure.get("low") is not None:
        bounds = f"; {100 * figure['low']:.{digits}f} to {100 * figure['high']:.{digits}f}"
    return f"{100 * figure['value']:.{digits}f} % ({counted}{bounds})"


def number(figure: dict[str, Any] | None, *, digits: int = 4) -> str:
    """Write a figure that is not a share: `0.9985 (n = 468; 0.9961 to 0.9998)`."""
    if not figure or figure["value"] is None:
        return "not measured"
    bounds = ""
    if figure.get("low") is not None:
        bounds = f"; {figure['low']:.{digits}f} to {figure['high']:.{digits}f}"
    return f"{figure['value']:.{digits}f} (n = {figure['n']}{bounds})"


def points(figure: dict[str, Any] | None) -> str:
    """Write a change of a share in points: `-1.2 (-2.5 to +0.1)`."""
    if not figure or figure["value"] is None:
        return "not measured"
    value, low, high = (100 * figure[name] for name in ("value", "low", "high"))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def bounded(figure: dict[str, Any]) -> str:
    """Write a share that was computed, not counted: `41.3 % (30.2 to 60.0)`."""
    if figure["value"] is None:
        return "not measured"
    value, low, high = (100 * figure[name] for name in ("value", "low", "high"))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


def _markdown(block: Block) -> str:
    if isinstance(block, Text):
        return _filled(block.text)
    if isinstance(block, Items):
        return "\n".join(_filled(item, first="- ", rest="  ") for item in block.items)
    if isinstance(block, Picture):
        # A line may end within the words of a picture, as within those of a paragraph.
        return f"{_filled(f'![{block.caption}]({block.file})')}\n\n{_filled(f'*{block.caption}*')}"
    lines = ["| " + " | ".join(block.header) + " |", "|" + "---|" * len(block.header)]
    lines += ["| " + " | ".join(row) + " |" for row in block.rows]
    return "\n".join(lines)


def _filled(text: str, *, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
