"""What is known of every configuration that was in force: a value, and how it changes.

A version is a text by its etag; a verdict is about what a text says, so that a bad configuration
in another layout is still known. Times are milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct, structs

from holdfast.machine.controller.config.document import (
    REASON_CHARS_MAX,
    VERDICTS_KEPT,
    VERSIONS_KEPT,
)

Origin: TypeAlias = Literal["first", "replace", "patch", "restore", "rollback", "renewal", "found"]
"""What brought a version.

`found` was written by the agent itself, or by hand; `renewal` says only where a key is found.
"""

BY_PEOPLE: Final[frozenset[Origin]] = frozenset({"replace", "patch", "restore"})
"""Changes that somebody asked for; the agent's own are not put on trial."""


class Verdict(Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of an agent that ran with a configuration."""

    healthy: bool
    at_ms: int
    reason: str = ""


class Version(Struct, frozen=True, kw_only=True, rename="camel"):
    """One text that was in force since `at_ms`."""

    etag: str
    content: str
    at_ms: int
    origin: Origin


class Ledger(Struct, frozen=True, kw_only=True, rename="camel"):
    """Versions, the latest last, and verdicts by content, the latest last."""

    versions: tuple[Version, ...] = ()
    verdicts: dict[str, Verdict] = {}


def note(ledger: Ledger, version: Version) -> Ledger:
    """Return the ledger once `version` is in force; the same again moves to the end."""
    if ledger.versions and ledger.versions[-1].etag == version.etag:
        return ledger
    others = [known for known in ledger.versions if known.etag != version.etag]
    return _prune(structs.replace(ledger, versions=(*others, version)))


def judge(ledger: Ledger, content: str, verdict: Verdict) -> Ledger:
    """Return the ledger with a verdict; a later one replaces an earlier."""
    verdicts = {known: old for known, old in ledger.verdicts.items() if known != content}
    verdicts[content] = structs.replace(verdict, reason=verdict.reason[:REASON_CHARS_MAX])
    return _prune(structs.replace(ledger, verdicts=verdicts))


def verdict_on(ledger: Ledger, content: str) -> Verdict | None:
    """Return what is known of a configuration."""
    return ledger.verdicts.get(content)


def last_healthy(ledger: Ledger) -> Version | None:
    """Return the version that was last in force of those that are healthy."""
    for version in reversed(ledger.versions):
        verdict = ledger.verdicts.get(version.content)
        if verdict is not None and verdict.healthy:
            return version
    return None


def find(ledger: Ledger, name: str) -> Version | None:
    """Return the one version whose etag begins with `name`; None when none or several do."""
    found = [version for version in ledger.versions if version.etag.startswith(name)]
    return found[0] if len(found) == 1 else None


def _prune(ledger: Ledger) -> Ledger:
    """Return the ledger within its limits, with what one can go back to."""
    kept = ledger.versions[-VERSIONS_KEPT:]
    healthy = last_healthy(ledger)
    if healthy is not None and healthy not in kept:
        kept = (healthy, *kept)
    needed = {version.content for version in kept}
    spare = len(ledger.verdicts) - VERDICTS_KEPT
    verdicts: dict[str, Verdict] = {}
    for content, verdict in ledger.verdicts.items():
        if spare > 0 and content not in needed:
            spare -= 1
        else:
            verdicts[content] = verdict
    return Ledger(versions=kept, verdicts=verdicts)
