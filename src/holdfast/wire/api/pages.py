"""Endpoints of the dashboard: pages, their live stream and their static files.

A page row answers HTML; without a session it leads to the sign-in page. Orders from pages go to
the same JSON endpoints as the command line's, so that there is one way to do a thing.
"""

from __future__ import annotations

from typing import Final, get_args

from holdfast.wire.api.call import Scope
from holdfast.wire.api.content import LogLevel
from holdfast.wire.api.endpoint import (
    AFTER,
    ID_PATTERN,
    NAME_PATTERN,
    PAGING,
    Endpoint,
    Param,
    look,
)
from holdfast.wire.api.instances import SORTS, WINDOW
from holdfast.wire.api.upgrades import VERSION_PATTERN
from holdfast.wire.limits import (
    NODE_PATH_MAX,
    NODE_SESSION_MAX,
    SEARCH_TEXT_MAX,
    SECRET_TEXT_MAX,
)


def _page(
    name: str,
    path: str,
    summary: str,
    *params: Param,
    scope: Scope = "owner",
    audited: bool = False,
) -> Endpoint:
    """Return the row of a page."""
    return look(
        f"page.{name}", path, None, summary, *params,
        scope=scope, kind="page", audited=audited,
    )  # fmt: skip


def _field(name: str, pattern: str, summary: str) -> Param:
    """Return a parameter that may be empty: browsers send empty fields of forms too."""
    return Param(name, f"(?:{pattern})?", summary)


_LINK: Final = Param(
    "link", rf"[A-Za-z0-9_-]{{1,{SECRET_TEXT_MAX}}}", "The secret of a one-time link."
)
_NEXT: Final = Param("next", r"/(?!/)[A-Za-z0-9_.:@/?=&-]{0,255}", "Where to go after signing in.")
_FILE: Final = Param(
    "path", r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}){0,3}",
    "The file.", required=True,
)  # fmt: skip

_FLEET: Final = (
    *PAGING,
    _field("account", NAME_PATTERN, "Only this account's; operators only."),
    _field("status", r"[a-z]{1,32}(,[a-z]{1,32}){0,15}", "Only these statuses."),
    _field("health", r"[a-z-]{1,32}(,[a-z-]{1,32}){0,31}", "Only where the one status is this."),
    _field("agent", r"[a-z0-9-]{1,63}", "Only this agent."),
    _field("attention", r"true|false", "Only those that need a person, or only others."),
    _field("text", r"[^\x00-\x1f]{1,64}", "Only where the name or id contains this."),
    _field(
        "sort",
        rf"-?({'|'.join(SORTS)})",
        "Order by this; a hyphen in front turns it round.",
    ),
)
"""How the fleet page is filtered, sorted and paged; its live stream repeats it."""

_FEED: Final = (
    *PAGING,
    _field("brain", ID_PATTERN, "Only this brain's, by its id."),
    _field("category", r"[^\x00-\x1f]{1,128}", "Only this category."),
    _field("severity", r"[^\x00-\x1f]{1,128}", "Only this severity."),
    _field("text", rf"[^\x00-\x1f]{{1,{SEARCH_TEXT_MAX}}}", "Only those with these words."),
)
"""How the feed of corrections is filtered and paged; its live stream repeats it."""

_LESSONS: Final = (
    *PAGING,
    _field("brain", ID_PATTERN, "Only this brain's, by its id."),
    _field("decision", r"none|approved|rejected", "Only lessons so decided."),
)

_COSTS: Final = (
    *PAGING,
    _field("days", r"7|30|90|365", "How many days, through today."),
    _field("account", NAME_PATTERN, "Only this account's; operators only."),
)

_SESSIONS: Final = (
    _field("session", rf"[^\x00-\x1f]{{1,{NODE_SESSION_MAX}}}", "The session to show."), *PAGING,
)  # fmt: skip

_LOGS: Final = (
    _field("text", rf"[^\x00-\x1f]{{1,{SEARCH_TEXT_MAX}}}", "Only lines with this text."),
    _field("level", "|".join(get_args(LogLevel)), "Only lines as bad as this or worse."),
    *PAGING,
)

_MEMORY: Final = (
    _field("path", rf"[^\x00-\x1f]{{1,{NODE_PATH_MAX}}}", "The file to show."),
    _field("version", r"i[0-9]{1,19}", "The version to show; without it, the newest."),
    *PAGING,
)

_TOWN: Final = (
    _field("tick", r"[1-9][0-9]{0,17}", "As it was after this tick; else, now."),
    WINDOW,
)
_BEAD: Final = Param("bead", ID_PATTERN, "The bead of the town.", required=True)

_OPERATIONS: Final = (*PAGING, _field("instance", ID_PATTERN, "Only this instance's."))

_AUDIT: Final = (
    _field("who", r"[ -~]{1,128}", "Only what this person or token did."),
    _field("instance", ID_PATTERN, "Only what was about this instance, by id or name."),
)

_LIVE: Final = tuple(
    {
        param.name: param
        for of_page in (
            _FLEET,
            _LESSONS,
            _FEED,
            _COSTS,
            _SESSIONS,
            _MEMORY,
            _LOGS,
            _OPERATIONS,
            _TOWN,
        )
        for param in of_page
    }.values()
)
"""What the live stream of any page repeats of its address, each once, the widest form last."""

PAGES: Final = (
    _page("fleet", "/", "The fleet.", *_FLEET),
    _page("instance", "/instances/{id}", "One instance."),
    _page("agent-open", "/instances/{id}/open", "Leads to the agent's own page."),
    _page(
        "instance-timeline", "/instances/{id}/timeline",
        "More of an instance's timeline, as a part of its page.",
        AFTER, _field("cause", ID_PATTERN, "Only what this event led to."),
    ),
    _page(
        "instance-next", "/instances/{id}/next",
        "What the next tick would do, as a part of the instance's page.",
        scope="operator", audited=True,
    ),
    _page(
        "instance-sources", "/instances/{id}/sources",
        "How each source of an instance's pairing requests stands, as a part of its page.",
        _field("refresh", r"true|false", "Have the machine look afresh first."),
    ),
    _page(
        "instance-care", "/instances/{id}/care",
        "Its configurations with their verdicts, and its doctor, as a part of its page.",
    ),
    _page(
        "instance-upgrade", "/instances/{id}/change-version",
        "What another version of its agent would change, as a part of its page.",
        _field("version", VERSION_PATTERN, "Which one (default the newest other one)."),
    ),
    _page(
        "observability", "/instances/{id}/observability",
        "Leads to an instance's node, or says what is being waited for.",
    ),
    _page("pairing", "/pairing", "Who waits to be let in to an agent."),
    _page("nodes", "/nodes", "Machines that can send content, and what may leave them.", *PAGING),
    _page("costs", "/costs", "What agents cost, by day, agent and model.", *_COSTS),
    _page("node", "/nodes/{id}", "What may leave one node, who said so, and its receipts."),
    _page("corrections", "/corrections", "What agents wrote and what it became.", *_FEED),
    _page("correction", "/corrections/{id}", "One correction, whole."),
    _page("brains", "/brains", "Brains, what they sent and their keys.", *PAGING),
    _page("brain", "/brains/{id}", "One brain."),
    _page(
        "node-sessions", "/nodes/{id}/sessions",
        "One node: its sessions, or one of them turn by turn.",
        *_SESSIONS,
    ),
    _page(
        "node-keys", "/nodes/{id}/keys",
        "Which browsers open what a node sealed; enrolling one, and the recovery code.",
    ),
    _page("node-logs", "/nodes/{id}/logs", "A node's log lines, and what is searched.", *_LOGS),
    _page(
        "node-memory", "/nodes/{id}/memory", "A node's memory files, and one's history.",
        *_MEMORY,
    ),
    _page("node-cron", "/nodes/{id}/cron", "A node's cron jobs, and how they ended.", *PAGING),
    _page("towns", "/towns", "Towns: what each does, and what hurts.", *PAGING),
    _page("town", "/towns/{id}", "One town, now or as it was.", *_TOWN),
    _page("town-bead", "/towns/{id}/beads/{bead}", "One bead, and why it waits.", _BEAD),
    _page(
        "town-timeline", "/towns/{id}/timeline",
        "More of what happened in a town, as a part of its page.", AFTER,
    ),
    _page(
        "town-next", "/towns/{id}/next",
        "What the next tick would do, as a part of the town's page.",
        scope="operator", audited=True,
    ),
    _page(
        "town-what-if", "/towns/{id}/what-if",
        "What would be decided under another policy, as a part of the town's page.",
        _field("field", r"[a-z_]{1,64}", "The figure of the policy to change."),
        _field("value", r"[0-9]{1,9}", "Its value, in the unit that the page says."),
        _field("span", r"next|past", "The next tick, or all that the log still has."),
        scope="operator", audited=True,
    ),
    _page("lessons", "/lessons", "What brains learned.", *_LESSONS),
    _page("operations", "/operations", "Orders and what became of them.", *_OPERATIONS),
    _page("operation", "/operations/{event}", "One order."),
    _page("quarantine", "/quarantine", "Events in quarantine.", *PAGING, scope="operator"),
    _page("tokens", "/tokens", "API tokens."),
    _page("audit", "/audit", "Who did what.", *PAGING, *_AUDIT),
    _page("profile", "/profile", "Who is signed in, and their password."),
    _page(
        "sign-in", "/sign-in",
        "The sign-in page; with a link it shows the button that uses it.",
        _LINK, _NEXT, scope="public",
    ),
    look(
        "page.static", "/static/{path}", None,
        "A script, style or picture of the dashboard.",
        _FILE, Param("v", r"[0-9a-f]{1,64}", "The hash of its content."),
        scope="public", kind="asset", statuses=(200, 304),
    ),
    look(
        "page.events", "/events", None,
        "Live updates of one page, as server-sent events.",
        Param(
            "page",
            r"fleet|instance|operations|operation|quarantine|pairing|corrections|brains|brain"
            r"|lessons|nodes|node|observability|costs|node-sessions|node-logs|node-memory|node-cron"
            r"|towns|town|town-bead",
            "Which page is looking.", required=True,
        ),
        Param("id", ID_PATTERN, "The instance, operation, brain, node or town it looks at."),
        _field("bead", ID_PATTERN, "The bead of the town it looks at."),
        *_LIVE, kind="stream",
    ),
)  # fmt: skip
