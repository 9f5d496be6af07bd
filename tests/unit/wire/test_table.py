from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest
from msgspec import inspect

from holdfast.wire.api.endpoint import EVENT, ID, KIND, LIMIT, Endpoint, Param, look
from holdfast.wire.api.rows import check, path_names
from holdfast.wire.api.table import ENDPOINTS, by_name
from tests.support.samples import sample

ROW = Endpoint(name="a.get", method="GET", path="/a/{id}", summary="A.", scope="owner",
               params=(Param("id", r"[a-z]+", "Id."),))  # fmt: skip


def test_hot_rows_come_first_and_every_name_is_found() -> None:
    hot = [row.hot for row in ENDPOINTS]
    assert hot == sorted(hot, reverse=True)
    assert hot[0]
    assert all(by_name[row.name] is row for row in ENDPOINTS)


def test_only_what_must_be_is_public() -> None:
    public = {row.path for row in ENDPOINTS if row.scope == "public"}
    assert public == {
        "/health", "/api/consent/keys", "/api/openapi.json", "/api/proof", "/api/session/link",
        "/api/session/password", "/sign-in", "/static/{path}", "/telemetry/event", "/api/register",
    }  # fmt: skip


def test_whatever_is_sent_by_people_to_change_something_is_audited() -> None:
    for row in ENDPOINTS:
        by_program = row.scope in {"machine", "brain", "node", "attempt"} or row.proves
        by_program = by_program or row.name == "gradata.activation"
        if row.method != "GET" and not by_program:
            assert row.mutates or row.audited, row.name
        if row.name.startswith("rehearse."):
            assert row.audited, row.name
            assert row.scope == "operator", row.name


def test_a_path_tells_its_shared_parameters_and_a_row_may_declare_its_own() -> None:
    assert look("a", "/a/{kind}/{id}", None, "A.", LIMIT).params == (KIND, ID, LIMIT)
    assert look("a", "/a/{event}", None, "A.").params == (EVENT,)
    assert look("a", "/a/{id}", None, "A.", own := Param("id", r".+", "Id.")).params == (own,)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (replace(ROW, name="b", path="/a/{other}"), "declares no parameter"),
        (replace(ROW, params=(*ROW.params, *ROW.params)), "names a parameter twice"),
        (replace(ROW, path="a/{id}"), "must begin with a slash"),
        (replace(ROW, hot=True), "must be exact"),
        (replace(ROW, request=dict), "takes a body with GET"),
        (replace(ROW, mutates=True), "changes something with GET"),
        (replace(ROW, summary=""), "has no summary"),
        (replace(ROW, statuses=(404,)), "has no status of success"),
        (replace(ROW, statuses=(200, 202)), "answers 202 without a type"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(row: Endpoint, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check([row])


def test_two_rows_of_one_route_or_name_are_refused() -> None:
    with pytest.raises(ValueError, match="is taken"):
        check([ROW, replace(ROW, method="DELETE")])
    renamed = replace(ROW, name="b", path="/a/{key}", params=(Param("key", ".", "Key."),))
    with pytest.raises(ValueError, match="is taken"):
        check([ROW, renamed])
    assert len(check([ROW, replace(ROW, name="b", method="DELETE")])) == 2


def test_no_exact_path_hides_behind_a_pattern_of_another_meaning() -> None:
    # /api/instances/bulk/start also fits the form of /api/instances/{id}/start: exact ones win,
    # so an instance must not be called what an exact path has in that place.
    exact = {row.path for row in ENDPOINTS if not path_names(row.path)}
    shadowed = set()
    for row in ENDPOINTS:
        if path_names(row.path):
            pattern = re.sub(r"\{[a-z_]+\}", "[^/]+", row.path)
            shadowed |= {path for path in exact if re.fullmatch(pattern, path)}
    shadowed = {path for path in shadowed if not path.startswith("/api/v1/brains/")}  # only POST
    # An approval that is called "request" is asked for by GET, which the exact path does not take.
    shadowed -= {"/api/approvals/request"}
    assert shadowed <= {"/api/instances/bulk/start", "/api/instances/bulk/stop"}


def messages() -> list[type]:
    found = {t for row in ENDPOINTS for t in (row.request, row.response, row.pending) if t}
    return sorted(found, key=lambda kind: str(kind.__name__))


@pytest.mark.parametrize("kind", messages())
def test_every_text_and_list_in_a_message_has_a_limit(kind: type) -> None:
    unbounded: list[str] = []
    _find_unbounded(inspect.type_info(kind), kind.__name__, unbounded, set())
    assert not unbounded


def _find_unbounded(kind: inspect.Type, path: str, found: list[str], seen: set[type]) -> None:
    if isinstance(kind, inspect.StructType) and kind.cls in seen:
        return
    if _is_unbounded(kind) and "disk_" not in path:  # disk figures may be negative: they count as 0
        found.append(path)
    for name, part in _parts(kind, seen):
        _find_unbounded(part, path + name, found, seen)


def _is_unbounded(kind: inspect.Type) -> bool:
    match kind:
        case inspect.StrType() | inspect.VarTupleType() | inspect.ListType():
            return kind.max_length is None
        case inspect.DictType():
            return kind.max_length is None and not isinstance(kind.key_type, inspect.LiteralType)
        case inspect.IntType():
            return kind.ge is None or kind.le is None
        case _:
            return False


def _parts(kind: inspect.Type, seen: set[type]) -> Iterator[tuple[str, inspect.Type]]:
    match kind:
        case inspect.Metadata():
            yield "", kind.type
        case inspect.VarTupleType() | inspect.ListType():
            yield "[]", kind.item_type
        case inspect.UnionType():
            yield from (("", one) for one in kind.types)
        case inspect.StructType():
            seen.add(kind.cls)
            yield from ((f".{field.name}", field.type) for field in kind.fields)
        case _:
            pass


@pytest.mark.parametrize("kind", messages())
def test_every_message_comes_back_as_it_went(kind: type) -> None:
    value = sample(kind)
    assert msgspec.json.decode(msgspec.json.encode(value), type=kind) == value


@pytest.mark.parametrize(
    "row",
    [
        row
        for row in ENDPOINTS
        if row.request and row.scope not in {"machine", "brain", "node"} and not row.proves
    ],
)
def test_a_request_of_people_takes_no_unknown_field(row: Endpoint) -> None:
    given = {**msgspec.to_builtins(sample(row.request)), "no_such": 1}
    with pytest.raises(msgspec.ValidationError, match="no_such"):
        msgspec.convert(given, row.request)


def test_requests_with_secrets_do_not_print_them() -> None:
    bodies = {
        "session.link": {"link": "hunter2"},
        "session.password": {"name": "ada", "password": "hunter2"},
        "session.set-password": {"new": "hunter2hunter2", "current": "hunter2"},
        "instance.create": {"name": "a1", "secrets": {"KEY": "hunter2"}},
        "instance.patch": {"secrets": {"KEY": "hunter2"}, "env": {"A": "hunter2"}},
    }
    for name, body in bodies.items():
        assert "hunter2" not in repr(msgspec.convert(body, by_name[name].request))
