"""Endpoints of the dashboard: pages, their live stream and their static files.

A page row answers HTML; without a session it leads to the sign-in page. Orders from pages go to
the same JSON endpoints as the command line's, so that there is one way to do a thing.
"""

from __future__ import annotations

from typing import Final

from holdfast.wire.endpoints.params import EVENT, ID, PAGING
from holdfast.wire.endpoints.row import Endpoint, Param
from holdfast.wire.limits import SECRET_TEXT_MAX
from holdfast.wire.messages.fields import ID_PATTERN


def _page(name: str, path: str, summary: str, params: tuple[Param, ...] = ()) -> Endpoint:
    """Return the row of a page for people who are signed in."""
    return Endpoint(
        name=f"page.{name}",
        method="GET",
        path=path,
        summary=summary,
        scope="owner",
        kind="page",
        params=params,
    )


_LINK: Final = Param(
    "link", rf"[A-Za-z0-9_-]{{1,{SECRET_TEXT_MAX}}}", "The secret of a one-time link."
)
_NEXT: Final = Param("next", r"/(?!/)[A-Za-z0-9_.:@/?=&-]{0,255}", "Where to go after signing in.")
_FILE: Final = Param(
    "path", r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}){0,3}",
    "The file.", required=True,
)  # fmt: skip

PAGES: Final = (
    _page("fleet", "/", "The fleet."),
    _page("instance", "/instances/{id}", "One instance.", (ID,)),
    _page("operations", "/operations", "Orders and what became of them.", PAGING),
    _page("operation", "/operations/{event}", "One order.", (EVENT,)),
    _page("quarantine", "/quarantine", "Events in quarantine."),
    _page("tokens", "/tokens", "API tokens."),
    _page("audit", "/audit", "Who did what.", PAGING),
    Endpoint(
        name="page.sign-in",
        method="GET",
        path="/sign-in",
        summary="The sign-in page; with a link it shows the button that uses it.",
        scope="public",
        kind="page",
        params=(_LINK, _NEXT),
    ),
    Endpoint(
        name="page.static",
        method="GET",
        path="/static/{path}",
        summary="A script, style or picture of the dashboard.",
        scope="public",
        kind="asset",
        params=(_FILE,),
        statuses=(200, 304),
    ),
    Endpoint(
        name="page.events",
        method="GET",
        path="/events",
        summary="Live updates of one page, as server-sent events.",
        scope="owner",
        kind="stream",
        params=(
            Param("page", r"[a-z]{1,32}", "Which page is looking."),
            Param("id", ID_PATTERN, "The instance it looks at."),
        ),
    ),
)
