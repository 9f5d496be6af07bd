"""Field types that several messages share, each with its limit.

One name for one shape: a program that has seen an instance's id in one answer can use it in any
request. Nothing here knows an endpoint.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.limits import (
    COUNTER_MAX,
    ENV_NAME_MAX,
    ENV_VALUE_MAX,
    ENV_VARIABLES_MAX,
    REASON_MAX,
    TEXT_MAX,
    TIME_TEXT_MAX,
)

ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}"
"""An id in a path or query, whole."""

NAME_PATTERN: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
"""A name people give: a DNS label, so that any cloud can carry it."""

_END: Final = r"$(?!\n)"
"""The end of a text, for a pattern that is searched for: to Python, `$` is before a last newline
too, and a name with one looks like another's."""

Id = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX, pattern=rf"^{ID_PATTERN}{_END}")]
Given = Annotated[str, Meta(min_length=1, max_length=63, pattern=rf"^{NAME_PATTERN}{_END}")]
Label = Annotated[str, Meta(max_length=TEXT_MAX)]
Reason = Annotated[str, Meta(max_length=REASON_MAX)]
Time = Annotated[str, Meta(max_length=TIME_TEXT_MAX)]
"""ISO 8601 in UTC with milliseconds, `2026-11-21T09:30:00.000Z`."""
Counter = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
Cursor = Annotated[str, Meta(max_length=256)]
"""Where the next page begins; opaque, empty on the last page."""

EnvName = Annotated[
    str, Meta(min_length=1, max_length=ENV_NAME_MAX, pattern=rf"^[A-Za-z_][A-Za-z0-9_]*{_END}")
]
EnvValue = Annotated[str, Meta(max_length=ENV_VALUE_MAX)]
Env = Annotated[dict[EnvName, EnvValue], Meta(max_length=ENV_VARIABLES_MAX)]
EnvPatch = Annotated[dict[EnvName, EnvValue | None], Meta(max_length=ENV_VARIABLES_MAX)]
"""Changes of variables: a value sets, null removes, a name not given stays."""

Outcome = Literal["applied", "ignored", "refused", "quarantined", "pending"]
"""What became of an event."""


class Detail(Struct, frozen=True, kw_only=True):
    """One named fact beside an entry, for people to read; never a secret, never content."""

    name: Label
    value: Reason


class Empty(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request that says nothing beyond its path: `{}`."""
