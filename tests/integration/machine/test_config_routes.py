"""The agent's configuration over the control API of a real controller."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.machine.controller.api.app import NOT_OFFERED
from holdfast.machine.controller.config.document import CONFIG_BYTES_MAX
from tests.integration.machine.rig import Machine, run_machine


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with run_machine(tmp_path) as found:
        await found.opened()
        await found.ready()
        yield found


def config_file(machine: Machine) -> Path:
    return machine.home / "agent" / "state" / "demo.json"


async def test_it_is_read_patched_replaced_and_restored(machine: Machine) -> None:
    status, first = await machine.ask("GET", "/_kilo/config/read")
    assert (status, first["plain"]) == (200, True)
    base = first["config"]
    assert first["etag"] == hashlib.sha256(config_file(machine).read_bytes()).hexdigest()

    status, patched = await machine.ask("POST", "/_kilo/config/patch", body={"beatS": 3})
    assert (status, patched["ok"], patched["changed"]) == (200, True, True)
    assert json.loads(config_file(machine).read_bytes()) == {**base, "beatS": 3}

    # A client of the contract names the text by its MD5; one that read before the patch is late.
    md5 = hashlib.md5(config_file(machine).read_bytes()).hexdigest()
    replace = "/_holdfast/config/replace"
    late = {"config": {"beatS": 1}, "etag": first["etag"]}
    assert (await machine.ask("POST", replace, body=late))[1]["code"] == "config_etag_conflict"
    status, _ = await machine.ask("POST", replace, body={"config": {"beatS": 1}, "etag": md5})
    assert status == 200
    status, _ = await machine.ask(
        "POST", "/_kilo/config/patch", body={"beatS": None}, If_Match=f'"{first["etag"]}"'
    )
    assert status == 409

    _, versions = await machine.ask("GET", "/_kilo/config/versions")
    assert [row["origin"] for row in versions["versions"]] == ["replace", "patch", "first"]
    name = versions["versions"][1]["etag"][:12]
    assert (await machine.ask("POST", f"/_kilo/config/restore/{name}"))[0] == 200
    assert json.loads(config_file(machine).read_bytes()) == {**base, "beatS": 3}
    status, restored = await machine.ask("POST", "/_kilo/config/restore/base")
    assert (status, restored["ok"], restored["signaled"]) == (200, True, False)
    assert json.loads(config_file(machine).read_bytes()) == base


WRONG: tuple[tuple[str, object, int, str, str | None], ...] = (
    ("config/replace", b"{", 400, "invalid_json_body", None),
    ("config/replace", b"", 400, "invalid_json_body", None),
    ("config/replace", b"[]", 400, "invalid_request_body", None),
    ("config/replace", b"[" * 50_000, 400, "invalid_json_body", None),
    ("config/replace", {}, 400, "invalid_request_body", "config"),
    ("config/replace", {"config": []}, 400, "invalid_request_body", "config"),
    ("config/replace", {"config": {}, "etag": ""}, 400, "invalid_request_body", "etag"),
    ("config/replace", {"config": {}, "etag": 3}, 400, "invalid_request_body", "etag"),
    ("config/replace?force=yes", {"config": {}}, 400, "invalid_request_body", "force"),
    ("config/patch", b"3", 400, "invalid_request_body", None),
    ("config/restore/other", None, 400, "invalid_request_body", "version"),
    ("config/restore/abcdef%0A", None, 400, "invalid_request_body", "version"),
    ("config/restore/0123456789ab", None, 404, "config_version_not_found", None),
    ("config/restore/last-healthy", None, 404, "config_version_not_found", None),
    ("config/patch", b" " * (2 * CONFIG_BYTES_MAX + 1), 413, "body_too_large", None),
    (
        "config/replace", {"config": {"a": "x" * CONFIG_BYTES_MAX}}, 413,
        "config_too_large", "config",
    ),
)  # fmt: skip


async def test_what_is_wrong_is_named(machine: Machine) -> None:
    before = config_file(machine).read_bytes()
    for path, body, status, code, field in WRONG:
        found, answer = await machine.ask("POST", f"/_kilo/{path}", body=body)
        assert (found, answer["code"], answer.get("field")) == (status, code, field), path
        assert answer["error"]
    assert config_file(machine).read_bytes() == before


async def test_a_file_that_is_no_configuration_says_so_and_can_be_replaced(
    machine: Machine,
) -> None:
    config_file(machine).write_text("{ hunter2")
    status, answer = await machine.ask("GET", "/_kilo/config/read")
    assert (status, answer["code"]) == (500, "config_read_failed")
    assert "hunter2" not in json.dumps(answer)
    assert (await machine.ask("POST", "/_kilo/config/patch", body={"a": 1}))[0] == 500
    assert (await machine.ask("POST", "/_kilo/config/replace", body={"config": {}}))[0] == 200


async def test_values_are_not_in_the_log(machine: Machine) -> None:
    body = {"channels": {"telegram": {"plain": "hunter2"}}}
    await machine.ask("POST", "/_kilo/config/patch", body=body)
    (changed,) = [row for row in machine.events("config.changed") if row["origin"] == "patch"]
    assert changed["keys"] == "channels.telegram.plain"
    assert "hunter2" not in (machine.home / "machine.log").read_text()


ANOTHER_PRODUCT = (
    ("POST", "config/tools-md/google-workspace"),
    ("GET", "config/agents"),
    ("POST", "config/agents"),
    ("PATCH", "config/agents/main"),
    ("DELETE", "config/agents/main/bindings"),
    ("POST", "files/import-openclaw-workspace"),
    ("POST", "bot-identity"),
    ("POST", "user-profile"),
    ("POST", "cli-run/start"),
    ("GET", "cli-run/status"),
    ("POST", "cli-run/cancel"),
    ("GET", "morning-briefing/status"),
    ("GET", "morning-briefing/read/today"),
    ("POST", "morning-briefing/enable"),
    ("POST", "google-oauth/token"),
    ("POST", "hooks/email"),
    ("POST", "gmail-pubsub"),
    ("GET", "kilo-chat/conversations"),
)


async def test_what_belongs_to_another_product_is_not_offered(machine: Machine) -> None:
    for prefix in ("/_kilo/", "/_holdfast/"):
        for method, path in ANOTHER_PRODUCT:
            # Without a token the routes do not reveal even that.
            assert (await machine.ask(method, prefix + path, None))[0] == 401, path
            status, answer = await machine.ask(method, prefix + path)
            assert (status, answer["code"]) == (404, NOT_OFFERED), path
        status, answer = await machine.ask("GET", prefix + "no-such-thing")
        assert (status, answer["code"]) == (404, "controller_route_unavailable")
