"""Where OpenClaw keeps what it writes, and what of it is of which class (compat/openclaw.md).

Releases up to 2026.7 write transcripts as JSONL, later ones to SQLite (`openclaw_sqlite`). The
names of files are those that an existing server expects (compat/clawmetry-daemon.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from holdfast.kernel.clock import Clock
from holdfast.machine.observer import limits
from holdfast.machine.observer.readers import files
from holdfast.machine.observer.readers.documents import Body, Document, DocumentFile
from holdfast.machine.observer.readers.lines import LineFile
from holdfast.machine.observer.readers.parts import Source, Unread, encoded
from holdfast.machine.observer.readers.records import to_ms
from holdfast.machine.observer.readers.workspace import text_files
from holdfast.machine.observer.upload import Endpoint
from holdfast.outbox.redactor import redact, redact_value
from holdfast.wire.consent import ContentClass
from holdfast.wire.limits import COUNTER_MAX

WORKSPACE_FILES: Final = (
    "AGENTS.md", "HEARTBEAT.md", "IDENTITY.md", "MEMORY.md", "SOUL.md", "TOOLS.md", "USER.md"
)  # fmt: skip
_SESSIONS_MAX: Final = 50
"""Rows of sessions in one upload (compat/clawmetry-daemon.md)."""
_FILE_CHARS: Final = 255
"""The longest name of a file; a session in a database may have a longer one."""
_WORD_CHARS: Final = 32
"""A text of a cron job's state that is shorter is a word, such as a status."""
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
        self.state = state
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
            case "files":
                yield from self._files()
            case _:
                return

    def agents(self) -> Iterator[tuple[str, Path]]:
        """Yield the names and folders of agents."""
        for entry in self._agents("transcripts").entries:
            if entry.is_dir(follow_symlinks=False):
                yield entry.name, Path(entry.path)

    def _agents(self, content: ContentClass) -> Listed:
        return listed(self.state / "agents", content, "openclaw/agents")

    def _transcripts(self) -> Iterator[Source]:
        yield from self._agents("transcripts").unread
        for agent, folder in self.agents():
            subagents = self._subagents(folder / "sessions" / "sessions.json")
            found = listed(folder / "sessions", "transcripts", f"openclaw/{agent}/sessions")
            yield from found.unread
            for entry in found.entries:
                session = entry.name.partition(".jsonl")[0]
                reset = entry.name.startswith(f"{session}{_RESET}")
                if entry.name.endswith(_TRAJECTORY) or not (entry.name.endswith(".jsonl") or reset):
                    continue
                file = plain(entry)
                if file is None:
                    continue
                body = transcript_fields(session, subagents.get(session, ""))
                yield LineFile(
                    "transcripts", "events", Path(entry.path), self.state,
                    f"openclaw/{agent}/{session}.jsonl", file.st_ctime_ns, body,
                    file.st_size, file.st_ino,
                )  # fmt: skip

    def _subagents(self, index: Path) -> dict[str, str]:
        """Return the ids of sub-agents by their sessions, from the index of sessions."""
        try:
            changed_ns = index.stat(follow_symlinks=False).st_ctime_ns
        except OSError:
            return {}
        known = self._indexes.get(index)
        if known is None or known[0] != changed_ns:
            rows = read_index(index, below=self.state)
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
            inside = listed(folder, "logs", "openclaw/logs")
            yield from inside.unread
            found = [
                (file, entry)
                for entry in inside.entries
                if entry.name.startswith(_LOG_NAMES) and entry.name.endswith(".log")
                if (file := plain(entry)) is not None
            ]
            found.sort(key=lambda pair: pair[1].name)
            for file, entry in found[-limits.LOG_FILES_MAX :]:
                yield LineFile(
                    "logs", "logs", Path(entry.path), None, f"openclaw/{entry.name}",
                    file.st_ctime_ns, log_fields(entry.name), file.st_size, file.st_ino,
                )  # fmt: skip
            return

    def _memory(self) -> Iterator[Source]:
        named = [self._workspace / name for name in WORKSPACE_FILES]
        inside = listed(self._workspace / "memory", "memory", "memory")
        yield from inside.unread
        dated = sorted(Path(entry.path) for entry in inside.entries if entry.name.endswith(".md"))
        for path in (*named, *dated):
            name = path.relative_to(self._workspace).as_posix()
            yield from self._document("memory", path, self._workspace, name)

    def _files(self) -> Iterator[Source]:
        # The folder `memory` is of the class of that name, whatever else lies in it.
        but = frozenset((*WORKSPACE_FILES, "memory"))
        for name, changed_ns in text_files(self._workspace, but=but):
            path = self._workspace / name
            yield DocumentFile(
                "files", "files", path, self._workspace, f"workspace/{name}", changed_ns,
                self._clock, file_body,
            )  # fmt: skip

    def _metadata(self) -> Iterator[Source]:
        yield from self._agents("metadata").unread
        for agent, folder in self.agents():
            index = folder / "sessions" / "sessions.json"
            yield from self._document("sessions", index, self.state, f"sessions/{agent}")
        for jobs in (
            self.state / "cron" / "jobs.json",
            self.state / "agents/main/cron/jobs.json",
        ):
            found = list(self._document("cron", jobs, self.state, "cron/jobs.json"))
            yield from found
            if found:
                return

    def _document(
        self, endpoint: Endpoint, path: Path, below: Path, name: str
    ) -> Iterator[DocumentFile]:
        try:
            changed_ns = path.stat(follow_symlinks=False).st_ctime_ns
        except OSError:
            return
        content, body = _DOCUMENTS[endpoint]
        yield DocumentFile(content, endpoint, path, below, name, changed_ns, self._clock, body)


class Listed(NamedTuple):
    """What is in a folder, and that it cannot be listed where that is so."""

    entries: list[os.DirEntry[str]]
    unread: tuple[Unread, ...] = ()


def listed(folder: Path, content: ContentClass, name: str) -> Listed:
    """Return what is in a folder, nothing where there is none; `name` is what it is called."""
    try:
        with os.scandir(folder) as found:
            return Listed(list(found))
    except (FileNotFoundError, NotADirectoryError):
        return Listed([])
    except OSError as error:
        # A link to where the kernel lets nobody look, or a folder that is not ours to list.
        return Listed([], (Unread(content, name, error),))


def plain(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return what a plain file is, None for anything else. `st_ctime_ns` changes with its name."""
    with suppress(OSError):
        if entry.is_file(follow_symlinks=False):
            return entry.stat(follow_symlinks=False)
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


def label(text: str) -> str:
    """Return a text that the agent wrote as a title or a name: redacted, and cut."""
    return redact(text)[: limits.LABEL_CHARS_MAX]


def transcript_fields(session: str, subagent: str) -> _LineFields:
    """Return what makes a body of lines of a transcript."""
    about = {"session_file": f"{session[:_FILE_CHARS]}.jsonl"}
    return _LineFields("events", about | ({"subagent_id": label(subagent)} if subagent else {}))


def log_fields(log_file: str) -> _LineFields:
    """Return what makes a body of lines of a log."""
    return _LineFields("lines", {"log_file": log_file})


def memory_body(document: Document) -> Body:
    """Return the body of a memory file."""
    name = document.name
    text = redact(document.raw.decode("utf-8", "replace"))[: limits.DOCUMENT_CHARS_MAX]
    while len(encoded(text)) > limits.BODY_BYTES_MAX - limits.BODY_ROOM_BYTES:
        text = text[: len(text) * 3 // 4]
    about = {
        "name": name,
        "size": len(document.raw),
        "modified": document.modified_ms / 1_000,
    }
    return Body(
        {
            "memory_state": {"files": [about]},
            "memory_content": [{"path": name, "content": text}],
        }
    )


def file_body(document: Document) -> Body:
    """Return the body of a file of the workspace, None for one that is no text after all."""
    if b"\0" in document.raw:
        return Body(None)
    name = document.name.partition("/")[2]
    return memory_body(document._replace(name=label(name)))


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


def cron_body(document: Document) -> Body:
    """Return a body with the cron jobs; what a job is told to do is not metadata."""
    try:
        found = msgspec.json.decode(document.raw, type=_Jobs)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return Body(None)
    events = (
        {
            "type": "cron_state",
            "session_id": "",
            "data": {
                "job_id": label(job.id),
                "name": label(job.name),
                "enabled": job.enabled,
                "expr": label(job.schedule.expr if isinstance(job.schedule, _Schedule) else ""),
                "state": redact_value(_numbers(job.state)),
            },
        }
        for job in found.jobs[: limits.BLOCK_LINES_MAX]
    )
    return Body({"events": _fitting(events)})


def _numbers(state: dict[str, Any]) -> dict[str, Any]:
    """Return what of a job's state are numbers and words; not the text of an error."""
    kept = [
        (name[: limits.LABEL_CHARS_MAX], value)
        for name, value in state.items()
        if (isinstance(value, int | float) and abs(value) <= COUNTER_MAX)
        or (isinstance(value, str) and len(value) < _WORD_CHARS)
    ]
    return dict(kept[: limits.JOB_FIELDS_MAX])


def _fitting(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first rows, as many as an upload takes."""
    kept: list[dict[str, Any]] = []
    size = limits.BODY_ROOM_BYTES
    for row in rows:
        size += len(encoded(row)) + 1
        if size > limits.BODY_BYTES_MAX:
            break
        kept.append(row)
    return kept


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


def sessions_body(document: Document) -> Body:
    """Return a body with the sessions that changed last, their titles included.

    One that names no time counts as older than any bound.
    """
    known = [(key, row) for key, row in decode_index(document.raw).items() if row.session_id]
    known.sort(key=lambda pair: _changed_ms(pair[1]), reverse=True)
    recent = [pair for pair in known if _changed_ms(pair[1]) >= document.since_ms]
    sessions = _fitting(_session(key, row) for key, row in recent[:_SESSIONS_MAX])
    fields = {"sessions": sessions} if sessions else None
    return Body(fields, older=len(recent) < len(known))


def _changed_ms(row: IndexRow) -> int:
    return to_ms(row.updated_at) or 0


def _session(key: str, row: IndexRow) -> dict[str, Any]:
    origin = row.origin or _Origin()
    return {
        "session_id": row.session_id[: limits.LABEL_CHARS_MAX],
        "display_name": label(row.display_name or row.subject or origin.label),
        "session_key": label(key),
        "channel": label(row.channel or origin.provider or origin.surface),
        "chat_type": label(row.chat_type or origin.chat_type),
        "model": label(row.model),
        "total_tokens": max(0, min(row.total_tokens, COUNTER_MAX)),
        "started_at": to_ms(row.started_at),
        "updated_at": to_ms(row.updated_at),
    }


_DOCUMENTS: Final[dict[Endpoint, tuple[ContentClass, Callable[[Document], Body]]]] = {
    "memory": ("memory", memory_body),
    "sessions": ("metadata", sessions_body),
    "cron": ("metadata", cron_body),
}
"""The class of a document, and what makes its body, by where it is sent."""
