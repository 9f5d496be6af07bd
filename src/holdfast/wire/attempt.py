"""What those who run an attempt keep of it: how it ended, and the fence of its agent."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from holdfast.wire.limits import REASON_MAX


class AttemptEnd(Struct, frozen=True, kw_only=True):
    """How a program ended: its exit code, or -n for signal n.

    `because` is `memory` or `processes` if it was killed for a limit, `asked` if SIGTERM asked it
    to end, `unconfined` or `not_started` if it never ran, else empty. `detail` is for people.
    """

    code: int
    because: Annotated[str, Meta(max_length=32)] = ""
    detail: Annotated[str, Meta(max_length=REASON_MAX)] = ""


class Fence(Struct, frozen=True, kw_only=True):
    """The epochs of an agent's attempts: stopped up to one, started last.

    It outlives their records, so that a start that arrives late starts nothing.
    """

    stopped: int = 0
    started: int = 0
    at_ms: int = 0

    def admits(self, epoch: int, *, known: bool) -> bool:
        """Return whether an attempt may start; `known` says that it is the one of its epoch."""
        is_late = epoch <= self.stopped or epoch < self.started
        return not is_late and (known or epoch != self.started)
