"""Tokens on the real plane: made while it runs or not, narrow, expiring, revoked."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.cli.client import ApiError, Client
from holdfast.wire.api.accounts import TokenCreate
from holdfast.wire.api.instances import InstanceCreate
from tests.support.planes import PlaneProcess, plane_at, until


def status(url: str, token: str, endpoint: str = "instance.list") -> int:
    """Return the status of a call with a token."""
    with Client(url, token) as client:
        try:
            client.call(endpoint)
        except ApiError as error:
            return error.status
    return 200


def test_tokens_are_narrow_and_a_revocation_is_felt(shared: PlaneProcess) -> None:
    mine = shared.json("token", "create", "mine", "--scope", "owner")
    refused = shared.cli("token", "create", "theirs", "--account", "other", code=1)
    assert "holdfast account create" in refused.stderr
    assert shared.json("account", "create", "other")["name"] == "other"
    assert {a["name"] for a in shared.json("account", "list")["items"]} == {"local", "other"}
    theirs = shared.json("token", "create", "theirs", "--scope", "owner", "--account", "other")
    operator = shared.json("token", "create", "all", "--scope", "operator")
    assert mine["token"].startswith("hf_")
    assert status(shared.url, mine["token"]) == 200
    assert status(shared.url, mine["token"], "plane.doctor") == 403
    assert status(shared.url, operator["token"], "plane.doctor") == 200

    demo = shared.ready("demo")
    with Client(shared.url, theirs["token"]) as client:
        assert not client.call("instance.list").items
        assert not client.call("operation.list").items
        for endpoint in ("instance.get", "instance.explain", "instance.timeline"):
            with pytest.raises(ApiError, match="404"):
                client.call(endpoint, path={"id": demo.id})
        made = client.call("instance.create", body=InstanceCreate(name="demo", desired="stopped"))
        assert made.account == "other"
        assert [item.id for item in client.call("instance.list").items] == [made.id]
    with Client(shared.url, mine["token"]) as client:
        assert made.id not in [item.id for item in client.call("instance.list").items]
    both = shared.cli("instance", "stop", "demo", code=1)
    assert "2 accounts have an instance called demo" in both.stderr
    shared.cli("instance", "destroy", made.id, "--yes")

    listed = {t["id"]: t for t in shared.json("token", "list")["items"]}
    assert listed.keys() >= {t["view"]["id"] for t in (mine, theirs, operator)}
    assert not [t for t in listed.values() if "token" in t]
    shared.cli("token", "revoke", mine["view"]["id"])
    until("the revocation is felt", lambda: status(shared.url, mine["token"]) == 401, seconds=5)
    shared.cli("token", "revoke", "tok_nobody", code=4)


def test_a_token_ends_at_its_time(shared: PlaneProcess) -> None:
    with shared.client() as client:
        made = client.call("token.create", body=TokenCreate(name="brief", expires_in_s=60))
        assert made.view.expires_at
    assert status(shared.url, made.token) == 200
    days = shared.json("token", "create", "week", "--days", "7")
    assert days["view"]["expires_at"] > made.view.expires_at


def test_a_token_made_without_a_plane_works_with_one(tmp_path: Path) -> None:
    idle = PlaneProcess(tmp_path / "home")
    made = idle.json("token", "create", "--scope", "operator")
    with plane_at(tmp_path / "home") as plane:
        assert status(plane.url, made["token"], "plane.doctor") == 200
        other_home = {
            "HOLDFAST_HOME": str(tmp_path / "empty"), "HOLDFAST_URL": plane.url,
            "HOLDFAST_TOKEN": made["token"],
        }  # fmt: skip
        unproven = plane.cli("instance", "list", **other_home, code=3)
        assert "the token was not sent" in unproven.stderr
        elsewhere = plane.cli("instance", "list", **other_home, HOLDFAST_ACCEPT_PLAIN_HTTP="true")
        assert "No instances" in elsewhere.stderr
        wrong = plane.cli("instance", "list", HOLDFAST_TOKEN="hf_" + "A" * 43, code=1)
        assert "holdfast token create" in wrong.stderr
