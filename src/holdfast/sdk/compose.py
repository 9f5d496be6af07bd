"""From two texts to a correction ready to be stored: checked, redacted, compared, judged.

Nothing here touches the disk; wrong arguments raise ValueError naming the argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from holdfast.outbox.redactor import redact
from holdfast.sdk import identity, judgement, lessons, limits
from holdfast.sdk.difference import compare
from holdfast.sdk.record import Made

_CUT: Final = "… [cut: {} characters more, {}]"
_CUT_CHARS: Final = 60
_CLEAN_CHARS: Final = limits.NAME_CHARS_MAX - 25
"""Length left for a name beside the 24 digits of its hash, and their dash."""


def correction(
    draft: str,
    final: str,
    *,
    category: str | None,
    context: str | None,
    session: str | int | None,
    now_ms: int,
) -> Made:
    """Return the correction from `draft` to `final`; see Brain.correct."""
    _check_texts(draft, final)
    clean_draft, clean_final = kept_text(draft), kept_text(final)
    named = None if category is None else judgement.category_named(as_text("category", category))
    spoken = session_named(session)
    why = (
        None
        if context is None
        else kept_text(as_text("context", context), limits.CONTEXT_CHARS_MAX)
    )
    difference = compare(clean_draft, clean_final)
    kinds = judgement.classify(difference)
    severity = judgement.severity(difference.distance)
    day = identity.day_of(now_ms)
    occasion = identity.occasion_of(spoken, day)
    content = identity.content_hash(clean_draft, clean_final)
    return Made(
        event_id=identity.correction_id(occasion, content),
        occasion=occasion,
        content=content,
        session=spoken,
        day=day,
        category=named or kinds[0],
        severity=severity,
        draft=clean_draft,
        final=clean_final,
        context=why,
        distance=difference.distance,
        summary=judgement.summarize(difference),
        classifications=kinds,
        seen=lessons.seen_in(difference, draft=clean_draft, final=clean_final, content=content),
        at_ms=now_ms,
    )


def _check_texts(draft: str, final: str) -> None:
    as_text("draft", draft)
    as_text("final", final)
    if not draft.strip() and not final.strip():
        raise ValueError("draft, final: both are empty; there is nothing to record")
    if draft == final:
        raise ValueError("final: the same as draft; nothing was corrected")
    size = len(draft) + len(final)
    if size > limits.TEXTS_CHARS_MAX:
        raise ValueError(
            f"draft, final: {size} characters together, at most {limits.TEXTS_CHARS_MAX};"
            " record the part that changed"
        )


def as_text(name: str, value: object) -> str:
    """Return a text as it is; raise ValueError naming the argument for any other type."""
    if not isinstance(value, str):
        # Every wrong argument raises the same.
        wrong = f"{name}: want a str, got {type(value).__name__}"
        raise ValueError(wrong)  # noqa: TRY004  # as is promised
    return value


def as_map(name: str, value: object) -> Mapping[str, Any]:
    """Return a map as it is; raise ValueError naming the argument for any other type."""
    if not isinstance(value, Mapping):
        wrong = f"{name}: want a map, got {type(value).__name__}"
        raise ValueError(wrong)  # noqa: TRY004  # as above
    return value


def as_list(name: str, value: object) -> list[Any]:
    """Return what can be gone through as a list; raise ValueError for a text or another type."""
    if isinstance(value, str | bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        wrong = f"{name}: want several in a list, got {type(value).__name__}"
        raise ValueError(wrong)  # noqa: TRY004  # as above
    return list(value)


def occasion(session: str | None, now_ms: int) -> str:
    """Return the occasion within which repeats are counted."""
    return identity.occasion_of(session, identity.day_of(now_ms))


def kept_text(text: str, most: int = limits.TEXT_CHARS_KEPT) -> str:
    """Return the text as it is stored: redacted, valid UTF-8, cut to `most` characters.

    A cut includes a hash of what was left out, so that texts that differ only there stay different.
    """
    text = redact(text)
    if len(text) <= most:
        return text
    rest = text[most - _CUT_CHARS :]
    return text[: most - _CUT_CHARS] + _CUT.format(len(rest), identity.short_id(rest)[:12])


def session_fitting(session: str) -> str | None:
    """Return a foreign session name in our form: one that is too long is shortened."""
    name = "".join(letter for letter in session if letter.isprintable()).strip()
    if len(name) > limits.NAME_CHARS_MAX:
        name = f"{name[:_CLEAN_CHARS]}-{identity.short_id(name)}"
    return name or None


def session_named(session: str | int | None) -> str | None:
    """Return a session's name as text; numbers are accepted as well."""
    if session is None:
        return None
    if isinstance(session, bool) or not isinstance(session, str | int):
        wrong = f"session: want a name or a number, got {type(session).__name__}"
        raise ValueError(wrong)  # noqa: TRY004  # as above
    if isinstance(session, int) and abs(session) >= 10**limits.NAME_CHARS_MAX:
        raise ValueError(f"session: a number of more than {limits.NAME_CHARS_MAX} digits")
    raw = str(session).strip()
    clean = short_name("session", raw)
    # Sessions are identified by name: two that look like a card or a telephone number, as times in
    # milliseconds do, must not become one by redaction.
    return clean if clean == raw else f"{clean[:_CLEAN_CHARS]}-{identity.short_id(raw)}"


def short_name(argument: str, value: object) -> str:
    """Return a short, printable, redacted name; raise ValueError naming the argument."""
    text = as_text(argument, value).strip()
    if not text or len(text) > limits.NAME_CHARS_MAX or not text.isprintable():
        raise ValueError(
            f"{argument} {text[:40]!r}: want 1 to {limits.NAME_CHARS_MAX} printable characters"
        )
    return redact(text)
