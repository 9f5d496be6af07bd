"""A log that keeps its lines."""

from __future__ import annotations

from typing import Any

from holdfast.kernel.log import NoLog


class Lines(NoLog):
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.lines.append((level, event, fields))

    def named(self, event: str) -> list[dict[str, Any]]:
        return [fields for _, name, fields in self.lines if name == event]

    def at_least(self, *levels: str) -> list[str]:
        return [name for level, name, _ in self.lines if level in levels]
