"""What the states of things are called on a page, and in which tone. Pure.

A tone is one of five, so that colour means one thing everywhere: `ok` as wanted, `busy` under
way, `off` at rest, `warn` look when you can, `bad` look now. Colour never stands alone.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from holdfast.wire.api.instances import InstanceView, Status

Tone = Literal["ok", "busy", "off", "warn", "bad"]


class Badge(NamedTuple):
    """A state in words with its tone; `why` is the longer form for a tooltip."""

    text: str
    tone: Tone
    why: str = ""


STATUSES: Final[dict[Status, Badge]] = {
    "running": Badge("Running", "ok"),
    "starting": Badge("Starting", "busy"),
    "restarting": Badge("Restarting", "busy"),
    "recovering": Badge("Recovering", "busy"),
    "restoring": Badge("Restoring", "busy"),
    "provisioned": Badge("Provisioned", "off", "It has never been started."),
    "stopped": Badge("Stopped", "off"),
    "paused": Badge("Paused", "warn", "The cap of its budget stopped it."),
    "destroying": Badge("Destroying", "busy"),
    "destroyed": Badge("Destroyed", "off"),
    "unknown": Badge("Unknown", "bad", "Its stored row is damaged."),
}
"""Every status in the order in which counts are shown."""

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
    """Return the state of an instance as one word, the worst first.

    A machine that runs without its agent, or whose contact is lost, is not shown as running.
    """
    badge = STATUSES[view.status]
    if view.paused and view.status != "paused":
        return Badge("Pausing", "warn", "The cap of its budget stops it.")
    if view.status == "running" and view.contact == "lost":
        return Badge("No contact", "bad", "The machine has missed three check-ins.")
    if view.status == "running" and view.agent_ready is False:
        return Badge("Agent down", "bad", "The machine runs and its agent does not answer.")
    if view.status in {"stopped", "provisioned"} and view.desired == "running":
        return Badge(badge.text, "warn", "It should be running.")
    return badge


def wanted_words(view: InstanceView) -> str:
    """Return the desired state if it differs from the observed one, else an empty text."""
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
    return f"/instances/{name}" if kind == "instance" and name else ""
