"""Machines, check-ins and ears for the tests of telemetry."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.kernel.log import NoLog
from holdfast.letters.machine import MachineFacts
from holdfast.telemetry.contact import Report
from holdfast.wire.controller.checkin import CheckIn, CommandOutcome
from holdfast.wire.controller.identity import gateway_token, key_hash

SECRET = "the plane's own secret"
KEY = "hfm_the-key-of-the-machine"
NOW_MS = 1_760_000_000_000

CONTRACT: dict[str, Any] = {
    "sandboxId": f"ki_{1:032x}",
    "machineId": "m1",
    "controllerVersion": "1.0.0",
    "controllerCommit": "abc",
    "supervisorState": "running",
    "openclawVersion": "2026.9.6",
    "openclawCommit": None,
    "totalRestarts": 3,
    "restartsSinceLastCheckin": 1,
    "uptimeSeconds": 12.5,
    "loadAvg5m": 0.25,
    "bandwidthBytesIn": 100,
    "bandwidthBytesOut": 50,
    "lastExitReason": "code:1",
}
OURS: dict[str, Any] = {
    **CONTRACT,
    "protocol": 1,
    "bootId": "boot-1",
    "sequence": 1,
    "bytesInTotal": 1_000,
    "bytesOutTotal": 500,
    "crashesTotal": 2,
    "intervalMs": 60_000,
}


def facts(number: int = 1, **more: Any) -> MachineFacts:
    made = MachineFacts(
        sandbox=f"ki_{number:032x}",
        instance=f"instance-{number}",
        account="ann",
        api_key_hash=key_hash(KEY),
        machine_id=f"m{number}",
        region="fra",
        token_version=0,
        live_token_version=0,
        expected=True,
        revision=1,
    )
    return msgspec.structs.replace(made, **more)


def headers(known: MachineFacts, key: str = KEY, **more: str) -> dict[str, str]:
    token = gateway_token(SECRET, known.sandbox, version=known.token_version)
    return {"authorization": f"Bearer {key}", "x-kiloclaw-gateway-token": token, **more}


def body(form: dict[str, Any] = OURS, **more: Any) -> bytes:
    return msgspec.json.encode({**form, **more})


def checkin(form: dict[str, Any] = OURS, **more: Any) -> CheckIn:
    return msgspec.json.decode(body(form, **more), type=CheckIn)


class Ear:
    """Receives transitions; raises while `deaf`, and records but never returns while `silent`."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.keys: list[str] = []
        self.known: set[tuple[str, str]] = set()
        self.deaf = self.silent = False
        self.refused = 0

    def _take(self, dedupe: str, *news: Any) -> None:
        if self.deaf:
            self.refused += 1
            raise OSError("deaf")
        if (news[1], dedupe) not in self.known:
            self.known.add((news[1], dedupe))
            self.keys.append(dedupe)
            self.heard.append(news)
        if self.silent:
            self.refused += 1
            raise TimeoutError("no answer")

    async def contact_lost(
        self, instance: str, *, level: int, epoch: int, since_ms: int, at_ms: int, dedupe: str
    ) -> None:
        self._take(dedupe, "lost", instance, level, since_ms)

    async def contact_regained(self, instance: str, *, epoch: int, at_ms: int, dedupe: str) -> None:
        self._take(dedupe, "regained", instance)

    async def reported(
        self, instance: str, report: Report, *, changed: frozenset[str], at_ms: int, dedupe: str
    ) -> None:
        self._take(dedupe, "reported", instance, report, changed)

    async def commands_done(
        self, instance: str, outcomes: tuple[CommandOutcome, ...], *, at_ms: int, dedupe: str
    ) -> None:
        self._take(dedupe, "done", instance, tuple(outcome.id for outcome in outcomes))

    def told(self, kind: str) -> list[tuple[Any, ...]]:
        return [news for news in self.heard if news[0] == kind]


class Quiet(NoLog):
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.lines.append((event, fields))
