"""What the states of things are called on a page, and in which tone. Pure.

A tone is one of five, so that colour means one thing everywhere: `ok` as wanted, `busy` under
way, `off` at rest, `warn` look when you can, `bad` look now. Colour never stands alone.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from holdfast.wire.api.instances import InstanceView
from holdfast.wire.health import HEALTHS, HealthCode, Tone


class Badge(NamedTuple):
    """A state in words with its tone; `why` is the longer form for a tooltip."""

    text: str
    tone: Tone
    why: str = ""


HEALTH_BADGES: Final[dict[HealthCode, Badge]] = {
    code: Badge(meaning.title, meaning.tone, meaning.text) for code, meaning in HEALTHS.items()
}
"""Every status in the order in which counts are shown: what hurts most first."""

OUTCOMES: Final[dict[str, Badge]] = {
    "applied": Badge("applied", "ok"),
    "ignored": Badge("ignored", "off"),
    "refused": Badge("refused", "warn"),
    "quarantined": Badge("quarantined", "bad"),
    "pending": Badge("pending", "busy"),
    "running": Badge("running", "busy"),
    "done": Badge("done", "ok"),
    "failed": Badge("failed", "bad"),
}

CHANNELS: Final = {
    "telegram": "Telegram",
    "discord": "Discord",
    "slack": "Slack",
    "whatsapp": "WhatsApp",
    "signal": "Signal",
    "imessage": "iMessage",
    "msteams": "Teams",
}
"""Channels as their makers write them."""

_WANTED: Final = {"running": "running", "stopped": "stopped", "destroyed": "gone"}
_SETTLED: Final = {"running": {"running", "paused"}, "stopped": {"stopped", "provisioned"}}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def status_badge(view: InstanceView) -> Badge:
    """Return the one status of an instance."""
    return HEALTH_BADGES[view.health.code]._replace(why=view.health.text)


def wanted_words(view: InstanceView) -> str:
    """Return the desired state if it differs from the observed one, else an empty text."""
    if view.health.code in {"starting", "restarting", "stopping", "damaged"}:
        return ""  # the status says where it goes
    if view.status in _SETTLED.get(view.desired, ()) or view.desired == "destroyed":
        return ""
    if view.status == "unknown":
        return ""
    return f"should be {_WANTED[view.desired]}"


def outcome_badge(outcome: str) -> Badge | None:
    """Return what became of something, or None where nothing is said."""
    return OUTCOMES.get(outcome) or (Badge(outcome, "off") if outcome else None)


def spoken(name: str) -> str:
    """Return a name of the code in words: `StartRequested` is `Start requested`."""
    words = _CAMEL.sub(" ", name).replace("_", " ").replace(".", " ").strip()
    return words[:1].upper() + words[1:].lower() if words else ""


def channel_words(channel: str) -> str:
    """Return a channel's name as its makers write it."""
    return CHANNELS.get(channel, channel[:1].upper() + channel[1:])


def element_id(*parts: str) -> str:
    """Return an element's id of some names: those may hold what selectors do not like."""
    return "-".join(_UNSAFE.sub(lambda found: f"_{ord(found[0]):x}_", part) for part in parts)


def actor_href(actor: str) -> str:
    """Return where an actor's page is, or nothing where it has none."""
    kind, _, name = actor.partition("/")
    place = {"instance": "/instances", "town": "/towns"}.get(kind, "")
    return f"{place}/{name}" if place and name else ""
