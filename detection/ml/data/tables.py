"""Reading the CSV files of a data folder, as programs and spreadsheets save them."""

import csv
import io
from collections import Counter
from pathlib import Path

from detection.ml.errors import DatasetError


def read_table(
    path: Path, *, required: frozenset[str] = frozenset()
) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file with a heading: for each line its number and its values by column.

    Values are separated by commas, or by semicolons where the heading has no comma: spreadsheets
    save so in countries with a decimal comma. A byte order mark is passed over, a line without
    any value is left out, and a value that a short line lacks is empty.

    Raises
    ------
    DatasetError
        If the file is no UTF-8 text or no CSV, if its heading lacks a required column or names
        one twice, or if a line has more values than the heading.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path.name} is not UTF-8 text. Please save it anew as CSV with the encoding UTF-8."
        ) from error
    heading = text.splitlines()[0] if text else ""
    separator = ";" if ";" in heading and "," not in heading else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = [name.strip() for name in next(reader, [])]
        missing = required - set(names)
        if missing:
            raise DatasetError(f"{path.name} lacks the column {', '.join(sorted(missing))}.")
        twice = [name for name, count in Counter(names).items() if name and count > 1]
        if twice:
            raise DatasetError(f"{path.name} names the column {twice[0]} twice.")
        table = []
        for values in reader:
            if any(values[len(names) :]):
                raise DatasetError(
                    f"{path.name}, line {reader.line_num}: more values than columns. Please put "
                    "a value that holds a separator between quotation marks."
                )
            values += [""] * (len(names) - len(values))
            if any(values):
                table.append((reader.line_num, dict(zip(names, values, strict=False))))
    except csv.Error as error:
        raise DatasetError(f"{path.name} cannot be read as CSV: {error}.") from error
    return table
