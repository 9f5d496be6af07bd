"""The record of every configuration that was in force: a value and its changes.

A version is a text, named by its etag; a verdict is about the parsed content, so that a bad
configuration in another layout is recognised. Times are milliseconds since the epoch.
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
"""What made a version.

`found` was written by the agent itself or by hand; `renewal` only changes where a key is read.
"""

BY_PEOPLE: Final[frozenset[Origin]] = frozenset({"replace", "patch", "restore"})
"""Changes that a person ordered; the agent's own are not put on trial."""


class Verdict(Struct, frozen=True, kw_only=True, rename="camel"):
    """What happened to an agent that ran with a configuration."""

    healthy: bool
    at_ms: int
    reason: str = ""


class Version(Struct, frozen=True, kw_only=True, rename="camel"):
    """One text, in force since `at_ms`."""

    etag: str
    content: str
    at_ms: int
    origin: Origin


class Ledger(Struct, frozen=True, kw_only=True, rename="camel"):
    """Versions, the latest last, and verdicts by content, the latest last."""

    versions: tuple[Version, ...] = ()
    verdicts: dict[str, Verdict] = {}


def note(ledger: Ledger, version: Version) -> Ledger:
    """Return the ledger with `version` in force; a known one moves to the end."""
    if ledger.versions and ledger.versions[-1].etag == version.etag:
        return ledger
    others = [known for known in ledger.versions if known.etag != version.etag]
    return _prune(structs.replace(ledger, versions=(*others, version)))


def judge(ledger: Ledger, content: str, verdict: Verdict) -> Ledger:
    """Return the ledger with a verdict, which replaces an earlier one."""
    verdicts = {known: old for known, old in ledger.verdicts.items() if known != content}
    verdicts[content] = structs.replace(verdict, reason=verdict.reason[:REASON_CHARS_MAX])
    return _prune(structs.replace(ledger, verdicts=verdicts))


def verdict_on(ledger: Ledger, content: str) -> Verdict | None:
    """Return the verdict about a configuration, None if there is none."""
    return ledger.verdicts.get(content)


def last_healthy(ledger: Ledger) -> Version | None:
    """Return the latest version with the verdict healthy."""
    for version in reversed(ledger.versions):
        verdict = ledger.verdicts.get(version.content)
        if verdict is not None and verdict.healthy:
            return version
    return None


def find(ledger: Ledger, name: str) -> Version | None:
    """Return the only version whose etag begins with `name`; None if none or several do."""
    found = [version for version in ledger.versions if version.etag.startswith(name)]
    return found[0] if len(found) == 1 else None


def _prune(ledger: Ledger) -> Ledger:
    """Return the ledger within its limits, keeping what can be gone back to."""
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
