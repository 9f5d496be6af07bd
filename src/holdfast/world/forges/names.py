"""Names that reach git, a path or an address, each by one parser that takes little. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Final, Literal, NamedTuple

from holdfast.kernel.outcome import Permanent
from holdfast.wire.address import Place
from holdfast.world.forges.port import NO_BRANCH, RIG_GONE, Repository

_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_BRANCH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*(?:/[A-Za-z0-9_][A-Za-z0-9._+-]*)*")
_BRANCH_CHARS: Final = 200
_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_BEGINNING: Final = re.compile(r"[0-9a-f]{7,64}")
_PATH_CHARS: Final = 4_096
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class UnsafeNameError(ValueError):
    """A name cannot be used; the message says which and what is wanted."""


def safe_name(text: str, what: str) -> str:
    """Return a text that is one component of a path, else raise."""
    if not _SAFE.fullmatch(text):
        raise UnsafeNameError(f"{what}: want letters, digits and . _ -, at most 128 of them")
    return text


def is_branch(text: str) -> bool:
    """Return whether this is a branch that the plane works with; git allows more."""
    parts = text.split("/")
    return (
        len(text) <= _BRANCH_CHARS
        and _BRANCH.fullmatch(text) is not None
        and ".." not in text
        and not any(part.endswith((".lock", ".")) for part in parts)
        and text != "HEAD"
    )


def bad_branch(text: str) -> Permanent:
    """Return the refusal of a branch's name."""
    shown = text[:60].encode("ascii", "backslashreplace").decode()
    return Permanent(
        NO_BRANCH, f"branch {shown!r}: want letters, digits and . _ + - with / between parts"
    )


def is_commit(text: str) -> bool:
    """Return whether this is the full name of a commit."""
    return _COMMIT.fullmatch(text) is not None


def is_beginning(text: str) -> bool:
    """Return whether this may be the beginning of a commit's name."""
    return _BEGINNING.fullmatch(text) is not None


def digest(text: str) -> str:
    """Return a name for a ref that no other text's name is above or below of."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


class Remote(NamedTuple):
    """Where a rig's repository is: a folder of this host, or an address."""

    protocol: Literal["file", "https", "http"]
    url: str


def remote_of(repository: Repository) -> Remote | Permanent:
    """Return where a repository is, or why its address cannot be used.

    Plain http is for this host alone. A name and password in an address are refused: the token is
    where a credential belongs.
    """
    url = repository.url
    if url.startswith("/"):
        if len(url) > _PATH_CHARS or not url.isprintable():
            return Permanent(RIG_GONE, "repository: the path is too long or not printable")
        return Remote("file", url)
    try:
        place = Place.parse(url)
    except ValueError:
        place = None
    if place is None or not url.isascii() or "?" in place.target:
        return Permanent(
            RIG_GONE, "repository: want a folder's absolute path, or an https address without query"
        )
    if place.scheme == "https":
        return Remote("https", url)
    if place.address.host in _LOOPBACK:
        return Remote("http", url)
    return Permanent(RIG_GONE, "repository: want https; http is for this host alone")
