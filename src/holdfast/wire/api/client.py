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
from holdfast.wire.api.rows import filled, path_names

_ENCODER: Final = msgspec.json.Encoder()
_PROBLEM: Final = msgspec.json.Decoder(Problem)
_BAD_REQUEST: Final = 400
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


def _check_values(endpoint: Endpoint, given: Mapping[str, str]) -> None:
    params = {param.name: param for param in endpoint.params}
    for name, value in given.items():
        if name not in params:
            raise ValueError(f"{endpoint.name}: there is no parameter {name}")
        code, wrong = "unknown_value", params[name].unknown(value)
        if wrong is None and not re.fullmatch(params[name].pattern, value):
            code = "bad_parameter"
            from holdfast.wire.forms import form_of  # noqa: PLC0415  rare, and imports many

            form = form_of(params[name].pattern) or params[name].summary
            wrong = f"{value[:_SHOWN_MAX]!r} is not of its form", str(form)
        if wrong is not None:
            problem = Problem(code=code, message=wrong[0], field=name, fix=wrong[1])
            raise ApiError(_BAD_REQUEST, problem)


def prepare(
    endpoint: Endpoint,
    *,
    path: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    body: Any = None,
    idempotency_key: str = "",
) -> PreparedRequest:
    """Return the request; raise ValueError naming an argument that the row does not take.

    Raise ApiError, as a plane would answer, for a value that a parameter cannot have.
    """
    given_path, given_query = dict(path or {}), dict(query or {})
    _check_values(endpoint, {**given_path, **given_query})
    in_path = set(path_names(endpoint.path))
    required = {p.name for p in endpoint.params if p.required and p.name not in in_path}
    missing = sorted((in_path - given_path.keys()) | (required - given_query.keys()))
    if missing or given_path.keys() - in_path or given_query.keys() & in_path:
        raise ValueError(f"{endpoint.name}: path takes {sorted(in_path)}; missing {missing}")
    if (endpoint.request is None) != (body is None):
        raise ValueError(f"{endpoint.name}: the body must be {endpoint.request}, not {type(body)}")
    target = filled(endpoint.path, {k: quote(v, safe="/:@") for k, v in given_path.items()})
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
