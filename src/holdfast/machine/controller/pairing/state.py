"""What is known of who waits: a value, changed by `apply`, shown by `views`.

A *shelf* holds one kind of request, by *part*: one part for each channel, a single one with the
empty name for devices. Each part knows by itself when it was last read and what went wrong since.
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

    `key` names it on every release and is never used for another one. `code` is empty for devices
    and where the source does not tell it. `expires_ms` is the last moment at which it is valid,
    None for a device request without a time, which does not expire. `entry` is what may leave.
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
        """Return what tells the request from others by its code, empty without one."""
        return code_mark(self.channel, self.code) if self.code else ""


def code_mark(channel: str, code: str) -> str:
    """Return the key of a verdict about a request of which only the code was known."""
    return f"{channel}/{code.upper()}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a read failed: a stable code, and a sentence that holds nothing of the agent's output.

    `missing` says that there is no such file. `strange` says that what is there is not understood,
    so that nothing can be concluded from it. `detail`, `exit_code` and `took_ms` are for the log.
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
    """What one read of one part brought: its rows or why there are none, and from which source.

    `note` says why a better source was passed over.
    """

    source: str
    result: tuple[Row, ...] | Failure
    note: str = ""


Look: TypeAlias = Mapping[str, Found] | Failure
"""What one look brought: each part by its name, or why nothing could be looked at."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of one channel, or of the devices.

    `number` is that of the look that `rows` are from, 0 for none. `gone` says that the file was
    missing once already although there were rows.
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
    """What is known of one kind; `number` is that of the look whose parts these are.

    `failure` is why the last look could not be made at all. `updated_ms` is when a look last
    succeeded, None for never. `looked` says that a look has ended, whatever came of it.
    """

    kind: Kind
    parts: Mapping[str, Part] = field(default_factory=dict)
    number: int = 0
    updated_ms: int | None = None
    failure: Failure | None = None
    looked: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """A request that was decided; it is not shown again, however long a source still lists it."""

    key: str
    kind: Kind
    channel: str
    code: str
    ruling: Ruling
    at_ms: int
    until_ms: int


Verdicts: TypeAlias = Mapping[str, Verdict]
"""Decided requests by their keys, or by `code_mark` where the key was not known."""
