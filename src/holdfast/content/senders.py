"""Who sends for a node: one program with one key; a second is named, and its content refused. Pure.

An observer and a daemon beside it read the same files, so that what both send would be there twice.
The one that came first sends. A sender is told by its program and its key; its version may change.
Times are ms since the epoch.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import Struct, field

from holdfast.content import limits
from holdfast.wire import parsers

OURS: Final = "holdfast-observer"
DAEMON: Final = "clawmetry"
"""The program of whoever does not name itself as ours."""


class Sender(Struct, kw_only=True):
    """One program with one key.

    `waits_ms` is since when its content is refused, 0 where it is not. `replaced_ms` is when the
    same program with another key took its place, 0 for never.
    """

    program: str
    key: str
    version: str = ""
    first_ms: int = 0
    heard_ms: int = 0
    waits_ms: int = 0
    replaced_ms: int = 0

    @property
    def id(self) -> str:
        """Return its name among the senders of the node."""
        return sender_id(self.program, self.key)


class Heard(NamedTuple):
    """What a request of a sender means.

    `is_second` says that its content is refused, and `is_news` that it was not before, or that the
    choice of its owner holds for a new key of the same program from now on. `since_ms` is since
    when content of the one that sends from now on was refused, 0 where it was not.
    """

    is_second: bool = False
    is_news: bool = False
    since_ms: int = 0


_FIRST: Final = Heard()


class Senders(Struct, kw_only=True):
    """The senders of one node; `current` is the id of the one that sends.

    `chosen_ms` and `chosen_by` say when its owner chose, and who that was.
    """

    known: list[Sender] = field(default_factory=list[Sender])
    current: str = ""
    chosen_ms: int = 0
    chosen_by: str = ""

    def find(self, sender_id: str) -> Sender | None:
        """Return a sender by its id."""
        return next((one for one in self.known if one.id == sender_id), None)

    def is_second(self, program: str, key: str) -> bool:
        """Return whether content of a sender is refused; nothing is noted."""
        found = self.find(sender_id(program, key))
        return found is not None and found.waits_ms > 0

    def undecided(self, now_ms: int) -> list[Sender]:
        """Return those whose content is refused and about whom the owner is to decide.

        That is who came since the owner chose, and who is heard while the chosen one is silent.
        """
        waiting = [one for one in self.known if one.waits_ms]
        return [
            one for one in waiting if one.first_ms > self.chosen_ms or self._is_alone(one, now_ms)
        ]

    def is_chosen_silent(self, now_ms: int) -> bool:
        """Return whether whom the owner chose is silent while another is heard."""
        return self.chosen_ms > 0 and any(
            one.waits_ms and self._is_alone(one, now_ms) for one in self.known
        )

    def _is_alone(self, one: Sender, now_ms: int) -> bool:
        """Return whether a second is heard, and the one that sends was not since it waits."""
        is_heard = now_ms - one.heard_ms < limits.ONLINE_MS
        return is_heard and self._silent_ms(one, now_ms) >= limits.ONLINE_MS

    def _silent_ms(self, one: Sender, now_ms: int) -> int:
        """Return how long the one that sends has been silent beside a second."""
        current = self.find(self.current)
        return now_ms - max(0 if current is None else current.heard_ms, one.waits_ms)

    def hear(self, program: str, key: str, version: str, now_ms: int) -> Heard:
        """Note a request of a sender."""
        one = self.find(sender_id(program, key))
        is_new = one is None
        if one is None:
            one = Sender(program=program, key=key, first_ms=now_ms, heard_ms=now_ms)
            self._make_room(now_ms)
            self.known.append(one)
        was_ms, one.heard_ms = one.heard_ms, now_ms
        one.version = version or one.version
        current = self.find(self.current)
        if current is None or current is one:
            self.current, one.waits_ms = one.id, 0
            return _FIRST
        if one.replaced_ms:
            return self._returned(one, current, now_ms)
        if is_new and one.program == current.program:
            # The same machine registered again: what used the key before is not there any more.
            current.replaced_ms, self.current = now_ms, one.id
            return Heard(is_news=self.chosen_ms > 0)
        if is_new:
            self._take_place(one)
        return self._second(one, was_ms, now_ms)

    def _take_place(self, one: Sender) -> None:
        """Let a second that came with another key be the one that its owner knows already."""
        for other in self.known:
            if other is not one and other.waits_ms and other.program == one.program:
                one.first_ms, one.waits_ms = other.first_ms, other.waits_ms
                self.known.remove(other)
                return

    def _returned(self, one: Sender, current: Sender, now_ms: int) -> Heard:
        """Note a request of one that was replaced: beyond the last of its own, there are two."""
        if now_ms - one.replaced_ms < limits.SENDER_LAST_MS:
            return _FIRST
        one.replaced_ms, self.current = 0, one.id
        current.waits_ms = now_ms
        return Heard(is_news=True)

    def _second(self, one: Sender, was_ms: int, now_ms: int) -> Heard:
        """Note a request of a second, which follows where the first is silent meanwhile.

        Where both were silent, as while the plane did not run, the time begins anew. Whom the owner
        chose is never followed.
        """
        is_news = not one.waits_ms
        if is_news or now_ms - was_ms > limits.ONLINE_MS:
            one.waits_ms = now_ms
        if self.chosen_ms or self._silent_ms(one, now_ms) < limits.ONLINE_MS:
            return Heard(is_second=True, is_news=is_news)
        since_ms, one.waits_ms = one.waits_ms, 0
        self.current = one.id
        return Heard(is_news=True, since_ms=since_ms)

    def choose(self, sender_id: str, *, by: str, now_ms: int) -> int:
        """Let one of the known send and no other; return since when its content was refused."""
        since_ms = 0
        for one in self.known:
            if one.id == sender_id:
                since_ms, one.waits_ms = one.waits_ms, 0
            else:
                one.waits_ms = one.waits_ms or now_ms
            one.replaced_ms = 0
        self.current, self.chosen_ms, self.chosen_by = sender_id, now_ms, by
        return since_ms

    def _make_room(self, now_ms: int) -> None:
        """Forget whom nobody heard for long, and of more than are kept who was heard first."""
        kept = [
            one
            for one in self.known
            if one.id == self.current or now_ms - one.heard_ms < limits.SENDER_KEPT_MS
        ]
        kept.sort(key=lambda one: (one.id == self.current, one.heard_ms))
        self.known = kept[-(limits.SENDERS_MAX - 1) :]


def sender_id(program: str, key: str) -> str:
    """Return the name of a sender among those of its node."""
    return f"{program}:{key}"


def program_of(agent: str) -> str:
    """Return the program of a request by what it says of itself (`User-Agent`)."""
    return OURS if agent.partition("/")[0] == OURS else DAEMON


def resends(version: str) -> bool:
    """Return whether a client keeps what is answered with 403, and sends it again.

    One that never sent a heartbeat, and so has no version, is taken as such: only older ones do
    that.
    """
    if not version:
        return True
    if not version.startswith(limits.OLD_PREFIX):
        return False
    release = parsers.whole(version.removeprefix(limits.OLD_PREFIX))
    return release is not None and release < limits.OLD_BELOW
