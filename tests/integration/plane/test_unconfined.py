"""A host without confinement: which accounts may share it, and what is logged."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.cli.client import ApiError, Client
from holdfast.wire.api.accounts import AccountCreate
from holdfast.wire.api.instances import InstanceCreate, InstanceView
from tests.support.planes import PlaneProcess, plane_at, until

SERVE_BARE = (
    sys.executable,
    "-c",
    """
import json, sys
from holdfast.cli.main import main
from holdfast.world.processes import probe
said = json.dumps({"kind": "none", "bubblewrap": "", "landlock_abi": 0, "reason": "a bare host"})
probe.PROBE = (sys.executable, "-I", "-c", f"print({said!r})")
main(["serve"])
""",
)
"""A plane whose host supports nothing: only the probing program is replaced."""


BUSY_S = 45
"""How long a plane may take to start anew on a busy machine."""


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[PlaneProcess]:
    with plane_at(tmp_path / "home", SERVE_BARE, HOLDFAST_ACCEPT_UNCONFINED="false") as plane:
        yield plane


def logged(plane: PlaneProcess, event: str) -> list[str]:
    """Return the levels at which an event was logged."""
    lines = [json.loads(line) for line in plane.log().splitlines() if line.startswith("{")]
    return [line["level"] for line in lines if line["event"] == event]


def test_a_second_account_is_refused_until_it_is_accepted(bare: PlaneProcess) -> None:
    with bare.client() as client, pytest.raises(ApiError) as caught:
        client.call("account.create", body=AccountCreate(name="other"))
    assert (caught.value.status, caught.value.problem.code) == (409, "unconfined")
    refused = bare.cli("account", "create", "other", code=1)
    assert "a bare host" in refused.stderr
    assert "apt install bubblewrap" in refused.stderr
    assert "HOLDFAST_ACCEPT_UNCONFINED=true" in refused.stderr
    body = InstanceCreate(name="x", account="other", desired="stopped")
    with bare.client() as client, pytest.raises(ApiError) as caught:
        client.call("instance.create", body=body)
    assert (caught.value.status, caught.value.problem.code) == (404, "no_such_account")
    refused = bare.cli("instance", "create", "x", "--account", "other", code=4)
    assert "no account 'other'" in refused.stderr
    assert [a["name"] for a in bare.json("account", "list")["items"]] == ["local"]
    until("it is in the log", lambda: logged(bare, "host.unconfined") == ["warning"])


def test_accounts_that_share_a_bare_host_already_go_on_and_it_is_said_loudly(
    bare: PlaneProcess,
) -> None:
    assert bare.terminate() == 0
    bare.environment["HOLDFAST_ACCEPT_UNCONFINED"] = "true"
    bare.start(wait=False)
    bare.wait(BUSY_S)
    assert bare.json("account", "create", "other")["name"] == "other"
    assert bare.terminate() == 0

    # Two accounts, and it is not accepted any more: logged as an error, and nothing is stopped.
    bare.environment["HOLDFAST_ACCEPT_UNCONFINED"] = "false"
    bare.start(wait=False)
    bare.wait(BUSY_S)
    until("it is said loudly", lambda: logged(bare, "host.unconfined")[-1] == "error")
    report = bare.json("doctor", code=1)
    (check,) = [c for c in report["checks"] if c["name"] == "confinement"]
    assert check["result"] == "failed"
    assert "2 accounts share this host" in check["message"]
    assert "apt install bubblewrap" in check["fix"]


def test_what_confines_a_machine_is_told_by_its_controller(shared: PlaneProcess) -> None:
    demo = shared.ready("demo")

    def look() -> InstanceView | None:
        view = shared.view("demo")
        return view if view and view.confinement != "unknown" else None

    told = until("it is told", look)
    assert "confinement" in shared.cli("instance", "show", "demo").stdout
    report = shared.json("doctor")
    (check,) = [c for c in report["checks"] if c["name"] == "confinement"]
    assert told.confinement in check["message"]
    assert demo.name in check["message"] or told.confinement != "none"
    with Client(shared.url, shared.token()) as client:
        detail = client.call("instance.get", path={"id": demo.id})
    assert detail.instance.confinement == told.confinement
