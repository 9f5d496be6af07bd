"""Fly's Machines API over HTTP: the world of the simulated cloud behind a socket, which lies.

Every request and every answer is held against the description (fly_description.py); what is wrong
is in `wrong`, which tests assert to be empty. Faults are those of the simulated cloud: an answer
lost after the call was executed, a call executed twice or late, refusals, an hour of 5xx.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from holdfast.kernel.clock import Clock
from holdfast.wire.times import time_text
from holdfast.world.clouds.faults import Call, Faults, no_faults
from holdfast.world.clouds.port import (
    LABEL_EPOCH,
    LABEL_INSTANCE,
    LABEL_SANDBOX,
    Machine,
    MachineSpec,
    Size,
    Volume,
    VolumeSpec,
)
from holdfast.world.clouds.rates import Buckets
from holdfast.world.clouds.simulated_world import RefusedError, Timing, World
from tests.support.fly_description import OPERATIONS, Operation, faults, request_faults

TOKEN: Final = "fm2_of-the-plane-and-nobody-else"
ORG: Final = "acme"
FAST: Final = Timing(listing_lag_ms=500)

Answer = tuple[int, Any]
Handle = Callable[[web.Request, Any], Awaitable[Answer]]


@dataclass
class FakeApp:
    """An app: its organisation, secrets with their version, and the sandboxes with machines."""

    org: str
    addresses: set[str] = field(default_factory=set)
    secrets: dict[str, str] = field(default_factory=dict)
    version: int = 0
    sandboxes: set[str] = field(default_factory=set)
    volumes: list[str] = field(default_factory=list)


class FakeFly:
    """The server.

    `faults` may be replaced at any time; machines in `hosts_gone` are stuck. `spans` are when
    requests of each app were here, by the steady clock.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
        timing: Timing = FAST,
        faults: Faults = no_faults,
    ) -> None:
        self.world = World(now_ms=clock.now_ms, chance=random.Random(1), timing=timing)
        self.apps: dict[str, FakeApp] = {}
        self.faults = faults
        self.wrong: list[str] = []
        self.asked: Counter[str] = Counter()
        self.answered: Counter[int] = Counter()
        self.spans: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        self.hosts_gone: set[str] = set()
        self.is_checking = True
        self.base = ""
        self._clock, self._sleep = clock, sleep
        self._app_of: dict[str, str] = {}
        self._configs: dict[str, Any] = {}
        self._events: dict[str, list[dict[str, Any]]] = {}
        self._states: dict[str, str] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._buckets = {
            "GET": Buckets(per_s=5.0, burst=10),
            "POST": Buckets(per_s=1.0, burst=3),
            "DELETE": Buckets(per_s=1.0, burst=3),
        }
        self.world.on_change = self._changed

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application(client_max_size=1 << 24)
        handles: Mapping[tuple[str, str], Handle] = {
            ("GET", "/apps"): self._apps,
            ("POST", "/apps"): self._create_app,
            ("GET", "/apps/{app_name}"): self._app,
            ("POST", "/apps/{app_name}/ip_assignments"): self._assign,
            ("POST", "/apps/{app_name}/secrets/{name}"): self._secret,
            ("GET", "/apps/{app_name}/machines"): self._machines,
            ("POST", "/apps/{app_name}/machines"): self._create,
            ("GET", "/apps/{app_name}/machines/{machine_id}"): self._machine,
            ("POST", "/apps/{app_name}/machines/{machine_id}"): self._update,
            ("DELETE", "/apps/{app_name}/machines/{machine_id}"): self._delete,
            ("POST", "/apps/{app_name}/machines/{machine_id}/start"): self._start,
            ("POST", "/apps/{app_name}/machines/{machine_id}/stop"): self._stop,
            ("GET", "/apps/{app_name}/machines/{machine_id}/wait"): self._wait,
            ("POST", "/apps/{app_name}/machines/{machine_id}/exec"): self._exec,
            ("GET", "/apps/{app_name}/volumes"): self._volumes,
            ("POST", "/apps/{app_name}/volumes"): self._create_volume,
            ("GET", "/apps/{app_name}/volumes/{volume_id}"): self._volume,
            ("DELETE", "/apps/{app_name}/volumes/{volume_id}"): self._delete_volume,
        }
        assert handles.keys() == OPERATIONS.keys()
        for (method, path), handle in handles.items():
            app.router.add_route(method, f"/v1{path}", self._served(path, handle))
        runner = web.AppRunner(app, access_log=None, handler_cancellation=False)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1_024)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.base = f"http://{host}:{port}/v1"
            yield
        finally:
            for task in self._late:
                task.cancel()
            await runner.cleanup()

    @property
    def configs(self) -> list[Any]:
        """Return the configurations of all machines, as they were sent last."""
        return list(self._configs.values())

    # ------------------------------------------------------------------- every request

    def _served(self, path: str, handle: Handle) -> Callable[[web.Request], Awaitable[Any]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            began_ms = self._clock.steady_ms()
            line = f"{request.method} {path}"
            operation = OPERATIONS[request.method, path]
            self.asked[line] += 1
            raw = await request.read()
            body = json.loads(raw) if raw else None
            if self.is_checking:
                found = request_faults(operation, request.query, body)
                self.wrong += [f"{line}: {one}" for one in found]
            status, answer = await self._judged(request, line, lambda: handle(request, body))
            self.answered[status] += 1
            if status == 0:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            self._check(line, operation, status, answer)
            app = request.match_info.get("app_name") or (body or {}).get("app_name", "")
            self.spans[app].append((began_ms, self._clock.steady_ms()))
            headers = {"Retry-After": "1"} if status == 429 else {}
            if answer is None:
                return web.Response(status=status, headers=headers)
            return web.json_response(answer, status=status, headers=headers)

        return serve

    def _check(self, line: str, operation: Operation, status: int, answer: Any) -> None:
        kind = operation.answer if status < 300 else "ErrorResponse"
        if self.is_checking and answer is not None and kind:
            self.wrong += [f"{line} answered: {one}" for one in faults(answer, kind)]

    async def _judged(
        self, request: web.Request, line: str, do: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Refuse, lie, or carry out; the status 0 means that the connection breaks."""
        if request.headers.get("Authorization") != f"FlyV1 {TOKEN}":
            return 401, {"error": "unauthorized"}
        names = request.match_info
        target = names.get("machine_id") or names.get("volume_id") or names.get("app_name", "")
        call = Call(verb=line, target=target, number=self.asked[line], now_ms=self._clock.now_ms())
        if target and self._buckets[request.method].take(f"{line} {target}", now_ms=call.now_ms):
            return 429, {"error": "rate limit exceeded"}
        await self._sleep(self.world.timing.call_ms / 2)
        fault = self.faults(call)
        kind = fault.kind if fault is not None else None
        if fault is not None and kind == "refuse":
            return fault.status, {"error": fault.body or "bad gateway"}
        if fault is not None and kind == "late":
            self._put_off(fault.delay_ms, do)
            return 0, None
        if fault is not None and kind == "delay":
            await self._sleep(fault.delay_ms)
        if kind == "repeat":
            await self._carried_out(do)
        answer = await self._carried_out(do)
        await self._sleep(self.world.timing.call_ms / 2)
        return (0, None) if kind == "lose_reply" else answer

    @staticmethod
    async def _carried_out(do: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await do()
        except RefusedError as refusal:
            return refusal.status, json.loads(refusal.body)

    def _put_off(self, delay_ms: int, do: Callable[[], Awaitable[Answer]]) -> None:
        async def later() -> None:
            await self._sleep(delay_ms)
            await self._carried_out(do)

        task = asyncio.create_task(later())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    # ------------------------------------------------------------------------------ apps

    async def _apps(self, request: web.Request, _body: Any) -> Answer:
        org = request.query["org_slug"]
        if org != ORG:
            return 404, {"error": "organization not found"}
        names = [name for name, app in self.apps.items() if app.org == org]
        return 200, {"apps": [{"name": one} for one in names], "total_apps": len(names)}

    async def _create_app(self, _request: web.Request, body: Any) -> Answer:
        if body["org_slug"] != ORG:
            return 403, {"error": "not authorized for this organization"}
        if body["app_name"] in self.apps:
            return 422, {"error": "Validation failed: Name has already been taken"}
        self.apps[body["app_name"]] = FakeApp(ORG)
        return 201, None

    async def _app(self, request: web.Request, _body: Any) -> Answer:
        app = self._app_named(request)
        return 200, {
            "name": request.match_info["app_name"],
            "organization": {"slug": app.org},
            "status": "deployed",
        }

    async def _assign(self, request: web.Request, body: Any) -> Answer:
        addresses = self._app_named(request).addresses
        if body["type"] in addresses:
            return 422, {"error": "an address of this type is assigned already"}
        addresses.add(body["type"])
        return 200, None

    async def _secret(self, request: web.Request, body: Any) -> Answer:
        app = self._app_named(request)
        app.version += 1
        app.secrets[request.match_info["name"]] = body["value"]
        return 200, {"name": request.match_info["name"], "version": app.version}

    def _app_named(self, request: web.Request) -> FakeApp:
        app = self.apps.get(request.match_info["app_name"])
        if app is None or app.org != ORG:  # an app of others is as if it did not exist
            raise RefusedError(404, '{"error":"Could not find App"}')
        return app

    # -------------------------------------------------------------------------- machines

    async def _machines(self, request: web.Request, _body: Any) -> Answer:
        wanted = {
            name.removeprefix("metadata."): value
            for name, value in request.query.items()
            if name.startswith("metadata.")
        }
        found = [
            self._shown(machine)
            for sandbox in sorted(self._app_named(request).sandboxes)
            for machine in self.world.listed({LABEL_SANDBOX: sandbox})
            if self._app_of[machine.id] == request.match_info["app_name"]
        ]
        return 200, [one for one in found if wanted.items() <= one["config"]["metadata"].items()]

    async def _create(self, request: web.Request, body: Any) -> Answer:
        app, name = self._app_named(request), request.match_info["app_name"]
        self._check_version(app, body)
        spec = self._spec(body["name"], body.get("region", "ams"), body["config"])
        self._check_mount(name, spec)
        row = self.world.create(spec)
        app.sandboxes.add(spec.sandbox_id)
        self._app_of[row.id] = name
        self._configs[row.id] = body["config"]
        return 200, self._shown(row.machine())

    async def _machine(self, request: web.Request, _body: Any) -> Answer:
        return 200, self._shown(self.world.row(self._machine_id(request)).machine())

    async def _update(self, request: web.Request, body: Any) -> Answer:
        machine_id = self._movable(request)
        self._check_version(self._app_named(request), body)
        row = self.world.row(machine_id)
        spec = self._spec(row.spec.name, row.spec.region, body["config"])
        self._check_mount(request.match_info["app_name"], spec)
        change = self.world.store if body.get("skip_launch") else self.world.update
        row = change(machine_id, spec)
        self._configs[machine_id] = body["config"]
        return 200, self._shown(row.machine())

    async def _delete(self, request: web.Request, _body: Any) -> Answer:
        self.world.destroy(self._machine_id(request))
        return 200, None

    async def _start(self, request: web.Request, _body: Any) -> Answer:
        machine_id = self._movable(request)
        before = self.world.row(machine_id).state
        if before in {"started", "starting"}:
            text = f"failed_precondition: unable to start machine from current state: '{before}'"
            return 412, {"error": text}
        self.world.start(machine_id)
        return 200, {"previous_state": before}

    async def _stop(self, request: web.Request, _body: Any) -> Answer:
        self.world.stop(self._machine_id(request))
        return 200, {"ok": True}

    async def _wait(self, request: web.Request, _body: Any) -> Answer:
        machine_id, query = self._machine_id(request), request.query
        if query["state"] == "stopped" and not query.get("instance_id"):
            return 400, {"error": "invalid_argument: waiting for stopped needs instance_id"}
        until_ms = self._clock.steady_ms() + int(query["timeout"]) * 1_000
        while True:
            row = self.world.row(machine_id)
            if query.get("instance_id") and row.machine().incarnation != query["instance_id"]:
                return 400, {"error": "invalid_argument: the machine has another instance_id"}
            if row.state == query["state"]:
                return 200, {"ok": True}
            now_ms = self._clock.steady_ms()
            if now_ms >= until_ms:
                return 408, {"error": f"deadline_exceeded: machine is {row.state}"}
            left_ms = row.due_at_ms - self._clock.now_ms() if row.due_state else 200
            await self._sleep(max(5, min(left_ms, until_ms - now_ms, 200)))

    async def _exec(self, request: web.Request, body: Any) -> Answer:
        machine = self.world.row(self._movable(request)).machine()
        if machine.state != "started":
            return 412, {"error": "failed_precondition: machine not running"}
        return 200, {"exit_code": 0, "stdout": " ".join(body["command"]), "stderr": ""}

    def _machine_id(self, request: web.Request) -> str:
        self._app_named(request)
        machine_id = request.match_info["machine_id"]
        if self._app_of.get(machine_id) != request.match_info["app_name"]:
            raise RefusedError(404, '{"error":"machine not found"}')
        return machine_id

    def _movable(self, request: web.Request) -> str:
        """Return the id of a machine whose host is there."""
        machine_id = self._machine_id(request)
        if machine_id in self.hosts_gone:
            raise RefusedError(503, '{"error":"unavailable: the host cannot be reached"}')
        return machine_id

    @staticmethod
    def _check_version(app: FakeApp, body: Any) -> None:
        if body.get("min_secrets_version", 0) > app.version:
            raise RefusedError(400, '{"error":"invalid_argument: no such version of secrets"}')

    def _check_mount(self, app: str, spec: MachineSpec) -> None:
        """Refuse a volume of another app, as if it did not exist."""
        if spec.volume_id is not None and self._app_of.get(spec.volume_id) != app:
            raise RefusedError(400, '{"error":"invalid_argument: volume does not exist"}')

    @staticmethod
    def _spec(name: str, region: str, config: Any) -> MachineSpec:
        labels, mounts = config.get("metadata", {}), config.get("mounts", [])
        epoch = labels.get(LABEL_EPOCH, "0")
        return MachineSpec(
            name=name,
            instance_id=labels.get(LABEL_INSTANCE, ""),
            sandbox_id=labels.get(LABEL_SANDBOX, ""),
            account_id="",
            epoch=int(epoch),
            region=region,
            size=Size(**config["guest"]),
            labels=labels,
            volume_id=mounts[0]["volume"] if mounts else None,
        )

    def _changed(self, machine: Machine) -> None:
        """Note an event of a machine, as its listing has them."""
        if self._states.get(machine.id) == machine.state:
            return
        self._states[machine.id] = machine.state
        event: dict[str, Any] = {
            "type": "exit" if machine.state in {"stopped", "failed"} else "update",
            "status": machine.state,
            "source": "flyd",
            "timestamp": machine.updated_at_ms,
        }
        if event["type"] == "exit":
            event["request"] = {"exit_event": {"exit_code": machine.exit_code or 0}}
        self._events.setdefault(machine.id, []).append(event)

    def _shown(self, machine: Machine) -> dict[str, Any]:
        return {
            "id": machine.id,
            "name": machine.name,
            "state": machine.state,
            "region": machine.region,
            "instance_id": machine.incarnation,
            "config": self._configs[machine.id],
            "created_at": time_text(machine.created_at_ms),
            "updated_at": time_text(machine.updated_at_ms),
            "events": self._events.get(machine.id, [])[-20:],
        }

    # --------------------------------------------------------------------------- volumes

    async def _volumes(self, request: web.Request, _body: Any) -> Answer:
        seen_ms = self._clock.now_ms() - self.world.timing.listing_lag_ms
        found = [self._volume_if_any(one) for one in self._app_named(request).volumes]
        return 200, [
            _volume_shown(one) for one in found if one is not None and one.created_at_ms <= seen_ms
        ]

    def _volume_if_any(self, volume_id: str) -> Volume | None:
        try:
            return self.world.volume(volume_id)
        except RefusedError:
            return None

    async def _create_volume(self, request: web.Request, body: Any) -> Answer:
        app = self._app_named(request)
        made = self.world.create_volume(
            VolumeSpec(
                name=body["name"],
                region=body.get("region", "ams"),
                size_gb=body.get("size_gb", 1),
                source_volume_id=body.get("source_volume_id"),
            )
        )
        self._app_of[made.id] = request.match_info["app_name"]
        app.volumes.append(made.id)
        return 200, _volume_shown(made)

    async def _volume(self, request: web.Request, _body: Any) -> Answer:
        return 200, _volume_shown(self.world.volume(self._volume_id(request)))

    async def _delete_volume(self, request: web.Request, _body: Any) -> Answer:
        found = self.world.volume(self._volume_id(request))
        self.world.destroy_volume(found.id)
        return 200, _volume_shown(found)

    def _volume_id(self, request: web.Request) -> str:
        self._app_named(request)
        volume_id = request.match_info["volume_id"]
        if self._app_of.get(volume_id) != request.match_info["app_name"]:
            raise RefusedError(404, '{"error":"volume not found"}')
        return volume_id


def _volume_shown(volume: Volume) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": volume.id,
        "name": volume.name,
        "state": volume.state,
        "region": volume.region,
        "size_gb": volume.size_gb,
        "created_at": time_text(volume.created_at_ms),
    }
    if volume.attached_machine_id is not None:
        shown["attached_machine_id"] = volume.attached_machine_id
    return shown
