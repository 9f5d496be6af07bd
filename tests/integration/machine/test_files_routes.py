"""The files of a real machine over the control API."""

from __future__ import annotations

import json
from pathlib import Path

from holdfast.machine.controller.files.state_folder import FILE_BYTES_MAX
from tests.integration.machine.rig import run_machine


async def test_files_are_listed_read_and_written(tmp_path: Path) -> None:
    state = tmp_path / "agent" / "state"
    state.mkdir(parents=True)
    (state / "note.md").write_text("hello\n")
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await machine.ready()
        _, tree = await machine.ask("GET", "/_kilo/files/tree?depth=1")
        assert {"name": "note.md", "path": "note.md", "type": "file"} in tree["tree"]
        _, found = await machine.ask("GET", "/_kilo/files/read?path=note.md")
        assert found["content"] == "hello\n"

        target = "/_holdfast/files/write"
        body = {"path": "note.md", "content": "new\n", "etag": found["etag"]}
        status, written = await machine.ask("POST", target, body=body)
        assert (status, written["ok"]) == (200, True)
        assert (await machine.ask("POST", target, body=body))[1]["code"] == "file_etag_conflict"
        assert (state / "note.md").read_text() == "new\n"
        controls = {"path": "all.txt", "content": "\x01" * FILE_BYTES_MAX, "create": True}
        assert (await machine.ask("POST", target, body=controls))[0] == 200

        for wrong, want, code, field in (
            ({"content": ""}, 400, "invalid_request_body", "path"),
            ({"path": 3, "content": ""}, 400, "invalid_request_body", "path"),
            ({"path": "note.md"}, 400, "invalid_request_body", "content"),
            ({"path": "../x", "content": ""}, 400, "invalid_path", "path"),
            ({"path": "note.md", "content": "", "etag": ""}, 400, "invalid_request_body", "etag"),
            ({"path": "x", "content": "", "create": 1}, 400, "invalid_request_body", "create"),
            ({"path": "no", "content": ""}, 404, "file_not_found", None),
        ):
            status, answer = await machine.ask("POST", target, body=wrong)
            assert (status, answer["code"], answer.get("field")) == (want, code, field), wrong
        for path, code in (
            ("files/read", "invalid_path"),
            ("files/read?path=/etc/passwd", "invalid_path"),
            ("files/tree?depth=0", "invalid_request_body"),
        ):
            status, answer = await machine.ask("GET", f"/_kilo/{path}")
            assert (status, answer["code"]) == (400, code)


async def test_the_configuration_is_written_through_its_store(tmp_path: Path) -> None:
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await machine.ready()
        target = "/_kilo/files/write"
        status, answer = await machine.ask(
            "POST", target, body={"path": "demo.json", "content": "{broken"}
        )
        assert (status, answer["code"]) == (422, "openclaw_config_would_not_boot")
        status, _ = await machine.ask(
            "POST", target, body={"path": "demo.json", "content": '{"beatS": 2}'}
        )
        assert status == 200
        _, versions = await machine.ask("GET", "/_kilo/config/versions")
        assert [row["origin"] for row in versions["versions"]] == ["replace", "first"]
        stale = {"path": "demo.json", "content": "{}", "etag": "0" * 64}
        assert (await machine.ask("POST", target, body=stale))[1]["code"] == "file_etag_conflict"
        assert json.loads((tmp_path / "agent/state/demo.json").read_text()) == {"beatS": 2}
