"""Where OpenClaw keeps what it writes, and what of it is of which class (compat/openclaw.md).

Releases up to 2026.7 write transcripts as JSONL, later ones to SQLite (`openclaw_sqlite`). The
names of files are those that an existing server expects (compat/clawmetry-daemon.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from holdfast.kernel.clock import Clock
from holdfast.machine.observer import limits
from holdfast.machine.observer.readers import files
from holdfast.machine.observer.readers.documents import DocumentFile
from holdfast.machine.observer.readers.lines import LineFile
from holdfast.machine.observer.readers.parts import Source
from holdfast.machine.observer.readers.records import to_ms
from holdfast.outbox.redactor import redact, redact_value
from holdfast.wire.consent import ContentClass

WORKSPACE_FILES: Final = (
    "AGENTS.md", "HEARTBEAT.md", "IDENTITY.md", "MEMORY.md", "SOUL.md", "TOOLS.md", "USER.md"
)  # fmt: skip
_SESSIONS_MAX: Final = 50
"""Rows of sessions in one upload (compat/clawmetry-daemon.md)."""
_RESET: Final = ".jsonl.reset."
_TRAJECTORY: Final = ".trajectory.jsonl"
_SUBAGENT: Final = ":subagent:"
_LOG_NAMES: Final = ("openclaw-", "openclaw.")
"""Of a file for each day, and of the one that our profile's configuration names."""


class OpenClaw:
    """One OpenClaw on this machine. Folders that are missing have nothing in them."""

    def __init__(
        self,
        state: Path,
        *,
        workspace: Path,
        log_folders: Iterable[Path],
        clock: Clock,
    ) -> None:
        """Look in the state folder, the workspace, and the first folder of logs that exists."""
        self._state = state
        self._workspace = workspace
        self._log_folders = tuple(log_folders)
        self._clock = clock
        self._indexes: dict[Path, tuple[int, dict[str, str]]] = {}

    def sources(self, content: ContentClass) -> Iterator[Source]:
        """Yield the sources of a class."""
        match content:
            case "transcripts":
                yield from self._transcripts()
            case "logs":
                yield from self._logs()
            case "memory":
                yield from self._memory()
            case "metadata":
                yield from self._metadata()
            case _:
                return

    def agents(self) -> Iterator[tuple[str, Path]]:
        """Yield the names and folders of agents."""
        for entry in entries(self._state / "agents"):
            if entry.is_dir(follow_symlinks=False):
                yield entry.name, Path(entry.path)

    def _transcripts(self) -> Iterator[Source]:
        for agent, folder in self.agents():
            subagents = self._subagents(folder / "sessions" / "sessions.json")
            for entry in entries(folder / "sessions"):
                session, _, rest = entry.name.partition(".jsonl")
                reset = entry.name.startswith(f"{session}{_RESET}")
                if entry.name.endswith(_TRAJECTORY) or not (entry.name.endswith(".jsonl") or reset):
                    continue
                del rest
                changed_ns = changed(entry)
                if changed_ns is None:
                    continue
                body = transcript_fields(f"{session}.jsonl", subagents.get(session, ""))
                yield LineFile(
                    "transcripts", "events", Path(entry.path), self._state,
                    f"openclaw/{agent}/{session}.jsonl", changed_ns, body,
                )  # fmt: skip

    def _subagents(self, index: Path) -> dict[str, str]:
        """Return the ids of sub-agents by their sessions, from the index of sessions."""
        try:
            changed_ns = index.stat(follow_symlinks=False).st_ctime_ns
        except OSError:
            return {}
        known = self._indexes.get(index)
        if known is None or known[0] != changed_ns:
            rows = read_index(index, below=self._state)
            found = {
                row.session_id: key.partition(_SUBAGENT)[2]
                for key, row in rows.items()
                if _SUBAGENT in key and row.session_id
            }
            known = (changed_ns, found)
            self._indexes[index] = known
        return known[1]

    def _logs(self) -> Iterator[Source]:
        for folder in self._log_folders:
            if not folder.is_dir():
                continue
            found = [
                (changed_ns, entry)
                for entry in entries(folder)
                if entry.name.startswith(_LOG_NAMES) and entry.name.endswith(".log")
                if (changed_ns := changed(entry)) is not None
            ]
            found.sort(key=lambda pair: pair[1].name)
            for changed_ns, entry in found[-limits.LOG_FILES_MAX :]:
                yield LineFile(
                    "logs", "logs", Path(entry.path), None, f"openclaw/{entry.name}", changed_ns,
                    log_fields(entry.name),
                )  # fmt: skip
            return

    def _memory(self) -> Iterator[Source]:
        named = [self._workspace / name for name in WORKSPACE_FILES]
        listed = sorted(
            Path(entry.path)
            for entry in entries(self._workspace / "memory")
            if entry.name.endswith(".md")
        )
        for path in (*named, *listed):
            name = path.relative_to(self._workspace).as_posix()
            yield from self._document("memory", path, self._workspace, name)

    def _metadata(self) -> Iterator[Source]:
        for agent, folder in self.agents():
            index = folder / "sessions" / "sessions.json"
            yield from self._document("metadata", index, self._state, f"sessions/{agent}")
        for jobs in (
            self._state / "cron" / "jobs.json",
            self._state / "agents/main/cron/jobs.json",
        ):
            found = list(self._document("metadata", jobs, self._state, "cron/jobs.json"))
            yield from found
            if found:
                return

    def _document(
        self, content: ContentClass, path: Path, below: Path, name: str
    ) -> Iterator[DocumentFile]:
        try:
            changed_ns = path.stat(follow_symlinks=False).st_ctime_ns
        except OSError:
            return
        if content == "memory":
            yield DocumentFile(
                content, "memory", path, below, name, changed_ns, self._clock, memory_fields
            )
        elif name.startswith("cron/"):
            yield DocumentFile(
                content, "cron", path, below, name, changed_ns, self._clock, cron_fields
            )
        else:
            yield DocumentFile(
                content, "sessions", path, below, name, changed_ns, self._clock, session_fields
            )


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder, nothing where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def changed(entry: os.DirEntry[str]) -> int | None:
    """Return when an entry last changed, renamed included, in ns; None for no plain file."""
    with suppress(OSError):
        if entry.is_file(follow_symlinks=False):
            return entry.stat(follow_symlinks=False).st_ctime_ns
    return None


# ---------------------------------------------------------------------- bodies


class _LineFields:
    """Makes the fields of a body of lines."""

    __slots__ = ("_fixed", "_name")

    def __init__(self, name: str, fixed: dict[str, str]) -> None:
        self._name = name
        self._fixed = fixed

    def __call__(self, values: list[Any]) -> dict[str, Any]:
        """Return the fields with these lines."""
        return {**self._fixed, self._name: values}


def transcript_fields(session_file: str, subagent: str) -> _LineFields:
    """Return what makes a body of lines of a transcript."""
    about = {"session_file": session_file}
    return _LineFields("events", about | ({"subagent_id": subagent} if subagent else {}))


def log_fields(log_file: str) -> _LineFields:
    """Return what makes a body of lines of a log."""
    return _LineFields("lines", {"log_file": log_file})


def memory_fields(name: str, raw: bytes, modified_ms: int) -> dict[str, Any]:
    """Return the fields of a memory file's body."""
    text = redact(raw.decode("utf-8", "replace"))[: limits.DOCUMENT_CHARS_MAX]
    while len(msgspec.json.encode(text)) > limits.BODY_BYTES_MAX - 1_024:
        text = text[: len(text) * 3 // 4]
    about = {"name": name, "size": len(raw), "modified": modified_ms / 1_000}
    return {
        "memory_state": {"files": [about]},
        "memory_content": [{"path": name, "content": text}],
    }


class _Schedule(Struct):
    kind: str = ""
    expr: str = ""


class _Job(Struct, rename="camel"):
    id: str = ""
    name: str = ""
    enabled: bool = False
    schedule: _Schedule | str | None = None
    state: dict[str, Any] = {}


class _Jobs(Struct):
    jobs: list[_Job] = []


def cron_fields(_name: str, raw: bytes, _modified_ms: int) -> dict[str, Any] | None:
    """Return the fields of a body with every cron job; what a job is told to do is not metadata."""
    try:
        found = msgspec.json.decode(raw, type=_Jobs)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    events = [
        {
            "type": "cron_state",
            "session_id": "",
            "data": {
                "job_id": job.id,
                "name": redact(job.name),
                "enabled": job.enabled,
                "expr": job.schedule.expr if isinstance(job.schedule, _Schedule) else "",
                "state": redact_value(_numbers(job.state)),
            },
        }
        for job in found.jobs[: limits.BLOCK_LINES_MAX]
    ]
    return {"events": events}


def _numbers(state: dict[str, Any]) -> dict[str, Any]:
    """Return what of a job's state are numbers and words; not the text of an error."""
    return {
        name: value
        for name, value in state.items()
        if isinstance(value, int | float) or (isinstance(value, str) and len(value) < 32)  # noqa: PLR2004
    }


class _Origin(Struct, rename="camel"):
    label: str = ""
    provider: str = ""
    surface: str = ""
    chat_type: str = ""


class IndexRow(Struct, rename="camel"):
    """What is read of one session in the index of sessions."""

    session_id: str = ""
    updated_at: float | int | str | None = None
    started_at: float | int | str | None = None
    display_name: str = ""
    subject: str = ""
    channel: str = ""
    chat_type: str = ""
    model: str = ""
    total_tokens: int = 0
    origin: _Origin | None = None


def decode_index(raw: bytes) -> dict[str, IndexRow]:
    """Return the rows of an index of sessions that are well formed, by their keys."""
    try:
        found = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}
    rows: dict[str, IndexRow] = {}
    for key, value in found.items():
        with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
            rows[key] = msgspec.json.decode(value, type=IndexRow)
    return rows


def read_index(path: Path, *, below: Path) -> dict[str, IndexRow]:
    """Return the rows of an index of sessions; none where it cannot be read."""
    try:
        raw, _ = files.read_whole(path, below=below, limit=limits.DOCUMENT_BYTES_MAX)
    except OSError:
        return {}
    return decode_index(raw)


def session_fields(_name: str, raw: bytes, _modified_ms: int) -> dict[str, Any] | None:
    """Return the fields of a body with the sessions that changed last, their titles included."""
    rows = decode_index(raw)
    latest = sorted(rows.items(), key=lambda pair: to_ms(pair[1].updated_at) or 0, reverse=True)
    sessions = [_session(key, row) for key, row in latest[:_SESSIONS_MAX] if row.session_id]
    return {"sessions": sessions} if sessions else None


def _session(key: str, row: IndexRow) -> dict[str, Any]:
    origin = row.origin or _Origin()
    return {
        "session_id": row.session_id,
        "display_name": redact(row.display_name or row.subject or origin.label),
        "session_key": redact(key),
        "channel": row.channel or origin.provider or origin.surface,
        "chat_type": row.chat_type or origin.chat_type,
        "model": row.model,
        "total_tokens": row.total_tokens,
        "started_at": to_ms(row.started_at),
        "updated_at": to_ms(row.updated_at),
    }
