from __future__ import annotations

import msgspec
import pytest

from holdfast.wire.api.client import ApiError, parse, prepare
from holdfast.wire.api.instances import InstanceCreate, InstanceOrder, InstanceView
from holdfast.wire.api.operations import Pending
from holdfast.wire.api.table import by_name
from tests.support.samples import sample


def test_a_request_is_built_from_its_row() -> None:
    request = prepare(
        by_name["instance.stop"],
        path={"id": "a:b@c"},
        body=InstanceOrder(reason="night"),
        idempotency_key="k1",
    )
    assert (request.method, request.target) == ("POST", "/api/instances/a:b@c/stop")
    assert msgspec.json.decode(request.body) == {"reason": "night"}
    assert request.headers["idempotency-key"] == "k1"
    listed = prepare(by_name["instance.list"], query={"text": "a b&c", "limit": "5"})
    assert listed.target == "/api/instances?text=a+b%26c&limit=5"
    assert listed.body == b""
    assert "content-type" not in listed.headers


def test_an_argument_that_does_not_fit_is_named_before_anything_is_sent() -> None:
    row = by_name["instance.stop"]
    with pytest.raises(ApiError, match="not of its form") as refused:
        prepare(row, path={"id": "../x"}, body=InstanceOrder())
    assert (refused.value.status, refused.value.problem.field) == (400, "id")
    with pytest.raises(ValueError, match="missing"):
        prepare(row, body=InstanceOrder())
    with pytest.raises(ValueError, match="the body must be"):
        prepare(row, path={"id": "a"})
    with pytest.raises(ValueError, match="the body must be"):
        prepare(by_name["instance.list"], body=InstanceCreate(name="a"))
    with pytest.raises(ValueError, match="no_such"):
        prepare(by_name["instance.list"], query={"no_such": "1"})
    with pytest.raises(ValueError, match="path takes"):
        prepare(row, query={"id": "a"}, body=InstanceOrder())


def test_answers_come_back_in_their_declared_types() -> None:
    row = by_name["instance.stop"]
    view = sample(InstanceView)
    assert parse(row, 200, msgspec.json.encode(view)) == view
    pending = Pending(operation="e1", url="/api/operations/e1")
    assert parse(row, 202, msgspec.json.encode(pending)) == pending
    assert parse(by_name["session.sign-out"], 204, b"") is None
    assert parse(by_name["plane.metrics"], 200, b"x 1\n") == b"x 1\n"
    newer = {**msgspec.to_builtins(view), "added_later": 1}
    assert parse(row, 200, msgspec.json.encode(newer)) == view


def test_refusals_are_errors_that_say_why() -> None:
    row = by_name["instance.stop"]
    body = b'{"code":"busy","message":"it is restarting","fix":"wait"}'
    with pytest.raises(ApiError, match="409 busy: it is restarting") as caught:
        parse(row, 409, body)
    assert caught.value.problem.fix == "wait"
    with pytest.raises(ApiError, match=r"502 not_ours: .*Bad Gateway"):
        parse(row, 502, b"<h1>Bad Gateway</h1>" + b"x" * 10_000)
    with pytest.raises(ApiError, match="not_understood"):
        parse(row, 200, b'{"id":"a"}')
