"""Hooks for the end of a program, and for its forks: every open outbox is called.

Registered once for the process, when the first outbox opens. A SIGTERM handler is set only if the
program has none of its own and the main thread opens the outbox; it flushes for a bounded time,
then lets the signal end the program as it would have.
"""

from __future__ import annotations

import atexit
import os
import select
import threading
import weakref
from types import FrameType
from typing import Final, Protocol


class Living(Protocol):
    """An object that is called by the hooks."""

    def close(self, deadline_s: float = ...) -> object:
        """Flush and close, in at most so many seconds."""
        ...

    def hurry(self) -> float:
        """Send what there is, and return a mark for `quiet`; must not lock."""
        ...

    def quiet(self, since_ms: float) -> bool:
        """Return whether nothing more will be sent; must not lock."""
        ...

    def before_fork(self, budget_s: float) -> float:
        """Pause for a fork, waiting at most so long; return what is left of the budget."""
        ...

    def after_fork(self) -> None:
        """Continue, in the parent."""
        ...

    def forked(self) -> None:
        """Start afresh in a child."""
        ...


EXIT_DEADLINE_S: Final = 5.0
_FORK_S: Final = 2.0
"""Total time that all open outboxes may delay a fork."""
_LOOK_S: Final = 0.02
_open: Final[weakref.WeakSet[Living]] = weakref.WeakSet()
_registered: Final[list[bool]] = []
_still: Final = threading.local()


def enter(living: Living) -> None:
    """Call `living` on forks, on the program's end and on SIGTERM, until it leaves."""
    if not _registered:
        _registered.append(True)
        atexit.register(_at_exit)
        os.register_at_fork(
            before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child
        )
    _open.add(living)
    if threading.current_thread() is threading.main_thread():
        import signal  # noqa: PLC0415  # with its enumerations a millisecond, felt at import

        try:
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, _at_term)
        except ValueError:
            # Not the main interpreter, which handles signals.
            return


def leave(living: Living) -> None:
    """Call it no more."""
    _open.discard(living)


def _at_exit() -> None:
    for living in list(_open):
        living.close(EXIT_DEADLINE_S)


def _before_fork() -> None:
    # In one order, so that two threads that fork at once do not wait for each other.
    _still.those = sorted(_open, key=id)
    budget_s = _FORK_S
    for living in _still.those:
        budget_s = living.before_fork(budget_s)


def _after_fork() -> None:
    those, _still.those = getattr(_still, "those", ()), ()
    for living in those:
        living.after_fork()


def _in_child() -> None:
    _still.those = ()
    for living in list(_open):
        living.forked()


def _at_term(number: int, _frame: FrameType | None) -> None:
    """Run between two instructions of the main thread, which may hold any lock: take none."""
    import signal  # noqa: PLC0415  # it is there: `enter` set this handler with it

    waiting = [(living, living.hurry()) for living in list(_open)]
    for _ in range(int(EXIT_DEADLINE_S / _LOOK_S)):
        if all(living.quiet(since_ms) for living, since_ms in waiting):
            break
        select.select([], [], [], _LOOK_S)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
