"""Runs the observer beside the agent: started with the controller, restarted, ended with it.

Nothing of it reaches the agent: it has a process and a folder of its own, and whatever happens to
it is a fact in reports and a line in the log. It is not in the agent's sandbox, because it keeps
what the agent must not read: the machine's credentials, the gate, and the queue. It confines itself
to the agent's home and its own folder (`observer/confinement.py`).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from holdfast.kernel.backoff import Backoff
from holdfast.kernel.failure import brief, reason
from holdfast.machine.controller import limits
from holdfast.machine.controller.credentials import Pair
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.observing import protocol
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.controller.process.children import Child, OnExit, OnLine
from holdfast.machine.controller.settings import Observing
from holdfast.machine.signals import signal_name
from holdfast.wire.controller.checkin import ObserverWork

MODULE: Final = "holdfast.machine.observer"
FOLDER: Final = "observer"
"""Its own folder, below the machine's, where no agent can write."""

_TAKEN_OVER: Final = (
    "HOLDFAST_INCARNATION", "HOLDFAST_INSTANCE_ID", "HOLDFAST_MACHINE_ID", "HOLDFAST_SANDBOX_ID",
    "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
"""Variables of the agent that the observer gets too."""

_FOLDERS: Final = (
    "CLAUDE_CONFIG_DIR", "CODEX_HOME", "OPENCLAW_HOME", "OPENCLAW_STATE_DIR", "TMPDIR"
)  # fmt: skip
"""Where the agent's programs keep their files. An owner can set them: only those in the agent's
home are believed, since the observer could read more than the agent can."""

_MEANINGS: Final = {
    protocol.ALREADY_RUNS: "another observer holds its folder",
    protocol.UNUSABLE: "its folder, or the consent key that it was given, cannot be used",
    protocol.UNCONFINED: "this host cannot confine it to its agent's files (no Landlock)",
}
_BACKOFF: Final = Backoff(
    first_ms=limits.OBSERVER_RETRY_FIRST_MS, cap_ms=limits.OBSERVER_RETRY_MAX_MS
)

ObserverState: TypeAlias = Literal["off", "running", "stalled", "failing"]
_decode: Final = msgspec.json.Decoder(ObserverWork).decode


class Told(NamedTuple):
    """What reports say of the observer; `reason` is why it does not run or work, empty if it does.

    It is `failing` from an end that nobody asked for until a later run has lasted
    `limits.OBSERVER_HEALTHY_S`, and `stalled` while it runs and says itself that it does not do its
    work, or says nothing for `limits.OBSERVER_SILENT_S`. `work` is what it said last.
    """

    state: ObserverState
    reason: str = ""
    work: ObserverWork | None = None

    def is_news(self, before: Told) -> bool:
        """Return whether this is another state than before, and not only another count or time."""
        return (self.state, self.reason, _paused(self)) != (
            before.state, before.reason, _paused(before)
        )  # fmt: skip


def _paused(told: Told) -> str:
    return "" if told.work is None else told.work.paused


class Launch(Protocol):
    """Starts a process of ours outside of the agent's sandbox."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        on_line: OnLine,
        on_exit: OnExit,
        on_rest: OnLine,
    ) -> Child:
        """Start it; raise OSError."""
        ...


class Surroundings(NamedTuple):
    """Where the observer runs: the machine's folder, the agent's home and environment."""

    machine_home: Path
    agent_home: Path
    agent_env: Mapping[str, str]
    python: str

    def folder(self, name: str) -> str:
        """Return the folder that a variable of the agent names, empty for one not in its home."""
        path = Path(self.agent_env.get(name, ""))
        inside = ".." not in path.parts and path.is_relative_to(self.agent_home)
        return str(path) if inside else ""


class ObserverProcess:
    """Keeps one observer running until `close`; use in the loop's thread."""

    def __init__(
        self,
        observing: Observing,
        where: Surroundings,
        *,
        launch: Launch,
        credentials: Callable[[], Pair],
        on_change: Callable[[], None],
        log: Log,
        seed: str,
    ) -> None:
        """Start nothing yet; `on_change` is called when `told` has changed."""
        self._observing = observing
        self._where = where
        self._launch = launch
        self._credentials = credentials
        self._on_change = on_change
        self._log = log
        self._seed = seed
        self._child: Child | None = None
        self._gone: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._failures = 0
        self._closing = False
        self.told = Told("off", observing.off or "the controller has not started it")

    @property
    def pid(self) -> int | None:
        """Return its process id, None while none runs."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start it, unless it is off or started; raise nothing."""
        if self._observing.off:
            self._log.emit("observer.off", reason=self._observing.off)
        elif self._child is None and self._timer is None and not self._closing:
            self._start()

    def _start(self) -> None:
        self._timer = None
        folder = self._where.machine_home / FOLDER
        try:
            atomic_file.make_folder(folder)
            child = self._launch(
                (self._where.python, "-I", "-m", MODULE),
                env=self._environment(folder), cwd="/",
                on_line=self._line, on_exit=self._exited, on_rest=self._line,
            )  # fmt: skip
        except OSError as error:
            self._failed(f"it could not be started: {reason(error)}")
            return
        except Exception as error:  # noqa: BLE001  a fault of ours must not end the boot
            self._failed(f"it could not be started: {brief(error)}")
            return
        loop = asyncio.get_running_loop()
        self._child, self._gone = child, loop.create_future()
        self._log.emit("observer.started", pid=child.pid)
        self._timer = loop.call_later(limits.OBSERVER_HEALTHY_S, self._lasted)
        self._await_word()
        if not self._failures:
            self._tell(Told("running"))

    def _environment(self, folder: Path) -> dict[str, str]:
        """Return its whole environment; the machine's credentials are those in force now."""
        given, where, pair = self._observing, self._where, self._credentials()
        env = {name: where.agent_env[name] for name in _TAKEN_OVER if name in where.agent_env}
        env |= {name: path for name in _FOLDERS if (path := where.folder(name))}
        env |= {
            "HOME": str(where.agent_home),
            "HOLDFAST_AGENT_HOME": str(where.agent_home),
            "HOLDFAST_OBSERVER_HOME": str(folder),
            "HOLDFAST_PLANE_URL": given.plane_url,
            "HOLDFAST_API_KEY": pair.api_key.reveal(),
            "HOLDFAST_GATEWAY_TOKEN": pair.gateway_token.reveal(),
            protocol.WITHIN: str(where.agent_home),
        }
        if not (folder / protocol.GATE_FILE).exists():
            # A gate that is there has a key of its own, and follows the plane's signed successors:
            # the one that the plane has now may be unknown to it until the next heartbeat.
            env |= {
                "HOLDFAST_CONSENT_KEY": given.consent_key,
                "HOLDFAST_CONSENT_NODE": given.consent_node,
            }
        return env

    def _line(self, stream: str, line: str) -> None:
        if stream == "stdout" and line.startswith(protocol.WORK):
            with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
                self._take(_decode(line.removeprefix(protocol.WORK).encode()))
                return
        self._log.emit("observer.line", stream=stream, line=line)

    def _take(self, work: ObserverWork) -> None:
        """Take what it says of its work."""
        self._await_word()
        if self._failures:
            self._tell(self.told._replace(work=work))
        else:
            self._tell(Told("stalled" if work.stuck else "running", work.stuck, work))

    def _await_word(self) -> None:
        self._stop_waiting()
        if self._child is not None:
            loop = asyncio.get_running_loop()
            self._silence = loop.call_later(limits.OBSERVER_SILENT_S, self._silent)

    def _stop_waiting(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _silent(self) -> None:
        self._silence = None
        because = f"it has said nothing for {limits.OBSERVER_SILENT_S:g} s"
        self._tell(Told("stalled", because, self.told.work))

    def _lasted(self) -> None:
        self._timer = None
        self._failures = 0
        if self.told.state == "failing":
            work = self.told.work
            stuck = "" if work is None else work.stuck
            self._tell(Told("stalled" if stuck else "running", stuck, work))

    def _exited(self, code: int) -> None:
        assert self._gone is not None, "it was started"
        self._child = None
        self._gone.set_result(None)
        self._stop_waiting()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closing:
            self._log.emit("observer.ended", code=code)
            return
        self._failed(describe_end(code))

    def _failed(self, because: str) -> None:
        """Try again after a growing wait."""
        self._failures += 1
        wait_s = _BACKOFF.delay_ms(self._failures, self._seed) / 1_000
        self._log.emit("observer.failed", reason=because, again_s=wait_s, failures=self._failures)
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._start)
        self._tell(Told("failing", because))

    def _tell(self, told: Told) -> None:
        before, self.told = self.told, told
        if told.is_news(before):
            paused = _paused(told)
            self._log.emit("observer.state", state=told.state, reason=told.reason, paused=paused)
            self._on_change()

    def end(self) -> None:
        """Have it end: SIGTERM, and no restart; what it has queued stays on the disk.

        Once: a second signal would find an interpreter that ends, without a handler.
        """
        if self._closing:
            return
        self._closing = True
        self._stop_waiting()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._child is not None:
            self._child.send(signal.SIGTERM)

    async def close(self) -> None:
        """Return when it has ended; it is killed after `limits.OBSERVER_STOP_S`."""
        self.end()
        child, gone = self._child, self._gone
        if child is None or gone is None:
            return
        try:
            async with asyncio.timeout(limits.OBSERVER_STOP_S):
                await asyncio.shield(gone)
        except TimeoutError:
            self._log.emit("observer.killed", after_s=limits.OBSERVER_STOP_S)
            child.kill()
            await gone


def describe_end(code: int) -> str:
    """Return how an observer ended that nobody asked to: by an exit code, or -signal."""
    if code < 0:
        return f"it was ended by {signal_name(-code)}"
    meaning = _MEANINGS.get(code, "")
    return f"it ended with code {code}" + (f": {meaning}" if meaning else "")
