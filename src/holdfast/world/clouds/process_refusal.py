"""Refusals of the blocking half of the process cloud.

The blocking half runs in threads, many calls deep, where an exception is simpler than passing an
outcome up by hand; the asynchronous half turns it into that outcome at once. It must never leave
the package.
"""

from __future__ import annotations

from holdfast.kernel.outcome import Failure


class DeclinedError(Exception):
    """A typed failure on its way to the caller."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.code}: {failure.message}")
        self.failure = failure
