"""The core calls of the `gradata` SDK, answered by a Holdfast brain.

    from holdfast.compat.gradata import Brain        # instead of: from gradata import Brain

`correct`, `record_correction`, `end_session`, `apply_brain_rules`, `prove`, `emit`, `query_events`,
`rules`, `session`, `close` and `Brain.init` accept the same arguments and return dictionaries of
the same form. A folder made by the real SDK opens as it is, with its events and lessons; its own
tables and files stay unchanged. Everything else raises NotSupportedError with its name.

Two answers differ on purpose: the same correction made twice is one event with one id, and nothing
is sent before `correct` returns, whatever is configured.
"""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from holdfast.compat.history import Asked, History
from holdfast.kernel.clock import SystemClock
from holdfast.sdk import Brain as OurBrain
from holdfast.sdk import Correction, Event, Lesson, compose
from holdfast.sdk.judgement import category_fitting
from holdfast.sdk.record import RESERVED

_CLOCK: Final = SystemClock()
_SCOPES: Final = ("domain", "one_off", "universal", "project")
_SHOWN: Final = ("PATTERN", "RULE")
_FEW_SESSIONS: Final = 3
_FEW_CORRECTIONS: Final = 5
"""Below either there is insufficient evidence: the real SDK's bounds."""
_MODERATE: Final = 0.25
_STRONG: Final = 0.5
"""Reduction of the edits from the first half of the corrections to the second."""
_NOT_HERE: Final = frozenset(
    (
        "absorb",
        "add_rule",
        "agent_graduation",
        "agent_profile",
        "approve_lesson",
        "approve_promotion",
        "auto_evolve",
        "auto_heal",
        "backfill_from_git",
        "briefing",
        "browse_tree",
        "budget_summary",
        "bus",
        "check_budget",
        "context_for",
        "contracts",
        "convergence",
        "ctx",
        "detect_implicit_feedback",
        "efficiency",
        "embed",
        "explain",
        "export",
        "export_data",
        "export_rules",
        "export_rules_json",
        "export_skill",
        "export_skills",
        "export_tree",
        "forget",
        "get_constraints",
        "get_facts",
        "guard",
        "health",
        "lineage",
        "log_output",
        "manifest",
        "memory",
        "observe",
        "on_notification",
        "patch_rule",
        "pending_promotions",
        "pipeline",
        "plan",
        "reflect",
        "register_task_type",
        "register_tool",
        "reject_lesson",
        "reject_promotion",
        "review_pending",
        "rollback",
        "run",
        "scope",
        "scoped_rules",
        "search",
        "share",
        "spawn_queue",
        "spend_budget",
        "stats",
        "tools",
        "trace",
        "track_rule",
    )
)


class BrainError(Exception):
    """Base of this module's errors."""


class BrainNotFoundError(BrainError, FileNotFoundError):
    """The brain's folder does not exist."""


class EventPersistenceError(BrainError):
    """An event could not be written to the folder."""


class NotSupportedError(BrainError, NotImplementedError):
    """A call or argument of the real SDK that has no counterpart here; the message names it."""


class Brain:
    """A brain with the real SDK's interface."""

    def __init__(
        self,
        brain_dir: str | Path | None = None,
        working_dir: str | Path | None = None,
        encryption_key: str | None = None,
        *,
        api_key: str | None = None,
    ) -> None:
        """Open an existing folder: the named one, else BRAIN_DIR, else the working folder."""
        if encryption_key is not None:
            _refuse("Brain(encryption_key=…)", "encrypt the disk the folder is on")
        named = brain_dir or os.environ.get("BRAIN_DIR") or working_dir or Path.cwd()
        self.dir = Path(named).expanduser().resolve()
        if not self.dir.is_dir():
            raise BrainNotFoundError(f"brain directory not found: {self.dir}")
        self._history = History(self.dir)
        self._brain = OurBrain(self.dir, api_key=api_key)

    @classmethod
    def init(
        cls,
        brain_dir: str | Path,
        *,
        domain: str | None = None,
        name: str | None = None,
        company: str | None = None,
        embedding: str | None = None,
        interactive: bool | None = None,  # noqa: ARG003  there is nothing to ask a person here
    ) -> Self:
        """Make a folder and open it; `domain`, `name` and `company` are recorded in an event.

        FileExistsError for a folder that is a brain already.
        """
        if embedding not in {None, "local"}:
            _refuse(f"Brain.init(embedding={embedding!r})", "no embeddings are made here")
        Path(brain_dir).expanduser().mkdir(mode=0o700, parents=True, exist_ok=True)
        brain = cls(brain_dir)
        if brain._history.exists or brain._brain.events(types=("INIT", "INIT"), most=1):
            brain.close()
            raise FileExistsError(
                f"Brain already exists at {brain.dir}. Use Brain({str(brain.dir)!r}) to open it."
            )
        about = {"domain": domain, "name": name, "company": company}
        brain.emit("INIT", "brain.init", {key: value for key, value in about.items() if value})
        return brain

    @property
    def db_path(self) -> Path:
        """Return the path of the folder's database."""
        return self.dir / "system.db"

    @property
    def session(self) -> int:
        """Return the largest session number recorded so far, 0 if there is none."""
        return max(self._brain.newest_session(), self._history.newest_session())

    def correct(  # noqa: PLR0917  the real signature
        self,
        draft: str,
        final: str,
        category: str | None = None,
        context: Mapping[str, Any] | None = None,
        session: int | None = None,
        agent_type: str | None = None,
        *,
        approval_required: bool = False,
        dry_run: bool = False,
        min_severity: str = "as-is",
        scope: str | None = None,
        applies_to: str | None = None,
        auto_heal: bool = False,
    ) -> dict[str, Any]:
        """Record a correction and return its event; ValueError as in the real SDK."""
        for name, given in (
            ("approval_required", approval_required),
            ("dry_run", dry_run),
            ("auto_heal", auto_heal),
            ("min_severity", min_severity != "as-is"),
        ):
            if given:
                _refuse(f"correct({name}=…)", "leave it out; lessons can be rejected afterwards")
        if session is not None and (not isinstance(session, int) or session < 1):
            raise ValueError("session: want a whole number from 1")
        if scope is not None and scope not in _SCOPES:
            raise ValueError(f"scope: {scope!r} is none of {', '.join(_SCOPES)}")
        about = dict(compose.as_map("context", context or {}))
        about |= {k: v for k, v in (("agent_type", agent_type), ("applies_to", applies_to)) if v}
        made = self._brain.correct(
            draft or "",
            final or "",
            category=category_fitting(compose.as_text("category", category or "")),
            context=_written(about) if about else None,
            session=session,
        )
        if not made.persisted:
            raise EventPersistenceError(made.reason)
        return _correction(made, session=session or 0, scope=scope or "domain")

    def record_correction(
        self,
        text: str,
        *,
        assistant_draft: str | None = None,
        category: str = "GENERAL",
        **extras: Any,
    ) -> dict[str, Any]:
        """Record a user's complaint without comparing texts, as an event CORRECTION."""
        data = {**extras, "detail": text, "category": category}
        if assistant_draft is not None:
            data["draft_text"] = assistant_draft
        return self.emit("CORRECTION", "user", data, [f"category:{category}"])

    def emit(
        self,
        event_type: str,
        source: str,
        data: Mapping[str, Any] | None = None,
        tags: Iterable[str] | None = None,
        session: int | None = None,
    ) -> dict[str, Any]:
        """Record an event and return it.

        A type with a form of its own here is kept, and sent, as a note (`CORRECTION_NOTE`).
        """
        written = _kept_as(event_type)
        kept = self._brain.record(
            written, data or {}, source=source, tags=tags or (), session=session
        )
        if not kept.persisted:
            raise EventPersistenceError(kept.reason)
        now = _stamp(_CLOCK.now_ms())
        return {
            "id": self._brain.number_of(kept.event_id),
            "ts": now,
            "session": session or 0,
            "type": event_type,
            "source": source,
            "data": dict(data or {}),
            "tags": list(tags or ()),
            "valid_from": now,
            "valid_until": None,
            "event_id": kept.event_id,
            "_persisted": {"jsonl": True, "sqlite": True},
        }

    def query_events(
        self,
        event_type: str | None = None,
        session: int | None = None,
        last_n_sessions: int | None = None,
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Return events, newest first, those of the real SDK in this folder among them."""
        since = None if not last_n_sessions else self.session - last_n_sessions + 1
        types = None if not event_type else (event_type, _kept_as(event_type))
        ours = self._brain.events(types=types, session=session, since=since, most=limit)
        asked = Asked(event_type or None, session, since, limit)
        both = heapq.merge(
            map(_event, ours), self._history.events(asked),
            key=lambda event: str(event["ts"]), reverse=True,
        )  # fmt: skip
        return list(both) if limit < 0 else list(islice(both, limit))

    def end_session(
        self,
        session_corrections: list[dict[str, Any]] | None = None,  # noqa: ARG002  they are recorded
        session_type: str = "full",  # noqa: ARG002  there is one kind of end here
        machine_mode: bool | None = None,  # noqa: ARG002, FBT001  the real signature
        skip_meta_rules: bool = False,  # noqa: ARG002, FBT001, FBT002  as above
    ) -> dict[str, Any]:
        """Summarise a session; calling it is optional."""
        ended = self._brain.end_session(self.session or None)
        lessons = self._lessons()
        rules = [_rule(lesson) for lesson in lessons if lesson.state == "RULE"]
        return {
            "session": self.session,
            "total_lessons": len(lessons),
            "lessons": len(lessons),
            "active": sum(lesson.state in {"INSTINCT", "PATTERN"} for lesson in lessons),
            "graduated": len(rules),
            "graduated_rules": rules,
            # States change with each correction here, and nothing is left for the end.
            "promotions": 0,
            "demotions": 0,
            "kills": 0,
            "new_rules": [],
            "meta_rules_discovered": 0,
            "corrections": ended.corrections,
            "pending": ended.pending,
        }

    def apply_brain_rules(
        self,
        task: str,
        context: Mapping[str, Any] | None = None,
        agent_type: str | None = None,
        max_rules: int = 10,
    ) -> str:
        """Return what was learned, as lines for a prompt; "" if there is nothing yet."""
        words = (task, agent_type, *(str(value) for value in (context or {}).values()))
        task = " ".join(filter(None, words))
        return self._brain.rules_for(task, most=max_rules, also=self._history.lessons())

    def rules(
        self, *, include_all: bool = False, category: str | None = None
    ) -> list[dict[str, Any]]:
        """Return lessons that are shown in prompts, or all of them."""
        return [
            _rule(lesson)
            for lesson in self._lessons()
            if (include_all or lesson.state in _SHOWN)
            and (category is None or lesson.category == category.upper())
        ]

    def prove(self) -> dict[str, Any]:
        """Compare edits: the second half of all corrections against the first.

        Below 3 sessions or 5 corrections that is insufficient evidence.
        """
        made = [
            (event, distance)
            for event in self.query_events("CORRECTION", limit=-1)[::-1]
            if isinstance(distance := event["data"].get("edit_distance"), int | float)
        ]
        sizes = [float(distance) for _, distance in made]
        sessions = len({event["session"] or event["ts"][:10] for event, _ in made})
        half = len(sizes) // 2
        early, late = _mean(sizes[:half]), _mean(sizes[half:])
        shrank = 0.0 if early == 0 else 1 - late / early
        level = (
            "insufficient"
            if sessions < _FEW_SESSIONS or len(sizes) < _FEW_CORRECTIONS
            else "strong"
            if shrank >= _STRONG
            else "moderate"
            if shrank >= _MODERATE
            else "weak"
        )
        rules = len(self.rules())
        return {
            "proven": level in {"moderate", "strong"},
            "confidence_level": level,
            "evidence": {
                "sessions": sessions,
                "correction_count": len(sizes),
                "rule_count": rules,
                "edit_distance_early": round(early, 4),
                "edit_distance_late": round(late, 4),
            },
            "summary": f"{level} evidence ({sessions} sessions, {len(sizes)} corrections, "
            f"{rules} rules)",
        }

    def close(self) -> None:
        """Send what is queued within a bounded time, then close; the rest stays queued."""
        self._brain.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        """Refuse by name what the real SDK has and this module does not."""
        if name in _NOT_HERE:
            _refuse(f"Brain.{name}", "see docs/sdk.md for what a Holdfast brain offers")
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def _lessons(self) -> list[Lesson]:
        """Return our lessons, then those that the real SDK left in the folder."""
        return [*self._brain.lessons(), *self._history.lessons()]


def _kept_as(event_type: str) -> str:
    return f"{event_type}_NOTE" if event_type in RESERVED else event_type


def _shown_as(kept: str) -> str:
    name = kept.removesuffix("_NOTE")
    return name if name in RESERVED else kept


def _written(context: Mapping[str, Any]) -> str:
    try:
        return json.dumps(context, default=str, skipkeys=False)
    except Exception as error:  # objects of the caller are asked for their texts
        raise ValueError(f"context: not JSON: {type(error).__name__}: {error}") from error


def _refuse(what: str, instead: str) -> NoReturn:
    raise NotSupportedError(f"{what} is not supported by holdfast.compat.gradata: {instead}")


def _correction(made: Correction, *, session: int, scope: str) -> dict[str, Any]:
    now = _stamp(_CLOCK.now_ms())
    told = {name: getattr(made, name) for name in _TOLD}
    data = _data(told, scope=scope)
    classes = data["classifications"]
    return {
        "ts": now,
        "session": session,
        "type": "CORRECTION",
        "source": "brain.correct",
        "data": data,
        "tags": [f"category:{made.category}", f"severity:{made.severity}"],
        "valid_from": now,
        "valid_until": None,
        "event_id": made.event_id,
        "content_hash": made.content_hash,
        "_persisted": {"jsonl": made.persisted, "sqlite": made.persisted},
        "classifications": classes,
        "correction_scope": scope,
        "observation_seen_count": made.seen,
        "observation_deduped": made.deduplicated,
        "lessons_updated": len(made.lessons),
    }


_TOLD: Final = (
    "draft", "final", "edit_distance", "severity", "category", "summary", "classifications"
)  # fmt: skip


def _data(told: Mapping[str, Any], *, scope: str) -> dict[str, Any]:
    """Return the data of a correction under the real SDK's names."""
    severity, summary = told.get("severity", ""), told.get("summary", "")
    return {
        "draft_text": told.get("draft", ""),
        "final_text": told.get("final", ""),
        "edit_distance": told.get("edit_distance", 0.0),
        "severity": severity,
        "outcome": severity,
        "major_edit": severity in {"major", "discarded"},
        "category": told.get("category", ""),
        "summary": summary,
        "classifications": [
            {"category": name, "severity": severity, "description": summary}
            for name in told.get("classifications") or ()
        ],
        "correction_scope": scope,
        "scope": {"correction_scope": scope},
    }


def _event(event: Event) -> dict[str, Any]:
    data = json.loads(event.data)
    if event.type == "CORRECTION":
        data = _data(data, scope="domain")
    stamp = _stamp(event.at_ms)
    return {
        "id": event.id,
        "ts": stamp,
        "session": _number(event.session),
        "type": _shown_as(event.type),
        "source": event.source,
        "data": data,
        "tags": json.loads(event.tags),
        "valid_from": stamp,
        "valid_until": None,
        "event_id": event.event_id,
    }


def _rule(lesson: Lesson) -> dict[str, Any]:
    return {
        "id": lesson.lesson_id,
        "category": lesson.category,
        "description": lesson.text,
        "state": lesson.state,
        "confidence": lesson.confidence,
        "fire_count": lesson.fires,
        "date": _stamp(lesson.created_ms)[:10],
    }


def _number(session: str | None) -> int:
    return int(session) if session is not None and session.isdecimal() else 0


def _stamp(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="microseconds")


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0
