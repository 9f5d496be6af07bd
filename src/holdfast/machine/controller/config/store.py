"""Every change of the agent's configuration, one at a time, with a way back.

A change is compare-and-set: it names the text it was made from, or it is made from the current text
under the lock. The supervising part reports the effect of a configuration (`mark_healthy`,
`roll_back`) and subscribes to changes with `listen`; `observe` detects a change that the agent or a
person made in the file itself. Verdicts survive the controller, so a bad configuration is refused
with its reason unless forced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from holdfast.kernel.clock import Clock
from holdfast.machine.controller.config import history as ledger
from holdfast.machine.controller.config.document import (
    CONFIG_BYTES_MAX,
    Config,
    Document,
    DocumentError,
    compose,
    content_of,
    etag_of,
    key_paths,
    matches,
    merge,
    parse,
)
from holdfast.machine.controller.config.files import VersionFiles
from holdfast.machine.controller.config.history import BY_PEOPLE, Ledger, Origin, Verdict, Version
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process import atomic_file
from holdfast.wire.times import time_text

WOULD_NOT_BOOT: Final = "openclaw_config_would_not_boot"
"""The code for a configuration that is known to prevent a start (compat/controller.md)."""

_TRIES: Final = 5
"""Attempts at a roll-back over a file that the agent keeps writing."""

_T = TypeVar("_T")


class Change(NamedTuple):
    """A configuration came into force; `paths` are the keys that a patch touched."""

    etag: str
    before: str
    origin: Origin
    paths: tuple[str, ...] = ()


class ConfigStore:
    """The agent's configuration file, and the record of every text it held."""

    def __init__(
        self,
        path: Path,
        version_files: Path,
        *,
        below: Path | None = None,
        first: Callable[[], bytes],
        fault: Callable[[Config], str],
        clock: Clock,
        log: Log,
    ) -> None:
        """Change the file at `path`, and keep versions and verdicts below `folder`.

        `below` is a folder above `path` that the agent cannot replace, its own by default. `first`
        makes the text of a machine's first start. `fault` returns why a configuration certainly
        prevents a start, or an empty string.
        """
        self._path = path
        self._below = below
        self._version_files = VersionFiles(version_files, on_damage=self._damaged)
        self._first = first
        self._fault = fault
        self._clock = clock
        self._log = log
        self._ledger: Ledger | None = None
        self._lock = asyncio.Lock()
        self._listeners: list[Callable[[Change], None]] = []
        self._damage: list[str] = []
        self._changes: list[Change] = []

    @property
    def path(self) -> Path:
        """Return the path of the file."""
        return self._path

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` on the loop after each change, made or observed."""
        self._listeners.append(listener)

    # -- for the supervising part

    async def observe(self) -> str:
        """Record the current text; return its etag, empty if there is none.

        A new text was written by the agent or by hand, and is reported to the listeners.
        """
        return await self._do(lambda: etag_of(raw) if (raw := self._look()) is not None else "")

    async def last_healthy(self) -> Version | None:
        """Return the latest version with the verdict healthy."""
        return await self._do(lambda: ledger.last_healthy(self._loaded()))

    async def verdict(self, etag: str) -> Verdict | None:
        """Return the verdict about a version, None if there is none."""

        def look() -> Verdict | None:
            version = ledger.find(self._loaded(), etag) if etag else None
            return None if version is None else ledger.verdict_on(self._loaded(), version.content)

        return await self._do(look)

    async def versions(self) -> tuple[tuple[Version, Verdict | None], ...]:
        """Return every stored version, the latest first, with its verdict."""

        def look() -> tuple[tuple[Version, Verdict | None], ...]:
            self._look()
            known = self._loaded()
            return tuple(
                (version, ledger.verdict_on(known, version.content))
                for version in reversed(known.versions)
            )

        return await self._do(look)

    async def mark_healthy(self, etag: str) -> bool:
        """Record that the agent stayed healthy with a version; False if it is not stored."""

        def mark() -> bool:
            self._look()
            version = ledger.find(self._loaded(), etag) if etag else None
            if version is None:
                return False
            self._judge(version.content, Verdict(healthy=True, at_ms=self._clock.now_ms()))
            return True

        marked = await self._do(mark)
        self._log.emit("config.healthy", etag=etag[:12], kept=marked)
        return marked

    async def mark_bad(self, etag: str, reason: str) -> bool:
        """Record that a version was bad; False if it is not stored."""

        def mark() -> bool:
            version = ledger.find(self._loaded(), etag) if etag else None
            if version is None:
                return False
            at_ms = self._clock.now_ms()
            self._judge(version.content, Verdict(healthy=False, at_ms=at_ms, reason=reason))
            return True

        return await self._do(mark)

    async def roll_back(self, reason: str, *, trial: str = "") -> Change | None:
        """Mark the current text bad for `reason` and replace it with the last healthy one.

        Return None, with no change, if the current one is itself known to be healthy or none is:
        then the configuration is not what can be repaired. The same holds if `trial` is the etag
        that failed and another text has replaced it since, which has not been tried yet; the failed
        one is then marked bad all the same, unless it is known to be healthy.
        """
        return await self._do(lambda: self._roll_back(reason, trial))

    # -- for changes by routes

    async def read(self) -> Document:
        """Return the current configuration; raise RefusedError (500) if it is invalid."""
        return await self._do(lambda: self._parsed(self._look()))

    async def replace(
        self, config: Config, *, etag: str | None = None, force: bool = False
    ) -> Change:
        """Replace the configuration with `config`; raise RefusedError."""

        def put() -> Change:
            raw = self._expected(etag)
            document = _composed(config)
            self._admit(document, raw, force=force)
            return self._put(document.raw, raw, "replace")

        return await self._do(put)

    async def patch(
        self,
        patch: Mapping[str, Any],
        *,
        etag: str | None = None,
        force: bool = False,
        origin: Origin = "patch",
    ) -> Change:
        """Merge `patch` into the current one; raise RefusedError.

        A text that is JSON5 and not JSON would lose its comments; that requires `force`.
        """

        def put() -> Change:
            raw = self._expected(etag)
            before = self._parsed(raw)
            if not before.plain and not force:
                raise RefusedError(
                    409,
                    "config_not_plain_json",
                    "The file holds comments or other JSON5 that a patch would lose; replace it"
                    " as a whole, or insist",
                )
            document = _composed(merge(before.config, patch))
            self._admit(document, raw, force=force)
            return self._put(document.raw, raw, origin, key_paths(patch))

        return await self._do(put)

    async def write(self, raw: bytes, *, etag: str | None = None, force: bool = False) -> Change:
        """Replace the text with this one, unchanged; raise RefusedError."""

        def put() -> Change:
            over = self._expected(etag)
            self._admit(_readable(raw), over, force=force)
            return self._put(raw, over, "replace")

        return await self._do(put)

    async def restore(self, name: str, *, force: bool = False) -> Change:
        """Restore an earlier text; raise RefusedError.

        `base` is the text of a first start, `last-healthy` the latest healthy version, anything
        else an etag or its beginning.
        """

        def put() -> Change:
            raw = self._look()
            text = self._text_called(name)
            self._admit(_readable(text), raw, force=force)
            return self._put(text, raw, "restore")

        return await self._do(put)

    # -- inside: everything below blocks, and runs in a thread under the lock

    async def _do(self, work: Callable[[], _T]) -> _T:
        """Run one piece of work to its end, even if its caller is cancelled."""
        working = asyncio.create_task(self._alone(work), name="config")
        working.add_done_callback(_retrieve)
        return await asyncio.shield(working)

    async def _alone(self, work: Callable[[], _T]) -> _T:
        async with self._lock:
            try:
                return await asyncio.to_thread(work)
            except OSError as error:
                message = f"The configuration cannot be reached: {error.strerror or error}"
                raise RefusedError(500, "config_io_failed", message) from error
            finally:
                self._notify()

    def _notify(self) -> None:
        while self._damage:
            self._log.emit("config.ledger_damaged", because=self._damage.pop())
        changes, self._changes = self._changes, []
        for change in changes:
            self._log.emit(
                "config.changed", origin=change.origin, etag=change.etag[:12],
                was=change.before[:12], keys=" ".join(change.paths),
            )  # fmt: skip
            for listener in self._listeners:
                listener(change)

    def _damaged(self, because: str) -> None:
        self._damage.append(because)

    def _loaded(self) -> Ledger:
        if self._ledger is None:
            self._ledger = self._version_files.load()
        return self._ledger

    def _look(self) -> bytes | None:
        """Return the current text, None if there is no file; store it if it is new."""
        try:
            raw = atomic_file.read_file(self._path, CONFIG_BYTES_MAX, below=self._below)
        except FileNotFoundError:
            return None
        known = self._loaded()
        if not known.versions or known.versions[-1].etag != etag_of(raw):
            self._note(raw, "found" if known.versions else "first")
        return raw

    def _note(self, raw: bytes, origin: Origin, paths: tuple[str, ...] = ()) -> Change:
        etag, known = etag_of(raw), self._loaded()
        before = known.versions[-1].etag if known.versions else ""
        self._version_files.keep(etag, raw)
        version = Version(
            etag=etag, content=_content(raw), at_ms=self._clock.now_ms(), origin=origin
        )
        self._save(ledger.note(known, version))
        change = Change(etag, before, origin, paths)
        if before != etag:
            self._changes.append(change)
        return change

    def _save(self, ledger: Ledger) -> None:
        self._version_files.save(ledger)
        self._ledger = ledger

    def _judge(self, content: str, verdict: Verdict) -> None:
        self._save(ledger.judge(self._loaded(), content, verdict))

    def _expected(self, etag: str | None) -> bytes | None:
        """Return the current text; refuse if it is not the expected one."""
        raw = self._look()
        if etag is not None and (raw is None or not matches(etag, raw)):
            raise RefusedError(
                409, "config_etag_conflict", "The configuration was changed meanwhile; read it anew"
            )
        return raw

    @staticmethod
    def _parsed(raw: bytes | None) -> Document:
        if raw is None:
            raise RefusedError(500, "config_read_failed", "There is no configuration file")
        try:
            return parse(raw)
        except DocumentError as error:
            message = f"The configuration file cannot be read: {error}"
            raise RefusedError(500, "config_read_failed", message) from error

    def _admit(self, document: Document, before: bytes | None, *, force: bool) -> None:
        """Refuse what is known to prevent a start, unless forced."""
        if force:
            return
        verdict = ledger.verdict_on(self._loaded(), document.content)
        if verdict is not None and not verdict.healthy:
            raise RefusedError(
                422, WOULD_NOT_BOOT, f"The agent did not stay healthy with it: {verdict.reason}",
                reason=verdict.reason, since=time_text(verdict.at_ms),
            )  # fmt: skip
        fault = self._fault(document.config)
        if fault and not (before is not None and self._had_fault(before)):
            raise RefusedError(422, WOULD_NOT_BOOT, f"The agent cannot start with it: {fault}")

    def _had_fault(self, raw: bytes) -> bool:
        """Return whether the current text is as bad, so that a change makes nothing worse."""
        try:
            return bool(self._fault(parse(raw).config))
        except DocumentError:
            return False

    def _put(
        self, raw: bytes, over: bytes | None, origin: Origin, paths: tuple[str, ...] = ()
    ) -> Change:
        if raw != over:
            atomic_file.make_folder(self._path.parent)
            with atomic_file.open_folder(self._path.parent, below=self._below) as folder:
                if not atomic_file.put(folder, self._path.name, raw, over=over):
                    raise RefusedError(
                        409, "config_etag_conflict", "The agent wrote the file meanwhile; try again"
                    )
        return self._note(raw, origin, paths)

    def _text_called(self, name: str) -> bytes:
        if name == "base":
            return self._first()
        known = self._loaded()
        healthy = name == "last-healthy"
        version = ledger.last_healthy(known) if healthy else ledger.find(known, name)
        text = self._version_files.text(version.etag) if version is not None else None
        if text is None:
            raise RefusedError(
                404, "config_version_not_found", f"No one version is called {name!r} here"
            )
        return text

    def _roll_back(self, reason: str, trial: str) -> Change | None:
        for _ in range(_TRIES):
            raw = self._look()
            known = self._loaded()
            if trial and _is_superseded(known, trial):
                self._condemn_unknown(trial, reason)
                return None
            content = "" if raw is None else _content(raw)
            verdict = ledger.verdict_on(known, content)
            healthy = ledger.last_healthy(known)
            text = self._version_files.text(healthy.etag) if healthy is not None else None
            if text is None or (verdict is not None and verdict.healthy):
                return None
            if raw is not None:
                at_ms = self._clock.now_ms()
                self._judge(content, Verdict(healthy=False, at_ms=at_ms, reason=reason))
            try:
                return self._put(text, raw, "rollback")
            except RefusedError:
                continue  # rewritten meanwhile: that text has no verdict yet
        raise RefusedError(409, "config_busy", "The agent keeps writing its configuration")

    def _condemn_unknown(self, etag: str, reason: str) -> None:
        """Mark a version that failed as bad, if another one is healthy."""
        known = self._loaded()
        version = ledger.find(known, etag)
        if version is None or ledger.last_healthy(known) is None:
            return
        if ledger.verdict_on(known, version.content) is None:
            at_ms = self._clock.now_ms()
            self._judge(version.content, Verdict(healthy=False, at_ms=at_ms, reason=reason))


def _composed(config: Config) -> Document:
    try:
        document = compose(config)
    except DocumentError as error:
        raise RefusedError(
            400, "invalid_request_body", f"config: {error}", field="config"
        ) from error
    if len(document.raw) > CONFIG_BYTES_MAX:
        raise RefusedError(
            413, "config_too_large", f"config: more than {CONFIG_BYTES_MAX} bytes", field="config"
        )
    return document


def _readable(raw: bytes) -> Document:
    try:
        return parse(raw)
    except DocumentError as error:
        message = f"The agent cannot start with it: {error}"
        raise RefusedError(422, WOULD_NOT_BOOT, message) from error


def _is_superseded(known: Ledger, trial: str) -> bool:
    """Return whether another text has replaced the one on trial."""
    if not known.versions:
        return False
    last = known.versions[-1]
    return last.etag != trial and last.origin in BY_PEOPLE


def _retrieve(working: asyncio.Task[Any]) -> None:
    """Retrieve the result, in case the caller was cancelled."""
    if not working.cancelled():
        working.exception()


def _content(raw: bytes) -> str:
    """Return the subject of a verdict: the content hash, or the text if it cannot be parsed."""
    try:
        return content_of(parse(raw).config)
    except DocumentError:
        return etag_of(raw)
