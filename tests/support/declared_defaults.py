"""The defaults that messages and stored forms declare, as text that a test can list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import ModuleType

import msgspec
from msgspec import NODEFAULT, UNSET, Raw, Struct


def structs(modules: Iterable[ModuleType]) -> Iterator[tuple[str, type[Struct]]]:
    """Return the structs of these modules by name: `wire.api.plane.DoctorCheck`."""
    for module in modules:
        for name, kind in vars(module).items():
            if not isinstance(kind, type) or not issubclass(kind, Struct):
                continue
            if kind.__module__ == module.__name__:
                yield f"{module.__name__.removeprefix('holdfast.')}.{name}", kind


def declared(modules: Iterable[ModuleType]) -> dict[str, str]:
    """Return each struct's defaults as JSON, `kind="a" many=0`; absent ones tell of themselves."""
    found = {name: _defaults(kind) for name, kind in structs(modules)}
    return {name: shown for name, shown in found.items() if shown}


def written(table: str) -> dict[str, str]:
    """Return the defaults that a table lists: a line with a name, and indented ones below it."""
    rows: dict[str, list[str]] = {}
    words: list[str] = []
    for line in table.strip().splitlines():
        if line.startswith(" "):
            words += line.split()
        else:
            words = rows.setdefault(line, [])
    return {name: " ".join(listed) for name, listed in rows.items()}


def _defaults(kind: type[Struct]) -> str:
    defaults = [
        (
            field.encode_name,
            field.default_factory() if field.default is NODEFAULT else field.default,
        )
        for field in msgspec.structs.fields(kind)
        if not field.required
    ]
    return " ".join(f"{name}={_text(default)}" for name, default in defaults)


def _text(default: object) -> str:
    if default is UNSET:
        return "absent"
    return bytes(default if isinstance(default, Raw) else msgspec.json.encode(default)).decode()
