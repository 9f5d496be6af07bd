"""The typed client's pure half: a row and its arguments to a request, an answer to its type.

It opens no connection: `cli/client.py` and the tests bring their own transport, so that both
send exactly what the table says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from holdfast.wire import parsers
from holdfast.wire.api.call import Problem
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.api.table import path_names

_ENCODER: Final = msgspec.json.Encoder()
_PROBLEM: Final = msgspec.json.Decoder(Problem)
_FAILED: Final = 400
_ACCEPTED: Final = 202
_SHOWN_MAX: Final = 200


class ApiError(Exception):
    """The plane refused, or answered what cannot be understood; `problem` says why."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(f"{status} {problem.code}: {problem.message}")
        self.status = status
        self.problem = problem


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request ready to be sent; `target` is path and query."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def prepare(
    endpoint: Endpoint,
    *,
    path: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    body: Any = None,
    idempotency_key: str = "",
) -> PreparedRequest:
    """Return the request; raise ValueError naming an argument that the row does not take."""
    given_path, given_query = dict(path or {}), dict(query or {})
    patterns = {param.name: param.pattern for param in endpoint.params}
    in_path = set(path_names(endpoint.path))
    for name, value in {**given_path, **given_query}.items():
        if name not in patterns or not re.fullmatch(patterns[name], value):
            raise ValueError(f"{endpoint.name}: {name}={value!r} is not a parameter of this form")
    required = {p.name for p in endpoint.params if p.required and p.name not in in_path}
    missing = sorted((in_path - given_path.keys()) | (required - given_query.keys()))
    if missing or given_path.keys() - in_path or given_query.keys() & in_path:
        raise ValueError(f"{endpoint.name}: path takes {sorted(in_path)}; missing {missing}")
    if (endpoint.request is None) != (body is None):
        raise ValueError(f"{endpoint.name}: the body must be {endpoint.request}, not {type(body)}")
    target = re.sub(r"\{([a-z_]+)\}", lambda m: quote(given_path[m[1]], safe="/:@"), endpoint.path)
    if given_query:
        target += "?" + urlencode(given_query)
    headers = {"accept": "application/json"}
    encoded = b""
    if body is not None:
        encoded = _ENCODER.encode(body)
        headers["content-type"] = "application/json"
    if endpoint.mutates and idempotency_key:
        headers["idempotency-key"] = idempotency_key
    return PreparedRequest(endpoint.method, target, headers, encoded)


def parse(endpoint: Endpoint, status: int, body: bytes) -> Any:
    """Return the answer in its declared type, bytes where none is; raise ApiError on a refusal.

    A 202 gives the row's `pending` type. Fields that newer planes add are ignored.
    """
    if status >= _FAILED:
        raise ApiError(status, _problem(body))
    if endpoint.kind != "json":
        return body
    declared = endpoint.pending if status == _ACCEPTED else endpoint.response
    if declared is None or not body:
        return None
    try:
        return parsers.from_json(msgspec.json.Decoder(declared), body)
    except msgspec.DecodeError as error:
        problem = Problem(
            code="not_understood",
            message=f"{endpoint.name} answered what this version cannot read: {error}",
            fix="use the same version of Holdfast on both sides",
        )
        raise ApiError(status, problem) from error


def _problem(body: bytes) -> Problem:
    """Return the problem in an answer; a proxy in between may have sent something else."""
    try:
        return parsers.from_json(_PROBLEM, body)
    except msgspec.DecodeError:
        shown = body[:_SHOWN_MAX].decode("utf-8", "replace")
        return Problem(code="not_ours", message=f"the answer is not from Holdfast: {shown!r}")
