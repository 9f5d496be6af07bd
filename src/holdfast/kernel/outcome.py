"""The outcome of a call to another system.

Within Holdfast an expected failure is a value, not an exception, so that the caller must handle it.
Exceptions are for bugs and for the edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ok(Generic[T]):
    """Done; `value` is the answer."""

    value: T


@dataclass(frozen=True, slots=True)
class Retryable:
    """It may work later: a timeout, a lost connection, a rate limit, a fault of the other side.

    It may also have been done already, which is why every call carries an idempotency key.
    `retry_after_ms` is the delay that the other side requested, if any.
    """

    code: str
    message: str
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Permanent:
    """It will not work however often it is tried: bad input, no permission, not found."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something else exists already; `holder` names it where the other side reported it."""

    code: str
    message: str
    holder: str | None = None


Failure: TypeAlias = Retryable | Permanent | Conflict
Outcome: TypeAlias = Ok[T] | Retryable | Permanent | Conflict
