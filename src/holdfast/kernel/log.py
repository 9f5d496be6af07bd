"""The port of structured logging; structlog's loggers implement it."""

from __future__ import annotations

from typing import Any, Protocol


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
