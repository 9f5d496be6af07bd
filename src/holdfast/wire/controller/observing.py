"""The two calls of existing dashboards about the observer (compat/controller.md)."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from holdfast.wire.controller.endpoint import act, look

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

OBSERVING: Final = (START_SYNC, DASHBOARD_URL)
