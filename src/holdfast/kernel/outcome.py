"""What came of asking the outside for something.

Inside Holdfast a failure that can be expected is a value, not an exception: whoever asked must
decide what it means. Exceptions are left for bugs and for the edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ok(Generic[T]):
    """It was done; `value` is the answer."""

    value: T


@dataclass(frozen=True, slots=True)
class Retryable:
    """It may work later: a timeout, a lost connection, a rate limit, a fault of the other side.

    It may also have been done already, which is why every call carries an idempotency key.
    `retry_after_ms` is what the other side asked for, if it asked.
    """

    code: str
    message: str
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Permanent:
    """It will not work however often it is asked: bad input, no right, no such thing."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something else is there already; `holder` names it where the other side told us."""

    code: str
    message: str
    holder: str | None = None


Failure: TypeAlias = Retryable | Permanent | Conflict
Outcome: TypeAlias = Ok[T] | Retryable | Permanent | Conflict
