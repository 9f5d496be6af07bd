"""What somebody sent is read by the parsers of `wire/parsers.py`, which raise nothing.

The standard library's own raise on some texts and read more than is meant. Where they are used all
the same, on what did not come from a request or was held against a pattern first, it says why.
"""

from __future__ import annotations

import ast
from pathlib import Path

from tests.house.sources import PACKAGE, nodes, python_files, shown, uses

READ_HERE = (
    "accounts", "content", "corrections", "machine/controller/api", "machine/controller/proxy",
    "machine/controller/server.py", "machine/controller/http_body.py",
    "machine/controller/health_listener.py", "plane/agent_proxy", "plane/edge",
    "plane/operations.py", "relay", "telemetry", "web", "wire", "actors/calls.py",
    "instances/handlers.py", "pairing/handlers.py", "consent/handlers.py",
)  # fmt: skip
"""Where requests are read."""

RAISING = (
    "urllib.parse.urlsplit", "urllib.parse.urlparse", "urllib.parse.parse_qs",
    "urllib.parse.parse_qsl", "ipaddress.ip_address", "ipaddress.ip_network", "json.loads",
    "msgspec.json.decode", "base64.b64decode", "base64.urlsafe_b64decode",
    "datetime.datetime.fromisoformat", "datetime.datetime.strptime",
    "datetime.datetime.fromtimestamp", "uuid.UUID",
)  # fmt: skip

ALLOWED = {
    "wire/parsers.py": "the parsers",
    "wire/agents.py": "digits that a pattern has matched, at most 18 of them",
    "wire/address.py": "addresses out of settings; it raises ValueError and says so",
    "wire/salvage.py": "a view of our own, as its reader will; what it raises is caught",
    "content/keys.py": "a digest of our own",
    "content/accept.py": "numbers that were held against their bounds",
    "content/prices.py": "numbers of the operator's file, held against their bounds",
    "content/views.py": "numbers, not text",
    "wire/times.py": "the parser of times, total as well",
    "wire/consent.py": "after a pattern, and what it raises is caught beside it",
    "wire/controller/identity.py": "after a pattern, and what it raises is caught beside it",
    "relay/http1.py": "digits that a pattern has matched, at most 18 of them",
    "plane/edge/auth.py": "settings: the public address and the trusted proxies",
    "corrections/views.py": "digits that a pattern has matched",
    "corrections/accept.py": "a number that was held against its bounds",
    "corrections/gradata.py": "numbers, not text",
    "corrections/sender_calls.py": "digits, at most 15 of them",
    "instances/handlers.py": "an id made of a digest",
    "machine/controller/proxy/location.py": "what the agent answers, after a pattern",
    "telemetry/rate.py": "numbers, not text",
    "telemetry/silence.py": "numbers, not text",
    "machine/controller/api/pairing.py": "a list of our own",
    "web/pages/corrections.py": "what is stored; what it raises is caught beside it",
}


def read_by(path: Path) -> list[str]:
    found = [f"{line} {name}" for line, name in uses(path) if name in RAISING]
    for node in nodes(path):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            is_number = node.func.id in {"int", "float"} and bool(node.args)
            if is_number and not isinstance(node.args[0], ast.Constant):
                found.append(f"{node.lineno} {node.func.id}()")
    return found


def read_where(folders: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in python_files("src/holdfast"):
        inside = path.relative_to(PACKAGE).as_posix()
        if any(inside == one or inside.startswith(f"{one}/") for one in folders):
            raising = read_by(path)
            if raising:
                found[inside] = [f"{shown(path)}:{each}" for each in raising]
    return found


def test_requests_are_read_by_total_parsers() -> None:
    wrong = [
        line
        for inside, lines in read_where(READ_HERE).items()
        if inside not in ALLOWED
        for line in lines
    ]
    assert not wrong, "read it with wire/parsers.py, or add the reason:\n" + "\n".join(wrong)


def test_every_allowance_is_used() -> None:
    unused = sorted(set(ALLOWED) - set(read_where(READ_HERE)))
    assert not unused


def test_raising_parsers_are_recognised(tmp_path: Path) -> None:
    odd = tmp_path / "odd.py"
    odd.write_text("from urllib.parse import urlsplit\nurlsplit(x)\nint(x)\nint(5)\n")
    assert [each.partition(" ")[2] for each in read_by(odd)] == ["urllib.parse.urlsplit", "int()"]
