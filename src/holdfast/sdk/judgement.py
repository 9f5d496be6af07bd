"""Classifies a difference: its severity, its categories, and a summary in a line.

Pure. The categories are guesses from the words that changed; the caller may name one instead.
"""

from __future__ import annotations

import re
from typing import Final

from holdfast.sdk import limits
from holdfast.sdk.difference import Difference, Hunk

AS_IS: Final = "as-is"
MINOR: Final = "minor"
MODERATE: Final = "moderate"
MAJOR: Final = "major"
DISCARDED: Final = "discarded"
SEVERITIES: Final = (AS_IS, MINOR, MODERATE, MAJOR, DISCARDED)

FACTUAL: Final = "FACTUAL"
STYLE: Final = "STYLE"
STRUCTURE: Final = "STRUCTURE"
PROCESS: Final = "PROCESS"
TONE: Final = "TONE"
CONTENT: Final = "CONTENT"
CATEGORIES: Final = (FACTUAL, STYLE, STRUCTURE, PROCESS, TONE, CONTENT)

_CATEGORY_CHARS: Final = 32
_CATEGORY: Final = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
_MISFIT: Final = re.compile(r"[^A-Z0-9_-]+")
_HUNKS_JUDGED: Final = 50
_LONG_WORDS: Final = 6
_TONE_WORDS: Final = frozenset(
    {
        "please", "sorry", "thanks", "thank", "kindly", "unfortunately", "hi", "hello", "dear",
        "hey", "cheers", "regards", "afraid", "glad", "happy", "maybe", "perhaps", "just",
        "simply", "actually", "really", "very", "honestly", "obviously", "clearly", "awesome",
        "great", "amazing", "excited", "love", "apologize", "apologise", "apologies",
        "appreciate", "!", "🙂", "😀", "🎉", "🚀",
    }
)  # fmt: skip
_PROCESS_WORDS: Final = frozenset(
    {
        "first", "then", "next", "before", "after", "finally", "step", "steps", "run", "test",
        "tests", "check", "verify", "confirm", "ask", "review", "approve", "wait", "plan",
        "commit", "deploy", "backup", "rollback", "validate", "always", "never", "must",
    }
)  # fmt: skip
_MARK: Final = frozenset(".,;:!?\"'()[]{}-–—…/*_`#")  # noqa: RUF001  # dashes are meant


def severity(distance: float) -> str:
    """Return the name of a distance between 0 and 1."""
    if distance < limits.AS_IS_BELOW:
        return AS_IS
    if distance < limits.MINOR_BELOW:
        return MINOR
    if distance < limits.MODERATE_BELOW:
        return MODERATE
    return MAJOR if distance < limits.MAJOR_BELOW else DISCARDED


def category_named(name: str) -> str:
    """Return a category in its stored form; raise ValueError if it is invalid.

    The six are predefined; a custom one may have 32 capital letters, digits, - and _.
    """
    written = name.strip().upper()
    if not _CATEGORY.fullmatch(written):
        raise ValueError(
            f"category {name[:40]!r}: want one of {', '.join(CATEGORIES)},"
            " or a word of at most 32 letters, digits, - and _"
        )
    return written


def category_fitting(name: str | None) -> str | None:
    """Return a foreign category in our form, None if nothing of it can be kept."""
    written = _MISFIT.sub("_", (name or "").strip().upper()).strip("_")[:_CATEGORY_CHARS]
    return written if _CATEGORY.fullmatch(written) else None


def classify(difference: Difference) -> tuple[str, ...]:
    """Return the kinds of change, the most frequent first, at least one."""
    votes: dict[str, int] = dict.fromkeys(CATEGORIES, 0)
    for hunk in difference.hunks[:_HUNKS_JUDGED]:
        for kind in _kinds(hunk):
            votes[kind] += 1
    if abs(difference.lines_moved) > 1:
        votes[STRUCTURE] += 2
    found = [kind for kind in CATEGORIES if votes[kind]]
    if not found:
        # Nothing but white space: the words are the same, their arrangement is not.
        return (STRUCTURE if difference.lines_moved else STYLE,)
    return tuple(sorted(found, key=lambda kind: -votes[kind]))


def _kinds(hunk: Hunk) -> list[str]:
    old, new = hunk.removed.split(), hunk.added.split()
    words = {word.strip(".,;:?").lower() for word in (*old, *new)}
    kinds = []
    if _figures(hunk.removed) != _figures(hunk.added) or _names(old) != _names(new):
        kinds.append(FACTUAL)
    if words & _TONE_WORDS or ("!" in hunk.removed) != ("!" in hunk.added):
        kinds.append(TONE)
    if words & _PROCESS_WORDS:
        kinds.append(PROCESS)
    if not kinds:
        small = len(old) <= _LONG_WORDS and len(new) <= _LONG_WORDS
        restyled = bool(old and new) or _only_marks(hunk.removed + hunk.added)
        kinds.append(STYLE if small and restyled else CONTENT)
    return kinds


def _figures(text: str) -> list[str]:
    return re.findall(r"\d+", text)


def _names(words: list[str]) -> set[str]:
    """Return what looks like a name: capitalised, but not because it begins the change."""
    return {word for word in words[1:] if word[:1].isupper() and word[1:].islower()}


def _only_marks(text: str) -> bool:
    return all(letter in _MARK or letter.isspace() for letter in text)


def summarize(difference: Difference) -> str:
    """Return the change in a line of at most 300 characters."""
    parts = [_phrase(hunk) for hunk in difference.hunks[:3]]
    more = len(difference.hunks) - len(parts)
    if more > 0:
        parts.append(f"{more} more places")
    text = "; ".join(parts) or "only white space changed"
    return text if len(text) <= limits.SUMMARY_CHARS_MAX else text[:299] + "…"


def _phrase(hunk: Hunk) -> str:
    old, new = _brief(hunk.removed), _brief(hunk.added)
    if not hunk.removed:
        return f"added “{new}”"
    if not hunk.added:
        return f"left out “{old}”"
    return f"“{old}” became “{new}”"


def _brief(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"  # noqa: PLR2004  # a third of a summary
