"""Secrets as values that do not print, and redaction of texts.

A secret leaves this wrapper only by `reveal`, which is easy to search for. Redaction is the last
safeguard of logs and error texts and must never be the only one.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final, TypeVar

T = TypeVar("T")

HIDDEN: Final = "[hidden]"

_NAMES: Final = (
    r"(?:pass(?:word|phrase|wd)?|secret|token|api[_-]?key|authorization|cookie|credential|private)"
)
_VALUES: Final = (
    r"(?:Bearer\s+\S+|enc:v1:[A-Za-z0-9+/=]+|\bhf[a-z]?_[A-Za-z0-9_-]{12,}"
    r"|\bsk-[A-Za-z0-9_-]{8,}|\b\d{6,12}:[A-Za-z0-9_-]{30,}\b|\bxox[abp]-[A-Za-z0-9-]+)"
)
_ASSIGNMENTS: Final = (
    # Text before the keyword is kept, so it need not be matched. What follows is bounded: an agent
    # may print lines of thousands of letters, which must not cost seconds.
    r"(?P<name>(?:password|passphrase|secret|token|api[_-]?key)[\w-]{0,64})"
    r"(?P<between>[\"']?\s*[=:]\s*[\"']?)(?P<value>[^\s\"',;&]+)"
)


@cache
def _pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """Compile at the first use, which programs that only hold secrets never reach."""
    return re.compile(text, flags)


class SecretError(ValueError):
    """What was given as a secret cannot be one; the text names where it came from and not what."""


_SENDABLE: Final = r"[!-~]{1,8192}"
"""What a header can carry: visible ASCII, without blanks."""


class Secret:
    """A confidential text: equality takes constant time, printing shows nothing."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    @classmethod
    def read(cls, text: str, source: str) -> Secret:
        """Return what `source` (a variable, a file, an option) gives as a secret; empty for none.

        Blanks around it are dropped, as the newline at the end of a file. Raise SecretError for
        what no header can carry.
        """
        bare = text.strip(" \t\r\n")
        if bare and not _pattern(_SENDABLE).fullmatch(bare):
            raise SecretError(
                f"{source} must be one line of visible ASCII, of at most 8192 characters"
            )
        return cls(bare)

    def reveal(self) -> str:
        """Return the text itself."""
        return self._value

    def __bool__(self) -> bool:
        """Return whether the text is not empty."""
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        """Compare in constant time with another secret."""
        if not isinstance(other, Secret):
            return NotImplemented
        # Imported late: it loads OpenSSL, and comparisons are rare.
        import hmac  # noqa: PLC0415

        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        """Return the hash of the text."""
        return hash(self._value)

    def __repr__(self) -> str:
        """Return a placeholder without the text."""
        return f"Secret({HIDDEN})"

    __str__ = __repr__


def is_secret_name(name: str) -> bool:
    """Return whether a field or variable of this name probably holds a secret."""
    return _pattern(_NAMES, re.IGNORECASE).search(name) is not None


def redact(text: str) -> str:
    """Return the text with all that looks like a credential replaced by a mark."""
    cleaned = _pattern(_VALUES).sub(HIDDEN, text)
    assignments = _pattern(_ASSIGNMENTS, re.IGNORECASE)
    return assignments.sub(lambda m: f"{m['name']}{m['between']}{HIDDEN}", cleaned)


def clean(name: str, value: T) -> T | str:
    """Return a field of a log line: a text redacted, or hidden if its name is that of a secret."""
    if not isinstance(value, str):
        return value
    return HIDDEN if is_secret_name(name) and value else redact(value)
