"""Where structured log lines go, as a port: structlog's loggers fit it."""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    """Where structured lines go; whoever wires it redacts them."""

    def debug(self, event: str, **fields: Any) -> Any:
        """Write what only a search for a fault wants."""
        ...

    def info(self, event: str, **fields: Any) -> Any:
        """Write what happened as it should."""
        ...

    def warning(self, event: str, **fields: Any) -> Any:
        """Write what should not happen, and was dealt with."""
        ...

    def error(self, event: str, **fields: Any) -> Any:
        """Write what somebody should look at; `exc_info` takes an exception."""
        ...

    def critical(self, event: str, **fields: Any) -> Any:
        """Write what stops work until somebody acts."""
        ...


class NoLog:
    """A log that keeps nothing; a subclass keeps lines by its `write`."""

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """Take one line."""

    def debug(self, event: str, **fields: Any) -> None:
        """Write at this level; so do the others."""
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
