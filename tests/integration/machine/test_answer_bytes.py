"""The answers of every control route, byte for byte, as existing clients read them.

`answers.json` was recorded from a controller whose handlers wrote their JSON by hand. What differs
from run to run is replaced by a name; everything else, including blanks, is compared. After a
change of the contract, `python -m tests.integration.machine.test_answer_bytes` records it anew.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Final

from holdfast.wire.controller.endpoint import PREFIXES
from holdfast.wire.controller.table import ROUTES
from tests.integration.machine.rig import TOKEN, Machine, run_machine, until

RECORD: Final = Path(__file__).with_name("answers.json")
_VARYING: Final = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<time>"),
    (re.compile(r"\d+-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<printed time>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<sha256>"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "<run id>"),
    (
        re.compile(
            r'("(?:pid|uptime|uptimeMs|tookMs|received|sent|requests|callers|agentConnections)": )'
            r"\d+"
        ),
        r"\1<number>",
    ),
    (re.compile(r'("version": )"[^"]*"'), r"\1<version>"),
    (re.compile(r'("config": {"state": )"(?:trial|healthy)"'), r"\1<trial or healthy>"),
    (re.compile(r'("loadAverage": )\[[^]]*\]'), r"\1<load>"),
    (re.compile(r'("settled": )(?:true|false)'), r"\1<settled>"),
    (re.compile(r'("epoch": ?)\d+'), r"\1<epoch>"),
)

Step = tuple[str, str, Any]

WORK: Final = {
    "town": "t", "agent": "g", "attempt": "a", "epoch": 1, "role": "polecat", "branch": "b/1",
    "base": "0" * 40, "prompt": "p",
}  # fmt: skip

WRONG_BODIES: Final[tuple[Step, ...]] = (
    ("POST", "gateway/stop?drain_ms=x", None),
    ("POST", "gateway/stop?drain_ms=", None),
    ("POST", "gateway/restart?drain_ms=3600001", None),
    ("POST", "gateway/ladder/stop", {"reason": 3}),
    ("POST", "gateway/ladder/stop", {"reason": "x" * 513}),
    ("POST", "gateway/ladder/stop", b"{"),
    ("POST", "gateway/ladder/stop", b"[]"),
    ("POST", "observer/enrol", {"public_key": "x"}),
    ("POST", "observer/enrol", {"public_key": "x", "fingerprint": "y"}),
    ("POST", "config/replace", b""),
    ("POST", "config/replace", b"3"),
    ("POST", "config/replace", {}),
    ("POST", "config/replace", {"config": []}),
    ("POST", "config/replace", {"config": {}, "etag": ""}),
    ("POST", "config/replace", {"config": {}, "etag": 3}),
    ("POST", "config/replace?force=1", {"config": {}}),
    ("POST", "config/replace", {"config": {}, "etag": "other"}),
    ("POST", "config/patch?etag=", {}),
    ("POST", "config/patch?etag=other", {}),
    ("POST", "config/patch", b"[1]"),
    ("POST", "config/restore/other", None),
    ("POST", "config/restore/0123456789", None),
    ("POST", "config/restore/base?force=no", None),
    ("POST", "env/patch", {}),
    ("POST", "env/patch", {"PATH": "x"}),
    ("POST", "env/patch", {"KILOCODE_API_KEY": ""}),
    ("POST", "env/patch", {"KILOCODE_API_KEY": 3}),
    ("POST", "env/patch", {"KILOCODE_API_KEY": "a\0b"}),
    ("POST", "env/patch", {"HOLDFAST_API_KEY": "x" * 8_193}),
    ("POST", "env/patch", {"HOLDFAST_API_KEY": "x" * 70_000}),
    ("GET", "files/tree?depth=0", None),
    ("GET", "files/tree?depth=100", None),
    ("GET", "files/tree?path=../x", None),
    ("GET", "files/read", None),
    ("GET", "files/read?path=no-such", None),
    ("POST", "files/write", {"content": ""}),
    ("POST", "files/write", {"path": 3, "content": ""}),
    ("POST", "files/write", {"path": "x" * 1_025, "content": ""}),
    ("POST", "files/write", {"path": "a.md"}),
    ("POST", "files/write", {"path": "a.md", "content": None}),
    ("POST", "files/write", {"path": "a.md", "content": "", "etag": " "}),
    ("POST", "files/write", {"path": "a.md", "content": "", "create": "yes"}),
    ("POST", "files/write", {"path": "a.md", "content": "", "create": True, "etag": "e"}),
    ("POST", "files/write", {"path": "demo.json", "content": "{}", "etag": "e"}),
    ("POST", "doctor/start", {"fix": None}),
    ("POST", "doctor/start", b"[]"),
    ("POST", "doctor/cancel", None),
    ("GET", "doctor/status?after=x", None),
    ("POST", "credentials/rotate", {}),
    ("POST", "credentials/rotate", {"gatewayToken": 3, "proxyToken": "b" * 32}),
    ("POST", "credentials/rotate", {"gatewayToken": "a" * 257, "proxyToken": "b" * 32}),
    ("POST", "credentials/rotate", {"gatewayToken": "a" * 31, "proxyToken": "b" * 32}),
    ("POST", "credentials/rotate", {"gatewayToken": "a" * 32, "proxyToken": "-" * 32}),
    ("POST", "credentials/rotate", {"gatewayToken": "a" * 32, "proxyToken": "b" * 32}),
    (
        "POST", "credentials/rotate",
        {"gatewayToken": "a" * 32, "proxyToken": "b" * 32, "overlapMs": True},
    ),
    (
        "POST", "credentials/rotate",
        {"gatewayToken": "a" * 32, "proxyToken": "b" * 32, "overlapMs": -1},
    ),
    ("POST", "pairing/channels/approve", b"{"),
    ("POST", "pairing/channels/approve", b"[]"),
    ("POST", "pairing/channels/approve", {}),
    ("POST", "pairing/channels/approve", {"channel": 3}),
    ("POST", "pairing/channels/approve", {"channel": "telegram"}),
    ("POST", "pairing/channels/approve", {"channel": "telegram", "code": 3}),
    ("POST", "pairing/channels/approve", {"channel": "Telegram", "code": "AB"}),
    ("POST", "pairing/channels/approve", {"channel": "t" * 200, "code": "AB"}),
    ("POST", "pairing/channels/approve", {"channel": "telegram", "code": "a-b"}),
    ("POST", "pairing/channels/approve", {"channel": "telegram", "requestId": "x"}),
    (
        "POST", "pairing/channels/approve",
        {"channel": "telegram", "code": "ABCD", "fingerprint": "x"},
    ),
    ("POST", "pairing/channels/dismiss", {"channel": "telegram", "code": "ABCDEFGH"}),
    ("POST", "pairing/channels/approve", {"channel": "telegram", "code": "ABCDEFGH"}),
    ("POST", "pairing/devices/approve", {}),
    ("POST", "pairing/devices/approve", {"requestId": None}),
    ("POST", "pairing/devices/approve", {"requestId": "x"}),
    ("POST", "pairing/devices/dismiss", {"requestId": "00000000-0000-4000-8000-000000000000"}),
    ("POST", "bootstrap/retry", None),
    ("POST", "gateway/start", None),
    ("GET", "no/such", None),
    ("GET", "gateway/stop", None),
    ("GET", "config/agents", None),
    ("POST", "clawmetry-start-sync", None),
    ("GET", "clawmetry-dashboard-url", None),
    ("POST", "attempts/part", {"town": "t", "attempt": "a"}),
    ("POST", "attempts/part", {"town": "t", "attempt": "a", "offset": 9, "data": "aGk="}),
    ("POST", "attempts/start", {"town": "t"}),
    ("POST", "attempts/start", {**WORK, "branch": "-x"}),
    ("POST", "attempts/start", {**WORK, "base": "main"}),
    ("POST", "attempts/poke", {"town": "t", "attempt": "a", "text": "x"}),
    ("POST", "attempts/output", {"town": "t", "attempt": "a"}),
    ("POST", "attempts/bundle", {"town": "t", "attempt": "a"}),
    ("POST", "attempts/piece", {"town": "t", "attempt": "a", "offset": 0}),
)  # fmt: skip
"""Refused requests, each for one reason."""

RIGHT: Final[tuple[Step, ...]] = (
    ("GET", "health", None),
    ("GET", "version", None),
    ("GET", "gateway/status", None),
    ("GET", "gateway/ready", None),
    ("GET", "gateway/ladder", None),
    ("POST", "gateway/ladder/stop", {"reason": "a person \u2026 said so"}),
    ("POST", "gateway/ladder/stop", b""),
    ("GET", "gateway/ladder", None),
    ("POST", "gateway/ladder/retry", None),
    ("GET", "config/read", None),
    ("POST", "config/patch", {"note": "\u00fc\u2028"}),
    ("POST", "config/patch?force=true", {"note": "\u00fc\u2028"}),
    ("GET", "config/versions", None),
    ("POST", "config/replace", {"config": {"beatS": 1}, "etag": None}),
    ("POST", "config/restore/base?force=false", None),
    ("WAIT", "gateway/status", None),
    ("GET", "config/read", None),
    ("POST", "files/write", {"path": "a.md", "content": "gr\u00fc\u00df\n", "create": True}),
    ("GET", "files/read?path=a.md", None),
    ("GET", "files/tree?depth=1", None),
    ("GET", "files/tree?path=workspace", None),
    ("GET", "pairing/channels", None),
    ("GET", "pairing/channels?refresh=true", None),
    ("GET", "pairing/devices", None),
    ("GET", "doctor/status", None),
    ("POST", "doctor/start", b""),
    ("WAIT", "doctor/status", None),
    ("GET", "doctor/status", None),
    ("GET", "doctor/status?after=3", None),
    ("GET", "proxy/stats", None),
    ("GET", "agent/token", None),
    ("POST", "attempts/state", {"town": "t", "attempt": "a"}),
    ("POST", "attempts/stop", {"town": "t", "agent": "g", "epoch": 2}),
    ("POST", "attempts/drop", {"town": "t", "attempt": "a"}),
    ("POST", "env/patch", {"HOLDFAST_API_KEY": "hfm_new"}),
    ("WAIT", "gateway/status", None),
    ("POST", "gateway/stop?drain_ms=000", None),
    ("GET", "gateway/status", None),
    ("GET", "gateway/ready", None),
    ("POST", "pairing/channels/approve", {"channel": "telegram", "code": "ABCDEFGH"}),
    ("POST", "gateway/restart", None),
    (
        "POST", "credentials/rotate",
        {"gatewayToken": TOKEN, "proxyToken": "b" * 32, "overlapMs": 60_000},
    ),
    (
        "POST", "credentials/rotate",
        {"gatewayToken": "a" * 32, "proxyToken": "b" * 32, "overlapMs": 60_000},
    ),
)  # fmt: skip
"""Accepted requests, in this order."""


async def collect(machine: Machine) -> list[str]:
    """Return the answers, each as a text of its request, status, headers and body."""
    found = [await _ask(machine, "GET", "/health", None)]
    for method, path, body in (*RIGHT[:4], *WRONG_BODIES, *RIGHT[4:]):
        if method == "WAIT":
            await until(partial(_steady, machine, path), f"{path} has settled")
            continue
        prefixes = PREFIXES if method == "GET" else PREFIXES[:1]
        found += [await _ask(machine, method, prefix + path, body) for prefix in prefixes]
    return found


async def _steady(machine: Machine, path: str) -> bool:
    found = (await machine.ask("GET", f"/_kilo/{path}"))[1]
    if path == "doctor/status":
        return bool(found["status"] != "running")
    # The changes of the configuration have restarted the agent, and the last one is in force.
    return bool(found["lastEnd"] and found["ready"] and found["restarts"] == 0)


async def _ask(machine: Machine, method: str, path: str, body: Any) -> str:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    url = f"http://127.0.0.1:{machine.port}{path}"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with machine.session.request(method, url, headers=headers, data=data) as answer:
        said = (await answer.read()).decode()
        kept = {name: answer.headers.get(name) for name in ("Content-Type", "Allow")}
    for pattern, name in _VARYING:
        said = pattern.sub(name, said)
    said = said.replace(str(machine.home), "<home>")
    asked = "" if data is None else data.decode()
    return "\n".join((f"{method} {path} {asked[:120]}", f"{answer.status} {kept}", said))


async def record(home: Path) -> list[str]:
    async with run_machine(home) as machine:
        await machine.opened()
        await machine.ready()
        await until(lambda: _looked(machine), "both lists were read")
        return await collect(machine)


async def _looked(machine: Machine) -> bool:
    for kind in ("channels", "devices"):
        if (await machine.ask("GET", f"/_kilo/pairing/{kind}"))[1]["state"] == "warming":
            return False
    return True


async def test_they_are_what_they_were(tmp_path: Path) -> None:
    found = await record(tmp_path)
    known = json.loads(RECORD.read_text())
    assert len(found) == len(known)
    for now, before in zip(found, known, strict=True):
        assert now == before


def test_every_route_is_asked() -> None:
    asked = {(method, path.partition("?")[0]) for method, path, _ in (*RIGHT, *WRONG_BODIES)}
    missing = [
        f"{row.method} {row.tail}"
        for row in ROUTES
        if not any(
            method == row.method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", row.tail), path)
            for method, path in asked
        )
    ]
    assert not missing


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        answers = asyncio.run(record(Path(folder)))
    RECORD.write_text(json.dumps(answers, indent=1) + "\n")
    sys.stdout.write(f"{len(answers)} answers\n")
