"""The format of the logs: one JSON object a line, holding no personal data."""

import json
import logging
import traceback
from uuid import UUID

# Every record has these; the rest was given by `extra=`.
STANDARD_ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message, and what was given by `extra=`."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            # Other objects, such as a request, may carry what somebody typed.
            is_plain = isinstance(value, str | int | float | UUID)
            if name not in STANDARD_ATTRIBUTES and is_plain:
                entry[name] = str(value) if isinstance(value, UUID) else value
        if record.exc_info and record.exc_info[1] is not None:
            entry["exception"] = describe(record.exc_info[1])
        return json.dumps(entry, ensure_ascii=False)


def describe(error: BaseException) -> list[str]:
    """Return what was raised where, cause first, without the errors' own words.

    Those quote the value that did not fit: a name, a mail address, a file name.
    """
    lines = []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines += describe(cause)
    # The number of an operating system's or a database's error is safe, and says most.
    code = error.args[0] if error.args and isinstance(error.args[0], int) else None
    lines.append(type(error).__qualname__ + (f" {code}" if code is not None else ""))
    lines += [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    return lines
