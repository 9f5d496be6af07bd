"""Answers of a controller about configuration, files, doctor and start, as the plane reads them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from holdfast.wire.messages.care import (
    FILE_CHARS_MAX,
    OUTPUT_CHARS_MAX,
    VERSIONS_MAX,
    Config,
    Etag,
)
from holdfast.wire.messages.fields import Counter, Label, Reason, Time


class ConfigAnswer(Struct, frozen=True, kw_only=True):
    """The configuration; older controllers do not say whether it is plain JSON."""

    config: Config
    etag: Etag
    plain: bool = True


class VersionAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """One version of a configuration."""

    etag: Etag
    at: Time
    origin: Label
    verdict: Literal["healthy", "bad", "unknown"] = "unknown"
    verdict_at: Time | None = None
    reason: Reason = ""


class VersionsAnswer(Struct, frozen=True, kw_only=True):
    """The versions, the latest first."""

    versions: Annotated[tuple[VersionAnswer, ...], Meta(max_length=VERSIONS_MAX)]


class ChangeAnswer(Struct, frozen=True, kw_only=True):
    """What came of a change."""

    ok: bool
    etag: Etag = ""
    changed: bool = True


class Node(Struct, frozen=True, kw_only=True):
    """A file, or a folder with what is in it."""

    path: Annotated[str, Meta(max_length=8_192)]
    type: Literal["file", "directory"]
    children: tuple[Node, ...] = ()
    truncated: bool = False


class TreeAnswer(Struct, frozen=True, kw_only=True):
    """What lies below a folder."""

    tree: tuple[Node, ...]
    truncated: bool = False


class TextAnswer(Struct, frozen=True, kw_only=True):
    """A text file."""

    content: Annotated[str, Meta(max_length=FILE_CHARS_MAX)]
    etag: Etag


class EtagAnswer(Struct, frozen=True, kw_only=True):
    """The name of what was written."""

    etag: Etag


class DoctorAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """The record of a doctor run with its output."""

    has_run: bool
    status: Literal["running", "completed", "failed", "cancelled"] | None = None
    run_id: Label = ""
    fix: bool = True
    started_at: Time | None = None
    finished_at: Time | None = None
    exit_code: int | None = None
    error: Reason | None = None
    output: Annotated[str, Meta(max_length=OUTPUT_CHARS_MAX)] = ""
    output_truncated: bool = False
    next_offset: Counter = 0


class OkAnswer(Struct, frozen=True, kw_only=True):
    """It was done."""

    ok: bool


class RetryAnswer(Struct, frozen=True, kw_only=True):
    """The phase that is tried again."""

    ok: bool
    phase: Label
