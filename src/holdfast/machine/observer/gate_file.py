"""The gate of this node: its state in one file, and what it lets through now.

Missing, damaged or unreadable means closed. What opens is on the disk before it opens; what closes
closes at once, and where it cannot be written the file is removed, so that no restart opens again.
Each transition is logged once. Safe from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from holdfast.disk import durable_file
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import reason
from holdfast.kernel.log import Log
from holdfast.machine.controller.observing import protocol
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.observer import gate, limits
from holdfast.machine.observer.gate import Answer, GateState, Reading
from holdfast.wire.consent import CLASSES, PREVIEW_MS, ContentClass, Grant, Preview, SignedDocument
from holdfast.wire.limits import COUNTER_MAX

FILE: Final = protocol.GATE_FILE
UNHEARD: Final = "unheard"
"""The server's word before its first answer, and once its last one is too old."""
ALLOWED: Final = "allowed"
REFUSED: Final = "refused"

_WORDS: Final = {True: ALLOWED, False: REFUSED, None: UNHEARD}

INTENT_PENDING: Final = "intent_pending"


class View(NamedTuple):
    """What of a gate is told to others when it changes; `since_ms` is the oldest content."""

    classes: frozenset[ContentClass] = frozenset()
    since_ms: int = 0
    word: str = UNHEARD
    reason: str = ""


def _nothing() -> None:
    """Tell nobody."""


class Gate:
    """Asked before anything is queued, and again before it is sent.

    `on_change` is called, without a lock held, after each change of what is open.
    """

    def __init__(self, folder: Path, *, clock: Clock, log: Log) -> None:
        """Read the gate's file in `folder`; the gate is closed if there is none, or it is damaged.

        `problem` is why the file could not be used, empty if it could or there is none.
        """
        self._path = folder / FILE
        self._clock = clock
        self._log = log
        self._lock = threading.RLock()
        self.on_change: Callable[[], None] = _nothing
        self.problem = ""
        self._state = self._read()
        self._grant = gate.standing_grant(self._state)
        self._time = Reading(max(clock.now_ms(), self._state.seen_ms), clock.steady_ms())
        self._word = UNHEARD
        self._word_reason = ""
        self._word_ms = float("-inf")
        self._allowed = 0
        self._shown = View()
        self._refused = ""
        self._preview: Preview | None = None
        self._preview_signed: SignedDocument | None = None
        self._preview_ms = 0.0
        self._preview_refused = ""

    def _read(self) -> GateState:
        try:
            content = atomic_file.read_file(self._path, limits.GATE_BYTES_MAX)
            return gate.decode_state(content)
        except FileNotFoundError:
            return GateState()
        except OSError as error:
            self.problem = reason(error)
        except ValueError as error:
            self.problem = str(error)
        self._log.error("gate.damaged", path=str(self._path), reason=self.problem)
        return GateState()

    def pin(self, node: str, key: str) -> str:
        """Remember the plane's public key and its id of this node; return why not, if not.

        Only a gate without a key takes one: whoever could replace it could open the gate. Nothing
        is open afterwards. A damaged file stays in its place, and the gate closed, until a person
        removes it.
        """
        if not node or gate.public_key(key) is None:
            return "consent key: want an Ed25519 key of 32 bytes in base64url, and a node id"
        with self._lock:
            if self.problem:
                return f"{self._path} cannot be used ({self.problem}): remove it, and start again"
            if self._state.keys:
                same = self._state.node == node and key in self._state.keys
                return "" if same else f"another key or node is pinned: remove {self._path}"
            state = GateState(node=node, keys=(key,), seen_ms=self._now_ms())
            if not self._write(state):
                return f"{self._path} cannot be written"
            self._state, self._grant = state, None
        self._log.info("gate.pinned", node=node)
        return ""

    # ------------------------------------------------------------------ what changes it

    def heard(self, status: int, body: bytes) -> Answer | None:
        """Take in the answer to a heartbeat, any bytes; return what it says, None for nothing."""
        answer = gate.read_answer(status, body)
        if answer is not None:
            with self._lock:
                self._take(answer)
        self.look()
        return answer

    def _take(self, answer: Answer) -> None:
        if answer.node not in {"", self._state.node} and self._state.node:
            # The key is another node's, which an agent can put into the registration: what is
            # allowed there is nothing here.
            answer = Answer(reason=gate.ANOTHER_NODE)
        self._word = _WORDS[answer.sync_allowed]
        self._allowed += self._word == ALLOWED
        self._word_reason = answer.reason
        self._word_ms = self._clock.steady_ms()
        taken = gate.take(self._state, answer, self._clock.now_ms())
        if taken.refused and taken.refused != self._refused:
            self._log.warning("gate.refused", reason=taken.refused)
        self._refused = taken.refused
        if taken.state != self._state:
            self._keep(taken.state)
        self._take_preview(answer)

    def _take_preview(self, answer: Answer) -> None:
        """Take what asks for samples: its number is on the disk before any leaves.

        A preview stands in each answer while it holds. So an answer without it ends it, and so
        does a grant with a higher number: the owner has decided since.
        """
        standing = self._preview
        if standing is not None and (
            answer.preview != self._preview_signed or standing.number < self._state.seen_number
        ):
            self._preview = None
        asked = gate.take_preview(self._state, answer.preview, self._now_ms())
        if asked.refused and asked.refused != self._preview_refused:
            self._log.warning("preview.refused", reason=asked.refused)
        self._preview_refused = asked.refused
        if asked.preview is None or not self._write(asked.state):
            return
        self._state = asked.state
        self._preview, self._preview_signed = asked.preview, answer.preview
        self._preview_ms = self._clock.steady_ms()
        self._log.info("preview.asked", number=asked.preview.number)

    def asked(self) -> Preview | None:
        """Return the preview whose samples may leave now, None for none."""
        with self._lock:
            found = self._preview
            if found is None or not self._in_time(found):
                self._preview = None
            return self._preview

    def may_preview(self, number: int) -> bool:
        """Return whether the samples of a preview may leave at this moment."""
        found = self.asked()
        return found is not None and found.number == number

    def end_preview(self, number: int) -> None:
        """Let out no more for a preview; one that was asked for after it goes on."""
        with self._lock:
            if self._preview is not None and self._preview.number == number:
                self._preview = None

    def _in_time(self, preview: Preview) -> bool:
        passed_ms = self._clock.steady_ms() - self._preview_ms
        return passed_ms < PREVIEW_MS and self._now_ms() < preview.until_ms

    def _keep(self, state: GateState) -> None:
        """Put another state in force, once it is on the disk."""
        renewed = state.grant != self._state.grant
        if not self._write(state):
            # Nothing that came may open, and what it closes closes, by forgetting the grant. Its
            # number is not kept, so that the same grant is taken once the disk can be written.
            self._state = msgspec.structs.replace(self._state, grant=None, narrowing=None)
            self._grant = None
            self._forget()
            return
        self._state, self._grant = state, gate.standing_grant(state)
        if renewed:
            self._time = Reading(state.seen_ms, self._clock.steady_ms())

    def _forget(self) -> None:
        with suppress(OSError):
            self._path.unlink()
            durable_file.sync_folder(self._path.parent)

    def _write(self, state: GateState) -> bool:
        try:
            atomic_file.make_folder(self._path.parent)
            atomic_file.write(self._path, gate.encode_state(state))
        except OSError as error:
            self._log.error("gate.unwritable", path=str(self._path), reason=reason(error))
            return False
        return True

    def look(self) -> None:
        """Log what has changed since the last call, and tell whoever waits for it."""
        with self._lock:
            now_ms = self._now_ms()
            classes = gate.open_classes(self._state, self._grant, now_ms)
            since_ms = self._grant.backfill_from_ms if self._grant and classes else 0
            view = View(classes, since_ms, self._said(), self._word_reason)
            if view == self._shown:
                return
            before, self._shown = self._shown, view
            because = gate.closed_because(self._state, self._grant, now_ms)
            if because == gate.EXPIRED and before.classes:
                self.remember_time()
        self._tell(before, view, because)
        self.on_change()

    def remember_time(self) -> None:
        """Keep how late it is, if a grant that ends depends on it: see `GateState.seen_ms`."""
        with self._lock:
            if self._grant is None or not self._grant.until_ms:
                return
            state = msgspec.structs.replace(self._state, seen_ms=self._now_ms())
            if self._write(state):
                self._state = state

    def _tell(self, before: View, now: View, because: str) -> None:
        opened, closed = now.classes - before.classes, before.classes - now.classes
        if opened:
            self._log.info("gate.opened", classes=_names(opened), grant=self._state.seen_number)
        if closed:
            self._log.info("gate.closed", classes=_names(closed), reason=because or "revoked")
        if now.since_ms != before.since_ms and before.classes and now.classes:
            number = self._state.seen_number
            self._log.info("gate.bounded", backfill_from_ms=now.since_ms, grant=number)
        if (now.word, now.reason) == (before.word, before.reason):
            return
        if now.word == ALLOWED:
            self._log.info("sync.activated", text="The plane takes what the owner allows.")
        elif now.word == UNHEARD:
            self._log.warning("sync.unheard", text="No answer to heartbeats: nothing is sent.")
        elif now.reason == INTENT_PENDING:
            self._log.info("sync.deferred", text="Waits for the owner to open the dashboard.")
        else:
            self._log.warning("sync.paused", reason=now.reason or "the server gave no reason")

    # ------------------------------------------------------------------ what it lets through

    def _now_ms(self) -> int:
        now = Reading(self._clock.now_ms(), self._clock.steady_ms())
        self._time = gate.time_at(self._time, now)
        return self._time.wall_ms

    def _said(self) -> str:
        heard_ms = self._clock.steady_ms() - self._word_ms
        return self._word if heard_ms < limits.WORD_MS else UNHEARD

    @property
    def number(self) -> int:
        """Return the highest number of a document that was taken, for heartbeats."""
        with self._lock:
            return self._state.heard_number

    @property
    def mark(self) -> str:
        """Return what changes with each grant, and each time that the server allows sync.

        An upload that the plane refused is tried again when it does.
        """
        with self._lock:
            return f"{self._state.number}.{self._allowed}"

    @property
    def node(self) -> str:
        """Return the plane's id of this node, empty before it is pinned."""
        return self._state.node

    @property
    def pinned(self) -> bool:
        """Return whether a key of the plane is known."""
        with self._lock:
            return bool(self._state.keys)

    def grant(self) -> Grant | None:
        """Return the grant that holds now, None if nothing is open."""
        with self._lock:
            return self._grant if self.open_classes() else None

    def open_classes(self) -> frozenset[ContentClass]:
        """Return the classes that may be queued now."""
        with self._lock:
            return gate.open_classes(self._state, self._grant, self._now_ms())

    def closed_because(self) -> str:
        """Return why nothing may be sent now, empty if something may."""
        with self._lock:
            because = gate.closed_because(self._state, self._grant, self._now_ms())
            if because or any(self.may_send(content) for content in self.open_classes()):
                return because
            return f"sync: {self._said()} {self._word_reason}".strip()

    def may_send(self, content: ContentClass, *, since_ms: int = COUNTER_MAX) -> bool:
        """Return whether content of a class, none older than `since_ms`, may be sent now.

        It may if the grant in force names it, and the server has just said so.
        A server's `sync_allowed` is about everything but numbers: where it says false, a grant of
        the counters holds all the same. One that says nothing is sent nothing.
        """
        with self._lock:
            said = self._said()
            grant = self.grant()
            if grant is None or content not in grant.classes or grant.backfill_from_ms > since_ms:
                return False
            return said == ALLOWED or (said == REFUSED and content == "counters")


def _names(classes: frozenset[ContentClass]) -> str:
    return ", ".join(name for name in CLASSES if name in classes)
