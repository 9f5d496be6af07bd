"""The observer's loop: what is read while the gate is open, beside heartbeats of their own.

One observer runs in a folder: a second one ends at once and says so.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief, reason
from holdfast.kernel.log import Log
from holdfast.machine.content_key import seal_to
from holdfast.machine.controller.observing.protocol import ALREADY_RUNS, UNUSABLE
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.observer import limits, preview
from holdfast.machine.observer.collector import Collector, Program
from holdfast.machine.observer.gate import Answer
from holdfast.machine.observer.gate_file import Gate
from holdfast.machine.observer.heartbeat import Heart
from holdfast.machine.observer.preview import ClassPreview
from holdfast.machine.observer.questions import Register
from holdfast.machine.observer.readers import files
from holdfast.machine.observer.readers.coding_agents import claude_code, codex
from holdfast.machine.observer.readers.openclaw import OpenClaw
from holdfast.machine.observer.readers.openclaw_sqlite import SqliteTranscripts
from holdfast.machine.observer.readers.queries import Queries
from holdfast.machine.observer.registration import PLATFORM, Registration
from holdfast.machine.observer.sealing import Draw, Sealer
from holdfast.machine.observer.settings import Settings
from holdfast.machine.observer.upload import Destination, Samples, Uploader
from holdfast.machine.observer.work import work_of
from holdfast.wire.browser_keys import PREVIEW, point_of
from holdfast.wire.consent import Preview
from holdfast.wire.controller.checkin import ObserverWork

_LOCK: Final = "observer.lock"
_OK: Final = 200


def programs_of(
    settings: Settings, clock: Clock, *, unwanted: Callable[[], bool] = lambda: False
) -> list[Program]:
    """Return the programs whose files are read; a read that is `unwanted` is given up."""
    files.stay_within(settings.within)
    openclaw = OpenClaw(
        settings.openclaw,
        workspace=settings.workspace,
        log_folders=settings.log_folders,
        clock=clock,
    )
    coding = (claude_code(settings.claude), codex(settings.codex))
    queries = Queries(settings.openclaw, clock=clock, unwanted=unwanted)
    return [openclaw, SqliteTranscripts(openclaw, queries, clock=clock), *coding]


def samples_of(asked: Preview, found: Iterable[ClassPreview], sealer: Sealer) -> Samples:
    """Return samples for the page of a preview, sealed as content is, and that to the page's key.

    So whoever signs a preview reads nothing by it without the content key. Raise ValueError where
    the key is none.
    """
    told = {"classes": [one._asdict() for one in found]}
    inner = sealer.seal(msgspec.json.encode(told), compress=True).encode()
    point = point_of(asked.public_key)
    return Samples(number=asked.number, sealed=seal_to(point, PREVIEW, asked.node, inner))


class Observer:
    """Everything that runs, joined."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        log: Log,
        draw: Draw,
        version: str,
        tell: Callable[[ObserverWork], None] | None = None,
    ) -> None:
        """Make the parts; nothing is read or sent before `run`. Pass what was done to `tell`."""
        self._settings = settings
        self._clock = clock
        self._tell = tell
        self._log = log
        self._ended = threading.Event()
        self._woken = threading.Event()
        self.gate = Gate(settings.folder, clock=clock, log=log)
        self.registration = Registration(
            settings.home,
            kept=settings.folder if settings.within else None,
            draw=draw,
            clock=clock,
            log=log,
        )
        self.registration.read()
        self.uploader = Uploader(
            settings.folder,
            gate_of_node=self.gate,
            destination=self._destination,
            clock=clock,
            log=log,
            agent=f"holdfast-observer/{version}",
            credentials=settings.credentials,
        )
        self._asked: Preview | None = None
        self._programs = programs_of(settings, clock, unwanted=self._is_unwanted)
        self.collector = Collector(
            self._programs,
            gate=self.gate,
            uploader=self.uploader,
            identity=lambda: self.registration.identity,
            clock=clock,
            log=log,
        )
        self.heart = Heart(
            uploader=self.uploader,
            gate_of_node=self.gate,
            registration=self.registration,
            register=self._register,
            heard=self._heard,
            beaten=self._beaten,
            version=version,
            clock=clock,
            log=log,
        )

    def _is_unwanted(self) -> bool:
        """Return whether what is being read has no use any more.

        That asks about the preview while one is read: it begins where a run was cut short for it.
        """
        if self._asked is not None:
            return self._ended.is_set() or not self.gate.may_preview(self._asked.number)
        return self.collector.is_cut_short

    def _destination(self) -> Destination | None:
        if not self._settings.url:
            return None
        config = self.registration.config
        node = "" if config is None else config.node_id
        return Destination(self._settings.url, self.registration.key(), node)

    def _register(self) -> bool:
        settings = self._settings
        return self.registration.ensure(
            self.uploader,
            self.gate,
            lambda: Register(
                hostname=settings.hostname,
                machine_id=settings.machine_id,
                platform=PLATFORM,
                source=settings.source,
                sandbox=settings.sandbox,
            ),
        )

    def _heard(self, answer: Answer) -> None:
        self.collector.compress = answer.gzip
        if self.gate.asked() is not None:
            # By the loop that reads files, which ends its turn for it.
            self.collector.forget()
            self._woken.set()

    def _preview(self) -> None:
        """Send the samples that a signed preview asks for, if one does."""
        asked, identity = self.gate.asked(), self.registration.identity
        if asked is None or identity is None:
            return
        self._asked = asked
        try:
            samples = samples_of(asked, self._found(), identity.sealer)
        except Exception as error:  # noqa: BLE001  # as a file that cannot be read ends no reading
            self._log.warning("preview.failed", reason=brief(error))
            self.gate.end_preview(asked.number)
            return
        finally:
            self._asked = None
        reply = self.uploader.send_samples(samples)
        if reply.status == _OK:
            self._log.info("preview.sent", number=asked.number)
        else:
            told = reply.detail or f"HTTP {reply.status}"
            self._log.warning("preview.failed", number=asked.number, reason=told)

    def _found(self) -> Iterator[ClassPreview]:
        """Yield what would be sent of each class, as far as it is read in `limits.SAMPLES_S`."""
        ends_ms = self._clock.steady_ms() + limits.SAMPLES_S * 1_000
        return preview.previews(
            self._programs, since_ms=0, left_ms=lambda: ends_ms - self._clock.steady_ms()
        )

    def _beaten(self) -> None:
        """Say what was done last; by the thread of heartbeats, so also where reading hangs."""
        if self._tell is not None:
            work = work_of(
                heart=self.heart, registration=self.registration, gate=self.gate,
                progress=self.collector.progress, uploader=self.uploader, clock=self._clock,
            )  # fmt: skip
            self._tell(work)

    def _gate_changed(self) -> None:
        """Send what may be sent now, and have the loop follow the gate."""
        self.collector.forget()
        self.uploader.resume()
        self._woken.set()

    def _follow_gate(self) -> None:
        """Withdraw what may not leave any more; by the thread that moves cursors, between turns."""
        withdrawn = self.uploader.follow_gate()
        if withdrawn is None:
            return
        if withdrawn:
            self._log.info("queue.withdrawn", uploads=withdrawn)
        self.uploader.resume()

    def pin(self) -> bool:
        """Pin the plane's key that the settings name, if they do; return whether that is the one.

        Where it is not, no other key may take its place: the observer must not run.
        """
        settings = self._settings
        if not settings.pinned_key and not settings.pinned_node:
            return True
        problem = self.gate.pin(settings.pinned_node, settings.pinned_key)
        if problem:
            told = "HOLDFAST_CONSENT_KEY, HOLDFAST_CONSENT_NODE"
            self._log.error("gate.not_pinned", settings=told, reason=problem)
        return not problem

    def run(self) -> None:
        """Run until `end` is called."""
        # A kill may have come between a revocation and the purge that it asks for.
        self.uploader.follow_gate()
        self.gate.on_change = self._gate_changed
        self.uploader.resume()
        self.heart.start()
        try:
            while not self._ended.is_set():
                self._follow_gate()
                self._preview()
                more = self.collector.run()
                self.gate.look()
                if not more:
                    self._woken.wait(limits.SCAN_MS / 1_000)
                    self._woken.clear()
        finally:
            self.heart.stop()
            self.uploader.close()

    def end(self) -> None:
        """End the loop; safe in a signal handler."""
        self._ended.set()
        self.collector.end()
        self._woken.set()


def lock_folder(folder: Path) -> int | None:
    """Return a descriptor that holds the folder, None where another process does; OSError."""
    atomic_file.make_folder(folder)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(folder / _LOCK, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def run(
    settings: Settings,
    *,
    clock: Clock,
    log: Log,
    draw: Draw,
    version: str,
    on_signal: Callable[[Mapping[int, Callable[[int, FrameType | None], None]]], None],
    tell: Callable[[ObserverWork], None] | None = None,
) -> int:
    """Run an observer until a signal ends it; return the exit code. See `Observer` for `tell`."""
    try:
        held = lock_folder(settings.folder)
    except OSError as error:
        about = {"folder": str(settings.folder), "reason": reason(error)}
        log.error("observer.unusable", **about)  # noqa: TRY400  # the trace says no more
        return UNUSABLE
    if held is None:
        log.error("observer.already_runs", folder=str(settings.folder))
        return ALREADY_RUNS
    try:
        observer = Observer(settings, clock=clock, log=log, draw=draw, version=version, tell=tell)

        def end(_number: int, _frame: FrameType | None) -> None:
            observer.end()

        if not observer.pin():
            observer.uploader.close()
            return UNUSABLE
        on_signal({signal.SIGTERM: end, signal.SIGINT: end})
        log.info("observer.started", version=version, url=settings.url)
        observer.run()
        log.info("observer.ended")
    finally:
        os.close(held)
    return 0
