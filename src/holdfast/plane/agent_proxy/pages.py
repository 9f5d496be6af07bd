"""The pages shown in an agent's place: it starts, it is stopped, it cannot be reached.

They have no script and no file of the dashboard, because this is another host.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Final, NamedTuple

from holdfast.relay import http1


class Notice(NamedTuple):
    """A page: `code` is for programs. With `again_s` it reloads after as many seconds.

    `link` is (address, text). `busy` shows that work is in progress.
    """

    status: int
    code: str
    title: str
    text: str
    again_s: int = 0
    link: tuple[str, str] = ("", "")
    busy: bool = False


STYLE: Final = (
    "body{margin:0;min-height:100vh;display:grid;place-items:center;background:#f6f7f9;"
    "color:#1b1f24;font:16px/1.5 system-ui,sans-serif}main{max-width:32rem;padding:2rem}"
    "h1{font-size:1.4rem;margin:0 0 .5rem}p{margin:.4rem 0}a{color:#0b5cad}"
    "small{color:#5b6470}progress{width:100%;height:.4rem}"
    "@media(prefers-color-scheme:dark){body{background:#14171b;color:#e6e8eb}a{color:#7db7f5}"
    "small{color:#98a2ad}}"
)

_CSP: Final = (
    b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; "
    b"form-action 'none'"
)

SECURITY: Final[http1.Headers] = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", _CSP),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


def answer(notice: Notice, header: Mapping[str, str]) -> tuple[int, http1.Headers, bytes]:
    """Return status, headers and body: a page for people, `{error, code}` for programs."""
    headers = [*SECURITY]
    if notice.again_s:
        headers.append((b"retry-after", str(notice.again_s).encode()))
    if "text/html" in header.get("accept", ""):
        body = render(notice)
        headers.append((b"content-type", b"text/html; charset=utf-8"))
    else:
        said = notice.title.replace('"', "'")
        body = f'{{"error":"{said}","code":"{notice.code}"}}'.encode()
        headers.append((b"content-type", b"application/json"))
    headers.append((b"content-length", str(len(body)).encode()))
    return notice.status, headers, body


def render(notice: Notice) -> bytes:
    """Return the page."""
    address, words = notice.link
    waits = notice.again_s > 0
    again = f'<meta http-equiv="refresh" content="{notice.again_s}">' if waits else ""
    link = f'<p><a href="{html.escape(address)}">{html.escape(words)}</a></p>' if address else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{again}<title>{html.escape(notice.title)}</title><style>{STYLE}</style></head>"
        f'<body><main aria-live="polite"><h1>{html.escape(notice.title)}</h1>'
        f"<p>{html.escape(notice.text)}</p>"
        + ("<progress aria-label='waiting'></progress>" if notice.busy else "")
        + f"{link}<p><small>{html.escape(notice.code)}</small></p></main></body></html>"
    ).encode()


def starting(link: tuple[str, str]) -> Notice:
    """Return the page while an agent comes up."""
    text = "This page opens it as soon as it is ready."
    return Notice(503, "agent_starting", "The agent is starting", text, 3, link, busy=True)


def stopped(link: tuple[str, str]) -> Notice:
    """Return the page of an agent that is not to run, or whose start is in flight."""
    text = "Start it on its page in the dashboard; this page opens it once it runs."
    return Notice(503, "agent_stopped", "The agent is stopped", text, 10, link)


def paused(link: tuple[str, str]) -> Notice:
    """Return the page of an agent that the cap of its budget pauses."""
    text = "Its budget is used up and its cap is on. Its page in the dashboard says how it goes on."
    return Notice(503, "agent_paused", "The agent is paused", text, 10, link)


def crashed(link: tuple[str, str], why: str) -> Notice:
    """Return the page of an agent that crashed repeatedly."""
    text = f"Its controller is trying to bring it back. {why}".strip()
    return Notice(503, "agent_crashed", "The agent is not running", text, 5, link, busy=True)


def degraded(link: tuple[str, str], why: str) -> Notice:
    """Return the page of a machine whose start failed."""
    text = f"{why or 'Its start failed'}. Its page in the dashboard has details."
    return Notice(503, "controller_degraded", "The machine needs repair", text, 10, link, busy=True)


def no_route(link: tuple[str, str]) -> Notice:
    """Return the page of a machine that cannot be reached."""
    text = "Its machine should run but does not answer. It is tried again."
    return Notice(502, "agent_unreachable", "The agent cannot be reached", text, 5, link, busy=True)


def destroying(link: tuple[str, str]) -> Notice:
    """Return the page of an agent that is being destroyed."""
    text = "It is being destroyed, with its data."
    return Notice(409, "agent_destroying", "This agent is gone", text, 0, link)


def suspended(link: tuple[str, str]) -> Notice:
    """Return the page of an agent whose account may not use it now."""
    text = "Its account may not use it at present. The dashboard shows why."
    return Notice(402, "agent_suspended", "This agent is suspended", text, 0, link)


def missing(link: tuple[str, str]) -> Notice:
    """Return the page of an unknown host, or one not visible to this person."""
    return Notice(
        404, "no_such_agent", "There is no such agent", "The address may be old.", 0, link
    )


def signed_out(link: tuple[str, str]) -> Notice:
    """Return the page for a browser without a session."""
    text = "Open the agent from the dashboard, where you are signed in."
    return Notice(401, "not_signed_over", "Sign in first", text, 0, link)


def foreign() -> Notice:
    """Return the answer to a cross-site request."""
    text = "An agent answers its own pages only."
    return Notice(403, "cross_site", "This request comes from another page", text)


def reserved() -> Notice:
    """Return the answer on the paths that are the controller's."""
    return Notice(404, "no_such_page", "There is nothing here", "This path is not the agent's.")
