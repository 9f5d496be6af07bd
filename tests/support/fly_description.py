"""The part of Fly's Machines API that is used, described in our own words, and checks against it.

A type is `string`, `integer`, `boolean`, `object` (anything), the name of a schema, `[x]` for a
list of x, `{x}` for a map to x, `a|b` for one of these texts; `!` behind it says that it must be
there.
`FACTS` are what the provider does and its published description (of January 2024) does not say;
where HOLDFAST_FLY_OPENAPI names that file, a test holds everything else against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

Schema = Mapping[str, str]

SCHEMAS: Final[Mapping[str, Schema]] = {
    "CreateAppRequest": {"app_name": "string!", "org_slug": "string!", "network": "string"},
    "App": {"id": "string", "name": "string!", "organization": "Organization", "status": "string"},
    "Organization": {"name": "string", "slug": "string!"},
    "ListAppsResponse": {"apps": "[ListApp]", "total_apps": "integer"},
    "ListApp": {
        "id": "string", "name": "string!", "machine_count": "integer", "network": "object",
    },
    "ErrorResponse": {"error": "string!", "details": "object"},
    "CreateMachineRequest": {
        "name": "string!", "region": "string", "config": "api.MachineConfig!",
        "skip_launch": "boolean", "min_secrets_version": "integer",
    },
    "UpdateMachineRequest": {
        "name": "string", "region": "string", "config": "api.MachineConfig!",
        "skip_launch": "boolean", "min_secrets_version": "integer",
    },
    "api.MachineConfig": {
        "image": "string!", "env": "{string}", "guest": "api.MachineGuest!",
        "metadata": "{string}", "services": "[api.MachineService]", "checks": "{api.MachineCheck}",
        "restart": "api.MachineRestart", "mounts": "[api.MachineMount]",
    },
    "api.MachineGuest": {"cpu_kind": "string!", "cpus": "integer!", "memory_mb": "integer!"},
    "api.MachineMount": {"volume": "string!", "path": "string!"},
    "api.MachineService": {
        "protocol": "string!", "internal_port": "integer!", "ports": "[api.MachinePort]",
        "autostart": "boolean", "autostop": "boolean",
    },
    "api.MachinePort": {"port": "integer!", "handlers": "[string]"},
    "api.MachineCheck": {
        "type": "string!", "port": "integer!", "method": "string", "path": "string",
        "interval": "string", "timeout": "string", "grace_period": "string",
    },
    "api.MachineRestart": {"policy": "no|always|on-failure!", "max_retries": "integer"},
    "Machine": {
        "id": "string!", "name": "string!", "state": "string!", "region": "string!",
        "instance_id": "string!", "config": "api.MachineConfig!", "created_at": "string!",
        "updated_at": "string!", "events": "[MachineEvent]",
    },
    "MachineEvent": {
        "id": "string", "type": "string!", "status": "string", "source": "string",
        "timestamp": "integer!", "request": "object",
    },
    "StopRequest": {"signal": "string", "timeout": "string"},
    "MachineExecRequest": {"command": "[string]!", "timeout": "integer"},
    "CreateVolumeRequest": {
        "name": "string!", "region": "string", "size_gb": "integer",
        "compute": "api.MachineGuest", "source_volume_id": "string",
    },
    "Volume": {
        "id": "string!", "name": "string!", "state": "string!", "region": "string!",
        "size_gb": "integer!", "attached_machine_id": "string", "created_at": "string!",
    },
    # What the description has not.
    "SetSecret": {"value": "string!"},
    "Secret": {"name": "string", "version": "integer!"},
    "AssignIp": {"type": "v6|shared_v4!"},
    "Executed": {
        "exit_code": "integer!", "exit_signal": "integer", "stdout": "string", "stderr": "string",
    },
    "Acknowledged": {"ok": "boolean", "previous_state": "string"},
}  # fmt: skip


class Operation(NamedTuple):
    """A request: its query, its body, and the body of a good answer; empty for none."""

    query: tuple[str, ...] = ()
    body: str = ""
    answer: str = ""
    is_optional: bool = False


OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("GET", "/apps"): Operation(("org_slug",), answer="ListAppsResponse"),
    ("POST", "/apps"): Operation(body="CreateAppRequest"),
    ("GET", "/apps/{app_name}"): Operation(answer="App"),
    ("POST", "/apps/{app_name}/ip_assignments"): Operation(body="AssignIp"),
    ("POST", "/apps/{app_name}/secrets/{name}"): Operation(body="SetSecret", answer="Secret"),
    ("GET", "/apps/{app_name}/machines"): Operation(("metadata.",), answer="[Machine]"),
    ("POST", "/apps/{app_name}/machines"): Operation(body="CreateMachineRequest", answer="Machine"),
    ("GET", "/apps/{app_name}/machines/{machine_id}"): Operation(answer="Machine"),
    ("POST", "/apps/{app_name}/machines/{machine_id}"): Operation(
        body="UpdateMachineRequest", answer="Machine"
    ),
    ("DELETE", "/apps/{app_name}/machines/{machine_id}"): Operation(("force",)),
    ("POST", "/apps/{app_name}/machines/{machine_id}/start"): Operation(answer="Acknowledged"),
    ("POST", "/apps/{app_name}/machines/{machine_id}/stop"): Operation(
        body="StopRequest", answer="Acknowledged", is_optional=True
    ),
    ("GET", "/apps/{app_name}/machines/{machine_id}/wait"): Operation(
        ("state", "timeout", "instance_id"), answer="Acknowledged"
    ),
    ("POST", "/apps/{app_name}/machines/{machine_id}/exec"): Operation(
        body="MachineExecRequest", answer="Executed"
    ),
    ("GET", "/apps/{app_name}/volumes"): Operation(answer="[Volume]"),
    ("POST", "/apps/{app_name}/volumes"): Operation(body="CreateVolumeRequest", answer="Volume"),
    ("GET", "/apps/{app_name}/volumes/{volume_id}"): Operation(answer="Volume"),
    ("DELETE", "/apps/{app_name}/volumes/{volume_id}"): Operation(answer="Volume"),
}

FACTS: Final[frozenset[str]] = frozenset(
    {
        "SetSecret", "Secret", "AssignIp", "Executed", "Acknowledged",
        "CreateMachineRequest.min_secrets_version",
        "UpdateMachineRequest.min_secrets_version",
        "POST /apps/{app_name}/ip_assignments",
        "POST /apps/{app_name}/secrets/{name}",
        "POST /apps/{app_name}/machines/{machine_id}/start answer",
        "POST /apps/{app_name}/machines/{machine_id}/stop answer",
        "GET /apps/{app_name}/machines/{machine_id}/wait answer",
        "POST /apps/{app_name}/machines/{machine_id}/exec answer",
        "GET /apps/{app_name}/machines ?metadata.",
        "DELETE /apps/{app_name}/machines/{machine_id} ?force",
    }
)  # fmt: skip
"""What the description does not say, or says otherwise than the provider does."""

_PLAIN: Final = {"string": str, "integer": int, "boolean": bool}
_TYPE: Final = re.compile(r"[\[{](?P<inner>.+)[\]}]")


def faults(value: Any, kind: str, where: str = "body") -> Iterator[str]:
    """Yield what of a value is not of a type of the description."""
    found = _TYPE.fullmatch(kind)
    if found is not None:
        if not isinstance(value, list if kind.startswith("[") else dict):
            yield f"{where}: want {kind}, not {type(value).__name__}"
            return
        items: dict[Any, Any] = dict(enumerate(value)) if isinstance(value, list) else value
        for key, item in items.items():
            yield from faults(item, found["inner"], f"{where}.{key}")
    elif kind in SCHEMAS:
        yield from _object_faults(value, kind, where)
    elif "|" in kind:
        if value not in kind.split("|"):
            yield f"{where}: {value!r} is none of {kind}"
    elif kind != "object":
        is_number = kind == "integer" and isinstance(value, bool)
        if is_number or not isinstance(value, _PLAIN[kind]):
            yield f"{where}: want {kind}, not {type(value).__name__}"


def _object_faults(value: Any, kind: str, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: want {kind}, not {type(value).__name__}"
        return
    schema = SCHEMAS[kind]
    for name in value.keys() - schema.keys():
        yield f"{where}: {kind} has no field {name}"
    for name, declared in schema.items():
        if name in value:
            yield from faults(value[name], declared.rstrip("!"), f"{where}.{name}")
        elif declared.endswith("!"):
            yield f"{where}: {kind} lacks {name}"


def request_faults(
    operation: Operation, query: Mapping[str, str], body: Any | None
) -> Iterator[str]:
    """Yield what of a request is not as described; `body` is decoded JSON or None."""
    for name in query:
        if not any(
            name == one or (one[-1] == "." and name.startswith(one)) for one in operation.query
        ):
            yield f"query: {name} is not described"
    if body is None:
        if operation.body and not operation.is_optional:
            yield f"body: want {operation.body}, there is none"
    elif not operation.body:
        yield "body: none is described"
    else:
        yield from faults(body, operation.body)


def differences(described: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the part above and a published description differ, FACTS apart.

    A fact that the description says as well is one too many, and a difference too.
    """
    published = described["components"]["schemas"]
    for kind, schema in SCHEMAS.items():
        if kind not in published:
            yield from _unless_fact(kind, "is not described")
            continue
        properties = published[kind]["properties"]
        for name, declared in schema.items():
            told = _told(properties[name]) if name in properties else "nothing"
            if told != declared.rstrip("!"):
                yield from _unless_fact(f"{kind}.{name}", f"is {told}, not {declared}")
            elif f"{kind}.{name}" in FACTS:
                yield f"{kind}.{name} is described, so it is no fact of its own"
    for (method, path), operation in OPERATIONS.items():
        yield from _operation_differences(described, f"{method} {path}", operation)


def _operation_differences(
    described: Mapping[str, Any], line: str, operation: Operation
) -> Iterator[str]:
    method, _, path = line.partition(" ")
    told = described["paths"].get(path, {}).get(method.lower())
    if told is None:
        yield from _unless_fact(line, "is not described")
        return
    named = {one["name"] for one in told.get("parameters", ()) if one["in"] == "query"}
    for name in operation.query:
        if name not in named:
            yield from _unless_fact(f"{line} ?{name}", "is no parameter")
    body = told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if (_told(body) if body else "") != operation.body:
        yield from _unless_fact(f"{line} body", "is another")
    answers = [one for status, one in told["responses"].items() if status.startswith("2")]
    content = answers[0].get("content", {}).get("application/json", {}).get("schema")
    if (_told(content) if content else "") != operation.answer:
        yield from _unless_fact(f"{line} answer", "is another")


def _unless_fact(name: str, text: str) -> Iterator[str]:
    if name not in FACTS:
        yield f"{name} {text}"


def _told(schema: Mapping[str, Any]) -> str:
    """Return a published schema as a type of ours."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "allOf" in schema:
        return _told(schema["allOf"][0])
    if schema.get("type") == "array":
        return f"[{_told(schema['items'])}]"
    if "enum" in schema:
        return "|".join(schema["enum"])
    if "additionalProperties" in schema:
        return f"{{{_told(schema['additionalProperties'])}}}"
    return str(schema.get("type", "object"))
