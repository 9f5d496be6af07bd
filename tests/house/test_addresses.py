"""No URL is made by joining text, and every client that connects somewhere is on one list.

The host of a joined text depends on its first slash, at sign or colon. Connections,
`Host` headers and request lines are made from `wire.address`, each on its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.sources import PACKAGE, nodes, python_files, shown, tree, uses

# Where text with `://` is put together, and why it is never what a connection is made from.
JOINED = {
    "wire/address.py": "the one place: of a checked scheme, host, port and path",
    "relay/http1.py": "an Origin header, compared and moved",
    "plane/settings.py": "of an Address, for people and other processes to read",
    "plane/agent_proxy/access.py": "a Location that the browser follows, to a host that is ours",
    "plane/agent_proxy/request.py": "an Origin header, compared",
}

# What opens a connection, or what a client library is given to open one.
CONNECTS = (
    "aiohttp.ClientSession", "http.client.HTTPConnection", "http.client.HTTPSConnection",
    "socket.create_connection", "holdfast.outbox.http_connection.HttpConnection", "yarl.URL",
    "urllib.request", "asyncio.open_connection", "httpx", "requests",
)  # fmt: skip

# Modules that connect, and their source of addresses. tests/contract/clients tries hostile targets.
CLIENTS = {
    "relay/urls.py": "the one maker of URLs for aiohttp",
    "world/controllers.py": "http_url of an Address",
    "world/clouds/fly/client.py": "http_url of a Base, and a path of checked segments",
    "world/clouds/docker/forwarders.py": "an Address of the plane's own, or of a setting",
    "world/forges/github.py": "url of a Base, handed to githubkit",
    "machine/agents/demo_work.py": "asks its own gateway on loopback",
    "machine/controller/wiring.py": "makes the session of check-ins, wake, probes",
    "machine/controller/report/checkin.py": "whole_url of a setting",
    "machine/controller/report/long_poll.py": "whole_url of a setting",
    "machine/controller/observing/calls.py": "whole_url of a path below a setting",
    "machine/controller/agent/processes.py": "http_url of an Address",
    "machine/controller/pairing/wiring.py": "makes the session of pairing",
    "machine/controller/pairing/openclaw/connection.py": "hands the session on",
    "machine/controller/pairing/openclaw/websocket.py": "http_url of an Address",
    "cli/client.py": "host and port of a Base, and a target below it",
    "outbox/http_connection.py": "host, port and path, each checked by address_of",
    "outbox/http_sender.py": "the parts that address_of returns",
    "town_tool/client.py": "the parts that address_of returns, and the name of a tool below",
    "machine/observer/upload.py": "the parts that address_of returns, and a target of ours below",
}

_ASKS = frozenset({"get", "post", "put", "delete", "head", "options", "patch", "request"})


def joins(module: ast.Module) -> Iterator[int]:
    """Yield the lines where text with `://` is joined with something else."""
    for node in ast.walk(module):
        if isinstance(node, ast.JoinedStr):
            parts = [one.value for one in node.values if isinstance(one, ast.Constant)]
            dynamic = any(isinstance(one, ast.FormattedValue) for one in node.values)
            if dynamic and any("://" in str(part) for part in parts):
                yield node.lineno
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
            for side in (node.left, node.right):
                if isinstance(side, ast.Constant) and "://" in str(side.value):
                    yield node.lineno


def test_no_url_is_made_by_joining_text() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): line
        for path in python_files("src/holdfast")
        for line in joins(tree(path))
        if not path.is_relative_to(PACKAGE / "sim")  # it has no network
    }
    assert found.keys() == JOINED.keys(), f"use wire.address and relay.urls: {found}"


def test_every_client_is_known() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in python_files("src/holdfast")
        for _, name in uses(path)
        if any(name == one or name.startswith(f"{one}.") for one in CONNECTS)
    }
    assert found == CLIENTS.keys(), "add it here, and to tests/contract/clients"


def test_sessions_are_asked_with_built_urls_only() -> None:
    """Every `session.get(…)` names its URL by a variable of ours or builds it where it stands."""
    wrong = []
    for path in python_files("src/holdfast"):
        for node in nodes(path):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            asked = ast.unparse(node.func.value)
            if not asked.endswith(("_session", "session", "self._open()")):
                continue
            if node.func.attr not in _ASKS | {"ws_connect"}:
                continue
            url = node.args[1 if node.func.attr == "request" else 0]
            built = isinstance(url, ast.Call) and ast.unparse(url.func) in {"http_url", "whole_url"}
            if not built and not (isinstance(url, ast.Name) and _is_built(tree(path), url.id)):
                wrong.append(f"{shown(path)}:{node.lineno}")
    assert not wrong, f"build the URL by relay.urls: {wrong}"


def _is_built(module: ast.Module, name: str) -> bool:
    """Return whether every value that is given to this name is a built URL."""
    values = [
        ast.unparse(node.value.func)
        for node in ast.walk(module)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    ]
    return bool(values) and set(values) <= {"http_url", "whole_url"}


def test_joins_are_recognised() -> None:
    for text in ('f"http://{a}"', '"http://" + a', 'b"https://%b" % a', 'f"{s}://{h}"'):
        assert list(joins(ast.parse(text))), text
    for text in ('"http://a"', 'f"{a}:{b}"', 'f"http://a"'):
        assert not list(joins(ast.parse(text))), text
