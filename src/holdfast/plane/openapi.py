"""The endpoint table as OpenAPI 3.1 and as an HTML page. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec

from holdfast.wire.api.call import Problem
from holdfast.wire.api.endpoint import Endpoint, Param
from holdfast.wire.api.rows import path_names
from holdfast.wire.controller.endpoint import ControllerProblem

REFUSALS: Final = (400, 401, 403, 404, 408, 413, 415, 429, 500)
"""Errors that any route may return besides those declared by its row."""

_REF: Final = "#/components/schemas/{name}"
_SECURITY: Final[dict[str, list[dict[str, list[str]]]]] = {
    "public": [],
    "machine": [{"machineKey": [], "gatewayToken": []}],
    "brain": [{"brainKey": []}],
    "node": [{"nodeKey": []}, {"nodeBearer": []}],
    "attempt": [{"attemptToken": []}],
    "owner": [{"token": []}, {"session": []}],
    "operator": [{"token": []}, {"session": []}],
}
_SCHEMES: Final[dict[str, Any]] = {
    "token": {"type": "http", "scheme": "bearer", "description": "An API token, `hf_…`."},
    "brainKey": {"type": "http", "scheme": "bearer", "description": "A brain key, `hfb_…`."},
    "nodeKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "attemptToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of an attempt of a town's agent, `hfa_…`.",
    },
    "nodeBearer": {"type": "http", "scheme": "bearer", "description": "A node's key, `cm_…`."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "hf_session_ID",
        "description": "`ID` is the plane's; by https the name begins with `__Host-`. A change also"
        " wants the header `x-csrf-token`: `csrf` of the answer to signing in.",
    },
    "machineKey": {"type": "http", "scheme": "bearer", "description": "The instance's key."},
    "gatewayToken": {"type": "apiKey", "in": "header", "name": "x-holdfast-gateway-token"},
}
_PAGE_TYPES: Final = {
    "page": "text/html",
    "stream": "text/event-stream",
    "asset": "application/octet-stream",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The differences of two tables' documents: texts, errors and security schemes."""

    title: str
    summary: str
    problem: Any
    refusals: tuple[int, ...]
    schemes: Mapping[str, Any]
    security: Mapping[str, list[dict[str, list[str]]]]


PLANE: Final = Api(
    title="Holdfast",
    summary="A control plane for fleets of always-on AI agents.",
    problem=Problem,
    refusals=REFUSALS,
    schemes=_SCHEMES,
    security=_SECURITY,
)
CONTROLLER: Final = Api(
    title="Holdfast controller",
    summary="What the controller in an agent's machine answers, below /_kilo/ and /_holdfast/.",
    problem=ControllerProblem,
    refusals=(400, 401, 404, 405, 413, 500),
    schemes={"token": {"type": "http", "scheme": "bearer", "description": "The gateway token."}},
    security={"public": [], "machine": [{"token": []}]},
)


def document(table: Iterable[Endpoint], *, version: str, api: Api = PLANE) -> dict[str, Any]:
    """Return the table as an OpenAPI 3.1 document, to be encoded as JSON."""
    rows = tuple(table)
    types = [t for row in rows for t in (row.request, row.response, row.pending) if t is not None]
    unique = [*dict.fromkeys(types), api.problem]
    schemas, components = msgspec.json.schema_components(unique, ref_template=_REF)
    by_type = dict(zip(unique, schemas, strict=True))
    paths: dict[str, Any] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, by_type, api)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": api.title,
            "version": version,
            "summary": api.summary,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": dict(api.schemes)},
    }


def _operation(row: Endpoint, by_type: dict[Any, Any], api: Api) -> dict[str, Any]:
    """Return one row as an operation."""
    in_path = path_names(row.path)
    found: dict[str, Any] = {
        "operationId": row.name,
        "summary": row.summary,
        "tags": [row.name.partition(".")[0]],
        "security": api.security[row.scope],
        "x-scope": row.scope,
        "x-since": row.since,
        "parameters": [_parameter(param, in_path=param.name in in_path) for param in row.params],
        "responses": _responses(row, by_type, api),
    }
    if row.mutates:
        found["parameters"].append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Repeated calls with the same key have the effect once.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
            }
        )
    if row.request is not None:
        content = {"application/json": {"schema": by_type[row.request]}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _parameter(param: Param, *, in_path: bool) -> dict[str, Any]:
    """Return one parameter."""
    return {
        "name": param.name,
        "in": "path" if in_path else "query",
        "required": in_path or param.required,
        "description": param.summary,
        "schema": {"type": "string", "pattern": f"^(?:{param.pattern})$"},
    }


def _responses(row: Endpoint, by_type: dict[Any, Any], api: Api) -> dict[str, Any]:
    """Return every answer a row may give."""
    problem = {"application/json": {"schema": by_type[api.problem]}}
    answers: dict[str, Any] = {}
    keyed = {422} if row.mutates else set()  # a key that came before with another body
    for status in sorted({*row.statuses, *api.refusals, *keyed}):
        answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if status >= 400:  # noqa: PLR2004  HTTP
            answer["content"] = problem
            if row.kind == "page":
                answer["content"] = {"text/html": {"schema": {"type": "string"}}}
            # /health returns its own body when unhealthy.
            if status in row.statuses and row.scope == "public" and row.response is not None:
                answer["content"] = {"application/json": {"schema": {}}}
        elif status not in {204, 304}:
            answer["content"] = _content(row, by_type, status)
        answers[str(status)] = answer
    if row.kind == "page" and row.scope != "public":
        answers["303"] = {"description": "To the sign-in page."}
    return answers


def _content(row: Endpoint, by_type: dict[Any, Any], status: int) -> dict[str, Any]:
    """Return the content of a successful answer."""
    if row.kind != "json":
        content_type = "application/json" if row.path.endswith(".json") else _PAGE_TYPES[row.kind]
        return {content_type: {"schema": {}}}
    declared = row.pending if status == HTTPStatus.ACCEPTED else row.response
    return {"application/json": {"schema": {} if declared is None else by_type[declared]}}


def page(table: Iterable[Endpoint], *, version: str) -> bytes:
    """Return the table as a plain page: families, rows, parameters, types; no scripts."""
    families: dict[str, list[Endpoint]] = {}
    for row in table:
        families.setdefault(row.name.partition(".")[0], []).append(row)
    contents = "".join(
        f'<li><a href="#{html.escape(name)}">{html.escape(name)}</a></li>' for name in families
    )
    sections = "".join(_section(name, rows) for name, rows in families.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>Holdfast: endpoints</title>'
        '<link rel="icon" href="data:,">'  # else browsers request an icon
        f"</head><body><main><h1>Endpoints of Holdfast {html.escape(version)}</h1>"
        '<p>The same as <a href="/api/openapi.json">OpenAPI 3.1</a>.</p>'
        f"<nav><ul>{contents}</ul></nav>{sections}</main></body></html>"
    ).encode()


def _section(name: str, rows: Sequence[Endpoint]) -> str:
    """Return one family of rows."""
    title = html.escape(name)
    return f'<section id="{title}"><h2>{title}</h2>{"".join(map(_entry, rows))}</section>'


def _entry(row: Endpoint) -> str:
    """Return one row with its parameters."""
    params = "".join(
        f"<li><code>{html.escape(param.name)}</code>{' (required)' if param.required else ''}: "
        f"{html.escape(param.summary)} <code>{html.escape(param.pattern)}</code></li>"
        for param in row.params
    )
    types = [
        f"{label} <code>{html.escape(_type_name(found))}</code>"
        for label, found in (("takes", row.request), ("answers", row.response))
        if found is not None
    ]
    facts = [f"scope {row.scope}", *types, "answers " + ", ".join(map(str, row.statuses))]
    return (
        f'<article id="{html.escape(row.name)}"><h3><code>{row.method} {html.escape(row.path)}'
        f"</code></h3><p>{html.escape(row.summary)}</p><p>{'; '.join(facts)}.</p>"
        f"<ul>{params}</ul></article>"
    )


def _type_name(found: Any) -> str:
    """Return the name of a message type."""
    return re.sub(r"^.*\.", "", getattr(found, "__name__", str(found)))
