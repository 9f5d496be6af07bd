"""Heartbeats on a thread of their own, and the long poll that asks for one at once.

Nothing else is done on these threads, so that no upload and no file delays a heartbeat.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import outline
from holdfast.kernel.log import Log
from holdfast.machine.observer import gate, limits
from holdfast.machine.observer.gate import Answer
from holdfast.machine.observer.gate_file import Gate
from holdfast.machine.observer.questions import Heartbeat, WakePoll
from holdfast.machine.observer.registration import PLATFORM, Registration
from holdfast.machine.observer.upload import Reply, Uploader
from holdfast.wire.limits import NODE_WAIT_S_MAX

_NO_SUCH_ROUTE = (404, 405, 501)


class Heart:
    """Beats: once a minute, every three seconds while somebody looks, at once when woken."""

    def __init__(
        self,
        *,
        uploader: Uploader,
        gate_of_node: Gate,
        registration: Registration,
        register: Callable[[], object],
        heard: Callable[[Answer], None],
        beaten: Callable[[], None] = lambda: None,
        version: str,
        clock: Clock,
        log: Log,
    ) -> None:
        """Call `register` while there is no registration or no pinned key, `heard` with answers.

        `beaten` is called after each heartbeat, whatever came of it.
        """
        self._uploader = uploader
        self._gate = gate_of_node
        self._registration = registration
        self._register = register
        self._heard = heard
        self._beaten = beaten
        self._version = version
        self._clock = clock
        self._log = log
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._failing = ""
        self._heard_steady_ms = clock.steady_ms()
        self.heard_ms = 0
        self.viewed = False

    @property
    def unanswered(self) -> str:
        """Return why no heartbeat is answered for longer than what the last answer holds."""
        silent_ms = self._clock.steady_ms() - self._heard_steady_ms
        return (self._failing or "none was sent") if silent_ms > limits.WORD_MS else ""

    def start(self) -> None:
        """Start both threads; they end with the process."""
        for target, name in ((self._beat, "heartbeat"), (self._poll, "wake")):
            threading.Thread(target=target, name=f"observer-{name}", daemon=True).start()

    def stop(self) -> None:
        """End the threads after what is under way."""
        self._stopped.set()
        self._wake.set()

    def _beat(self) -> None:
        while not self._stopped.is_set():
            wait_ms = self._guarded(self.beat, limits.HEARTBEAT_MS)
            self._guarded(self._tell, 0)
            self._wake.wait(wait_ms / 1_000)
            self._wake.clear()

    def _guarded(self, turn: Callable[[], int], wait_ms: int) -> int:
        """Take a turn; a fault of ours is logged, and must not end the thread."""
        try:
            return turn()
        except Exception as error:  # noqa: BLE001  # whatever it was, the next turn comes
            self._log.error("heartbeat.fault", outline=outline(error))
            return wait_ms

    def beat(self) -> int:
        """Send one heartbeat; return the time until the next in ms."""
        if not (self._registration.is_complete and self._gate.pinned):
            self._register()
        config = self._registration.config
        if config is not None:
            reply = self._uploader.ask(
                Heartbeat(
                    node_id=config.node_id,
                    ts=self._time(),
                    platform=PLATFORM,
                    version=self._version,
                    e2e=True,
                    seen_number=self._gate.number,
                    queue=self._uploader.depth(),
                )
            )
            self._take(reply)
        self._gate.remember_time()
        self._gate.look()
        if config is None:
            return limits.REGISTER_RETRY_MS
        return limits.HEARTBEAT_VIEWED_MS if self.viewed else limits.HEARTBEAT_MS

    def _tell(self) -> int:
        self._beaten()
        return 0

    def _time(self) -> str:
        at = datetime.fromtimestamp(self._clock.now_ms() / 1_000, tz=UTC)
        return at.isoformat(timespec="milliseconds")

    def _take(self, reply: Reply) -> None:
        answer = self._gate.heard(reply.status, reply.body)
        if answer is None:
            told = reply.detail or f"HTTP {reply.status}"
            if not self._failing:
                self._log.warning("heartbeat.failed", reason=told)
            self._failing = told
            return
        if self._failing:
            self._log.info("heartbeat.answered")
        self._failing = ""
        self.heard_ms = self._clock.now_ms()
        self._heard_steady_ms = self._clock.steady_ms()
        self.viewed = answer.viewer_active
        self._heard(answer)

    def _poll(self) -> None:
        while not self._stopped.is_set():
            self._stopped.wait(self._guarded(self.poll, limits.WAKE_RETRY_MS) / 1_000)

    def poll(self) -> int:
        """Ask to be woken, and beat if that comes; return the time until the next poll in ms."""
        if self._registration.config is None:
            return limits.WAKE_RETRY_MS
        began_ms = self._clock.steady_ms()
        reply = self._uploader.ask(WakePoll(wait=NODE_WAIT_S_MAX))
        if reply.status in _NO_SUCH_ROUTE:
            return limits.WAKE_MUTED_MS
        fields = gate.read_fields(reply.status, reply.body)
        if fields is None:
            return limits.WAKE_RETRY_MS
        viewed = gate.field(fields, "viewer_active", bool, default=False)
        if gate.field(fields, "work", bool, default=False) or (viewed and not self.viewed):
            self._wake.set()
            return limits.WAKE_GAP_MS
        held_ms = self._clock.steady_ms() - began_ms
        return limits.WAKE_GAP_MS if held_ms >= limits.WAKE_RETRY_MS else limits.WAKE_RETRY_MS
