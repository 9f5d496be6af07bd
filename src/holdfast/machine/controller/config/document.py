"""A configuration as a value: parsing its text, identifying its content, merging a patch.

The text may be JSON5, which people write; what we write is JSON. The etag identifies a text, byte
for byte. The content hash identifies the parsed value, so that a verdict holds for the same
settings in another layout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

CONFIG_BYTES_MAX: Final = 1_048_576
"""Maximum bytes of a configuration's text; a real one takes less than 100 KiB."""

CONFIG_DEPTH_MAX: Final = 32
"""Maximum nesting of objects and lists; OpenClaw's deepest setting is at 8."""

KEY_PATHS_MAX: Final = 32
"""Maximum paths of keys in one log line."""

VERSIONS_KEPT: Final = 20
"""Texts kept to go back to, besides the last healthy one, which is always kept."""

VERDICTS_KEPT: Final = 500
"""Verdicts kept, some 300 bytes each; the oldest bad ones are dropped first."""

REASON_CHARS_MAX: Final = 512
"""Maximum characters of the reason in a verdict, as in a check-in."""


Config = dict[str, Any]

UNSAFE_KEYS: Final = frozenset({"__proto__", "prototype", "constructor"})
"""Keys with a special meaning in JavaScript; a patch cannot set them."""

_MD5_DIGITS: Final = 32


class DocumentError(ValueError):
    """A text is not a configuration; the message gives the reason and quotes nothing of it."""


class Document(NamedTuple):
    """A parsed text; `plain` if it is JSON, and not only JSON5."""

    raw: bytes
    config: Config
    plain: bool

    @property
    def etag(self) -> str:
        """Return the SHA-256 of the text in 64 digits."""
        return etag_of(self.raw)

    @property
    def content(self) -> str:
        """Return the hash of the parsed value, independent of the layout."""
        return content_of(self.config)


def parse(raw: bytes) -> Document:
    """Return the configuration in a text of JSON or JSON5; raise DocumentError."""
    plain = True
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        plain = False
        found = _parse_json5(raw)
    except RecursionError:
        raise DocumentError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise DocumentError("it is not an object")
    if _depth(found) > CONFIG_DEPTH_MAX:
        raise DocumentError(f"it is nested more than {CONFIG_DEPTH_MAX} deep")
    return Document(raw, found, plain)


def compose(config: Config) -> Document:
    """Return the text we write for a configuration; raise DocumentError."""
    try:
        raw = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError):
        raise DocumentError("it holds what JSON cannot say") from None
    return parse(raw)


def etag_of(raw: bytes) -> str:
    """Return the etag of a text."""
    return hashlib.sha256(raw).hexdigest()


def content_of(config: Config) -> str:
    """Return the content hash of a configuration, independent of the order of keys."""
    canonical = json.dumps(config, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def matches(given: str, raw: bytes) -> bool:
    """Return whether an etag names this text: ours, quoted or not, or its MD5.

    MD5 is what clients of compat/controller.md compute.
    """
    bare = given.strip().removeprefix('"').removesuffix('"').lower()
    if len(bare) == _MD5_DIGITS:
        return bare == hashlib.md5(raw, usedforsecurity=False).hexdigest()
    return bare == etag_of(raw)


def merge(config: Mapping[str, Any], patch: Mapping[str, Any]) -> Config:
    """Return `config` with a merge patch (RFC 7396) applied: null deletes, objects are merged.

    Keys with a special meaning in JavaScript are left out.
    """
    merged: Config = dict(config)
    for key, value in patch.items():
        if key in UNSAFE_KEYS:
            continue
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            before = merged.get(key)
            merged[key] = merge(before if isinstance(before, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def key_paths(patch: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of the keys that a patch touches, at most KEY_PATHS_MAX."""
    found: list[str] = []
    _walk(patch, "", found)
    return tuple(found)


def _walk(patch: Mapping[str, Any], above: str, found: list[str]) -> None:
    for key, value in patch.items():
        if len(found) >= KEY_PATHS_MAX:
            return
        path = f"{above}.{key}" if above else key
        if isinstance(value, dict) and value:
            _walk(value, path, found)
        else:
            found.append(path)


def _parse_json5(raw: bytes) -> Any:
    import pyjson5  # noqa: PLC0415  most files are plain JSON, and it costs memory

    try:
        return pyjson5.decode(raw.decode(), maxdepth=CONFIG_DEPTH_MAX + 1)
    except UnicodeDecodeError:
        raise DocumentError("it is not UTF-8") from None
    except pyjson5.Json5Exception as error:
        # Its message may quote the text; its type does not.
        raise DocumentError(f"it is neither JSON nor JSON5 ({type(error).__name__})") from None


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0
