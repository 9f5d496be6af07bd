"""Structured logs: one line an event, as JSON or text, both redacted.

Every line has the event's name (`event`), level, time and ids. Redaction is the last safeguard: no
secret should be logged in the first place. Only programs set logging up; packages are given a
logger.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

from holdfast.kernel.failure import brief, outline
from holdfast.kernel.secret import HIDDEN, Secret, is_secret_name, redact

LogFormat = Literal["json", "text"]

VALUE_CHARS_MAX: Final = 4_000
"""Characters of one value in a line; the traceback of an exception may take more."""

_DEPTH_MAX: Final = 6
_TRACEBACK_FIELDS: Final = frozenset({"exception", "stack"})


def clean(name: str, value: Any, depth: int = 0) -> Any:
    """Return a value to log: secrets hidden, texts redacted and cut."""
    if isinstance(value, Secret) or (is_secret_name(name) and isinstance(value, (str, bytes))):
        return HIDDEN if value else ""
    if isinstance(value, str):
        text = redact(value)
        most = VALUE_CHARS_MAX * 4 if name in _TRACEBACK_FIELDS else VALUE_CHARS_MAX
        return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if depth >= _DEPTH_MAX:
        return clean(name, repr(value), depth)
    if isinstance(value, Mapping):
        return {str(key): clean(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [clean(name, item, depth + 1) for item in items]
    return redact(str(value))


def outline_error(
    _logger: Any, _method: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Tell of a line's exception by type and place, as a processor of structlog: no text of it."""
    given = line.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else sys.exc_info()[1] if given is True else given
    if isinstance(error, BaseException):
        line["exception"] = outline(error)
    return line


def brief_errors(record: logging.LogRecord) -> bool:
    """Tell of exceptions in a library's record without their texts, as a filter of a handler."""
    record.msg = _brief(record.msg)
    if isinstance(record.args, tuple):
        record.args = tuple(map(_brief, record.args))
    elif record.args:
        record.args = {name: _brief(value) for name, value in record.args.items()}
    return True


def _brief(value: Any) -> Any:
    return brief(value) if isinstance(value, BaseException) else value


def redact_line(
    _logger: Any, _method: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Redact a line; a processor of structlog."""
    return {name: clean(name, value) for name, value in line.items()}


def set_up(
    *, level: str = "info", form: LogFormat = "json", stream: TextIO | None = None
) -> structlog.typing.FilteringBoundLogger:
    """Set logging up for this process and return its logger.

    Lines of the standard library's logging get the same form. Raise ValueError for an unknown
    level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        message = f"log level {level!r}: want one of debug, info, warning, error, critical"
        raise ValueError(message)
    out = sys.stderr if stream is None else stream
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        outline_error,
        redact_line,
    ]
    structlog.configure(
        processors=[*shared, _renderer(form)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.addFilter(brief_errors)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(form),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=number, force=True)
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def _renderer(form: LogFormat) -> structlog.typing.Processor:
    if form == "json":
        return structlog.processors.JSONRenderer(sort_keys=False)
    return structlog.dev.ConsoleRenderer(colors=False)
