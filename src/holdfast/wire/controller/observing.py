"""Calls about the observer: two of existing dashboards (compat/controller.md), and enrolling."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from holdfast.wire.browser_keys import Copy, KeyId
from holdfast.wire.controller.endpoint import OURS, act, look, order

URL_CHARS_MAX: Final = 2_048


class SyncStarted(Struct, frozen=True, kw_only=True, rename="camel"):
    """The plane knows that the owner wants to see this node; `already_started`: it did before."""

    ok: bool
    already_started: bool


class DashboardUrl(Struct, frozen=True, kw_only=True):
    """Where the owner looks at this node; with a key to open what is sealed, if the file has one.

    It is the text of a file in the agent's home: whoever opens it must not trust it further.
    """

    url: Annotated[str, Meta(max_length=URL_CHARS_MAX)]

    def __repr__(self) -> str:
        """Return a form without the key that may be in it."""
        return "DashboardUrl(…)"


START_SYNC: Final = act(
    "clawmetry-start-sync", SyncStarted,
    "Tell the plane that the owner wants to see this node: the first time grants what an intent"
    " grants.",
    statuses=(200, 404, 502),
    codes=("not_registered", "registration_unreadable", "intent_failed"),
)  # fmt: skip
DASHBOARD_URL: Final = look(
    "clawmetry-dashboard-url", DashboardUrl, "Where the owner looks at this node.",
    statuses=(200, 404), codes=("no_dashboard_url", "url_unreadable"),
)  # fmt: skip


class EnrolOrder(Struct, frozen=True, kw_only=True):
    """Seal the machine's content key to a browser, whose fingerprint a person typed."""

    public_key: Annotated[str, Meta(max_length=128)]
    fingerprint: Annotated[str, Meta(max_length=64)]


class EnrolAnswer(Struct, frozen=True, kw_only=True):
    """The content key, sealed so that this browser alone opens it, and the key's id."""

    key_id: KeyId
    sealed: Copy


ENROL: Final = order(
    "observer/enrol", EnrolOrder, EnrolAnswer,
    "Seal the machine's content key to a browser of its owner.",
    capability="observer.enrol", prefix=OURS, statuses=(200, 404),
    codes=(
        "wrong_fingerprint", "invalid_public_key", "not_registered", "registration_unreadable",
        "unusable_key",
    ),
)  # fmt: skip

OBSERVING: Final = (START_SYNC, DASHBOARD_URL, ENROL)
