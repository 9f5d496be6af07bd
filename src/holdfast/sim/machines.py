"""The controllers of a simulation: one in every started machine of the simulated cloud.

Each runs in virtual time. It decrypts its sealed environment as the real one does, checks in
through the plane's real handler, holds the real long poll, restarts its agent sometimes, and can be
silenced or cut off. All its information comes from the plane.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import structs

from holdfast.machine.controller.sealed_settings import decrypt_settings
from holdfast.sim.plane import DownError
from holdfast.wire.api.call import Call, Principal, Refusal, Reply
from holdfast.wire.controller.checkin import PROTOCOL, CheckIn, Recovery
from holdfast.wire.controller.directive import Directive
from holdfast.world.clouds.port import Machine, MachineSpec

ENC: Final = "HOLDFAST_ENC_"
ENV_KEY: Final = "HOLDFAST_ENV_KEY"
RESTART_EVERY_S: Final = 240.0
POLL_PAUSE_S: Final = 5.0
RUNGS: Final = ("restart", "restart", "last_healthy_config", "reinstall", "parked")
"""What a restart may lead to; most need nothing more."""

MACHINE: Final = Principal("machine", "machine", None, "machine")
Send = Callable[[str, Call], Awaitable[Reply]]
"""Sends a call of a named endpoint to a running plane; raises DownError or Refusal."""


class Controller:
    """The controller of one incarnation of a machine."""

    def __init__(
        self, machine: Machine, spec: MachineSpec, *, key: bytes, send: Send, chance: random.Random
    ) -> None:
        """Read the environment; nothing is sent yet."""
        env_key = base64.b64encode(key).decode()
        sealed = {ENC + name: value for name, value in spec.sealed.items()}
        opened = decrypt_settings(sealed | {ENV_KEY: env_key})
        env = spec.env
        self.machine = machine
        self.sandbox = env["HOLDFAST_SANDBOX_ID"]
        self.instance = env["HOLDFAST_INSTANCE_ID"]
        self.epoch = int(env["HOLDFAST_MACHINE_EPOCH"])
        self.boot_id = f"{machine.incarnation}-{chance.randrange(1 << 32):08x}"
        self.silent = False
        self.sequence = 0
        self.restarts = 0
        self.recovery = Recovery()
        self.known = False
        self._first_s = int(env["HOLDFAST_CHECKIN_FIRST_MS"]) / 1_000
        self._interval_ms = int(env["HOLDFAST_CHECKIN_INTERVAL_MS"])
        self._revision = 0
        self._ladder_turn = 0
        self._send = send
        self._chance = chance
        self.calm = False
        self._header = {
            "authorization": f"Bearer {opened['HOLDFAST_API_KEY']}",
            "x-holdfast-gateway-token": opened["HOLDFAST_GATEWAY_TOKEN"],
        }

    def take_secrets(self, *, api_key: str, gateway_token: str) -> None:
        """Use a new key and a new token, if not empty, from the next call on."""
        if api_key:
            self._header["authorization"] = f"Bearer {api_key}"
        if gateway_token:
            self._header["x-holdfast-gateway-token"] = gateway_token

    async def check_in(self) -> None:
        """Check in on the cadence, and soon after a restart of the agent."""
        wait_s = self._first_s
        restart_s = self._chance.random() * RESTART_EVERY_S
        while True:
            await asyncio.sleep(min(wait_s, restart_s))
            if restart_s <= wait_s:
                self._restart()
                restart_s = RESTART_EVERY_S * (1 + self._chance.random())
            else:
                restart_s -= wait_s
            await self._send_checkin()
            wait_s = self._interval_ms / 1_000 * (0.9 + 0.2 * self._chance.random())

    def _restart(self) -> None:
        """Restart the agent, sometimes with a further rung."""
        if self.calm:
            return
        self.restarts += 1
        if not self.recovery.held:
            rung = self._chance.choice(RUNGS)
            reason = "" if rung == "restart" else "exit code 1"
            self.recovery = structs.replace(self.recovery, rung=rung, reason=reason)

    async def listen(self) -> None:
        """Hold the long poll for ever."""
        while True:
            if self.silent or not await self._poll():
                await asyncio.sleep(POLL_PAUSE_S)

    async def _poll(self) -> bool:
        """Poll once; return whether the plane answered."""
        query = {"sandbox": self.sandbox, "revision": str(self._revision), "wait_s": "25"}
        call = Call("controller.wake", MACHINE, query=query, header=self._header)
        try:
            reply = await self._send("wake", call)
        except (DownError, Refusal):
            return False
        self._take(reply.body)
        return True

    async def _send_checkin(self) -> None:
        """Send one check-in, unless this machine is cut off."""
        self.sequence += 1
        if self.silent:
            return
        call = Call("controller.checkin", MACHINE, header=self._header, body=self._report())
        try:
            reply = await self._send("checkin", call)
        except DownError:
            return
        except Refusal:
            self.known = False
            return
        self.known = True
        self._take(reply.body)

    def _take(self, directive: Directive | None) -> None:
        """Apply a directive; one older than the last is ignored."""
        if directive is not None and directive.revision >= self._revision:
            self._revision = directive.revision
            self._interval_ms = directive.checkin_interval_ms or self._interval_ms
            if directive.ladder_turn > self._ladder_turn:
                self.recovery = Recovery()
            self._ladder_turn = directive.ladder_turn
            held = directive.ladder == "held"
            self.recovery = structs.replace(self.recovery, held=held)

    def _report(self) -> CheckIn:
        return CheckIn(
            sandbox_id=self.sandbox,
            controller_version="1.0.0",
            controller_commit="simulated",
            supervisor_state="running",
            openclaw_version=None,
            openclaw_commit=None,
            total_restarts=self.restarts,
            restarts_since_last_checkin=0,
            uptime_seconds=self.sequence,
            load_avg_5m=0.1,
            bandwidth_bytes_in=0,
            bandwidth_bytes_out=0,
            machine_id=self.machine.id,
            protocol=PROTOCOL,
            boot_id=self.boot_id,
            sequence=self.sequence,
            epoch=self.epoch,
            agent_ready=True,
            agent_kind="demo",
            interval_ms=self._interval_ms,
            recovery=self.recovery,
        )


class Machines:
    """The controllers of all machines that are started now, by machine id."""

    def __init__(
        self,
        *,
        send: Send,
        chance: random.Random,
        key_of: Callable[[str], bytes],
        spawn: Callable[..., asyncio.Task[None]],
        wakes: bool,
    ) -> None:
        """`wakes` sets whether controllers hold the long poll."""
        self.running: dict[str, Controller] = {}
        self.controller: type[Controller] = Controller
        self.calm = True
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._send = send
        self._chance = chance
        self._key_of = key_of
        self._spawn = spawn
        self._wakes = wakes

    def moved(self, machine: Machine, spec: MachineSpec) -> None:
        """Apply a change of a machine's true state."""
        known = self.running.get(machine.id)
        if machine.state == "started":
            if known is None or known.machine.incarnation != machine.incarnation:
                self._end(machine.id)
                self._begin(machine, spec)
        elif known is not None:
            self._end(machine.id)

    def forget(self, machine_id: str) -> None:
        """End what ran in a machine that is gone."""
        self._end(machine_id)

    def set_calm(self, calm: bool) -> None:  # noqa: FBT001  a state, not a way of doing something
        """Set whether agents keep running, or restart sometimes."""
        self.calm = calm
        for controller in self.running.values():
            controller.calm = calm
            controller.silent = controller.silent and not calm
            controller.known = False

    def reboot(self, machine_id: str, spec: MachineSpec) -> None:
        """Restart a machine's controller in place: another boot, counters from zero."""
        known = self.running.get(machine_id)
        if known is not None:
            self._end(machine_id)
            self._begin(known.machine, spec)

    def _begin(self, machine: Machine, spec: MachineSpec) -> None:
        controller = self.controller(
            machine,
            spec,
            key=self._key_of(spec.instance_id),
            send=self._send,
            chance=random.Random(self._chance.random()),  # noqa: S311  repeatable on purpose
        )
        controller.calm = self.calm
        self.running[machine.id] = controller
        tasks = [self._spawn(controller.check_in())]
        if self._wakes:
            tasks.append(self._spawn(controller.listen()))
        self._tasks[machine.id] = tasks

    def _end(self, machine_id: str) -> None:
        self.running.pop(machine_id, None)
        for task in self._tasks.pop(machine_id, ()):
            task.cancel()
