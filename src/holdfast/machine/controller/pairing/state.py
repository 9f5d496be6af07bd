"""The cached pairing requests: a value, changed by `apply`, shown by `views`.

A snapshot holds one kind of request, by *part*: one part per channel, a single one with the empty
name for devices. Each part records when it was last read and its failure since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from holdfast.wire.controller.pairing import Kind

DEVICES: Final = ""
"""The name of the devices' only part."""

Ruling: TypeAlias = Literal["approved", "dismissed"]


@dataclass(frozen=True, slots=True)
class Row:
    """One request.

    `key` identifies it on every release and is never reused. `code` is empty for devices and where
    the source does not have it. `expires_ms` is the last moment at which it is valid, None for a
    device request without a time, which does not expire. `entry` is what may be passed on.
    """

    key: str
    channel: str
    code: str
    expires_ms: int | None
    order_ms: float | None
    fingerprint: str
    entry: Mapping[str, Any] = field(hash=False)

    @property
    def code_mark(self) -> str:
        """Return a mark of the request by its code, empty without one."""
        return code_mark(self.channel, self.code) if self.code else ""


def code_mark(channel: str, code: str) -> str:
    """Return the key of a verdict about a request of which only the code was known."""
    return f"{channel}/{code.upper()}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a read failed: a stable code, and a sentence without any of the agent's output.

    `missing` means that there is no such file. `strange` means that the content is not understood,
    so that nothing follows from it. `detail`, `exit_code` and `took_ms` are for the log.
    """

    code: str
    message: str
    missing: bool = False
    strange: bool = False
    detail: str = ""
    exit_code: int | None = None
    took_ms: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one read of one part: its rows or its failure, and the source.

    `note` gives the reason why a better source was skipped.
    """

    source: str
    result: tuple[Row, ...] | Failure
    note: str = ""


Look: TypeAlias = Mapping[str, Found] | Failure
"""The result of one read: parts by name, or why nothing could be read."""


@dataclass(frozen=True, slots=True)
class Part:
    """State of one channel, or of the devices.

    `number` is that of the read that `rows` are from, 0 for none. `gone` means that the file was
    missing once although there were rows.
    """

    rows: tuple[Row, ...] = ()
    source: str = ""
    number: int = 0
    success_ms: int | None = None
    failure: Failure | None = None
    gone: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of one kind; `number` is that of the read its parts are from.

    `failure` is why the last read could not begin. `updated_ms` is the time of the last success,
    None for never. `looked` means that a read has ended, with any result.
    """

    kind: Kind
    parts: Mapping[str, Part] = field(default_factory=dict)
    number: int = 0
    updated_ms: int | None = None
    failure: Failure | None = None
    looked: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decided request; it is not shown again, however long a source still lists it."""

    key: str
    kind: Kind
    channel: str
    code: str
    ruling: Ruling
    at_ms: int
    until_ms: int


Verdicts: TypeAlias = Mapping[str, Verdict]
"""Decided requests by key, or by `code_mark` where the key was unknown."""
