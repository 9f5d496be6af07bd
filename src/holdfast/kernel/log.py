"""Where structured log lines go, as a port: structlog's loggers fit it.

The entry point of a process passes a `TotalLog` to everything else: code logs between the steps of
its work, and a full disk or a closed pipe must not interrupt it there.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

PIPE_BYTES: Final = 4_096
"""Bytes that a pipe polled as writable takes without blocking (PIPE_BUF on Linux)."""


class Log(Protocol):
    """A structured logger; plane/wiring gives one that redacts secrets."""

    def debug(self, event: str, **fields: Any) -> Any:
        """Log details for debugging."""
        ...

    def info(self, event: str, **fields: Any) -> Any:
        """Log a normal event."""
        ...

    def warning(self, event: str, **fields: Any) -> Any:
        """Log a problem that was handled."""
        ...

    def error(self, event: str, **fields: Any) -> Any:
        """Log a fault to look at; `exc_info` takes an exception."""
        ...

    def critical(self, event: str, **fields: Any) -> Any:
        """Log a fault that stops work until a person acts."""
        ...


class NoLog:
    """A log that discards lines; a subclass keeps them by overriding `write`."""

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """Discard one line."""

    def debug(self, event: str, **fields: Any) -> None:
        """Write at this level."""
        self.write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Write at this level."""
        self.write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Write at this level."""
        self.write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Write at this level."""
        self.write("error", event, fields)

    def critical(self, event: str, **fields: Any) -> None:
        """Write at this level."""
        self.write("critical", event, fields)


class TotalLog(NoLog):
    """Wraps another log so that no call raises; `dropped` counts the lines that failed.

    After failures, the first line that succeeds is followed by one with the number of dropped ones.
    """

    def __init__(self, inner: Log) -> None:
        """Write into `inner`."""
        self._inner = inner
        self._told = 0
        self.dropped = 0

    @classmethod
    def over(cls, log: Log) -> TotalLog:
        """Return a log over another, or that log itself where it is one already."""
        return log if isinstance(log, TotalLog) else cls(log)

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """Write one line to the inner log; on an exception, count it as dropped."""
        try:
            getattr(self._inner, level)(event, **fields)
            if self._told != self.dropped:
                dropped = self.dropped
                self._inner.error("log.lines_dropped", lines=dropped - self._told, in_all=dropped)
                self._told = dropped
        except Exception:  # noqa: BLE001  only this count can report it
            self.dropped += 1
