"""Looking after a real agent through the plane: its configuration, files, doctor and start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.cli.client import ApiError
from holdfast.wire.api.endpoint import Empty
from holdfast.wire.api.maintenance import (
    ConfigChanged,
    ConfigPatch,
    ConfigReplace,
    ConfigRestore,
    ConfigView,
    DoctorRun,
    FileText,
    FileWrite,
)
from tests.support.planes import PlaneProcess, until


def ask(plane: PlaneProcess, name: str, body: Any = None, **query: str) -> Any:
    view = plane.ready("demo")
    with plane.client() as client:
        return client.call(name, path={"id": view.id}, query=query, body=body)


def refused(plane: PlaneProcess, name: str, body: Any = None, **query: str) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        ask(plane, name, body, **query)
    return caught.value.status, caught.value.problem.code


def test_a_configuration_is_changed_and_its_history_told(shared: PlaneProcess) -> None:
    first: ConfigView = ask(shared, "config.get")
    done: ConfigChanged = ask(shared, "config.patch", ConfigPatch(patch={"beatS": 3}))
    assert done.changed
    after: ConfigView = ask(shared, "config.get")
    assert after.config == {**first.config, "beatS": 3}
    assert after.etag == done.etag
    late = ConfigReplace(config={}, etag=first.etag)
    assert refused(shared, "config.replace", late) == (409, "config_etag_conflict")
    stale = ConfigPatch(patch={"beatS": 4}, etag=first.etag)
    assert refused(shared, "config.patch", stale) == (409, "config_etag_conflict")
    versions = ask(shared, "config.versions").versions
    assert [row.origin for row in versions[:2]] == ["patch", "first"]
    assert ask(shared, "config.restore", ConfigRestore(version=first.etag[:10])).changed
    wrong = ConfigRestore(version="nonsense")
    assert refused(shared, "config.restore", wrong) == (400, "invalid_request_body")
    unknown = ConfigRestore(version="0123456789")
    assert refused(shared, "config.restore", unknown) == (404, "config_version_not_found")


def test_files_are_listed_read_and_written(shared: PlaneProcess) -> None:
    note = FileWrite(path="note.md", content="hello\n", create=True)
    written = ask(shared, "files.write", note)
    assert refused(shared, "files.write", note) == (409, "file_exists")
    listed = ask(shared, "files.list", depth="1")
    assert "note.md" in {entry.path for entry in listed.entries}
    found: FileText = ask(shared, "files.read", path="note.md")
    assert (found.content, found.etag) == ("hello\n", written.etag)
    assert refused(shared, "files.read", path="../x") == (400, "invalid_path")
    assert refused(shared, "files.read", path="no") == (404, "file_not_found")


def test_the_doctor_is_started_and_followed(shared: PlaneProcess) -> None:
    done = shared.cli("instance", "doctor", "demo")
    assert "doctor has looked" in done.stdout
    run: DoctorRun = ask(shared, "doctor.run")
    assert (run.status, run.exit_code) == ("completed", 0)
    assert refused(shared, "doctor.cancel", Empty()) == (409, "openclaw_doctor_no_active_run")
    assert refused(shared, "bootstrap.retry", Empty()) == (409, "bootstrap_not_failed")


def test_the_command_line_changes_looks_and_goes_back(shared: PlaneProcess, tmp_path: Path) -> None:
    before = shared.json("instance", "config", "show", "demo")
    shared.cli("instance", "config", "patch", "demo", '{"beatS": 2}')
    (tmp_path / "patch.json").write_text('{"beatS": null, "startMs": 1}')
    shared.cli("instance", "config", "patch", "demo", f"@{tmp_path}/patch.json")
    assert json.loads(shared.cli("instance", "config", "show", "demo").stdout) == {
        **before["config"],
        "startMs": 1,
    }
    editor = "sed -i s/1/7/"
    shared.cli("instance", "config", "edit", "demo", EDITOR=editor, VISUAL=editor)
    assert json.loads(shared.cli("instance", "config", "show", "demo").stdout)["startMs"] == 7
    history = shared.cli("instance", "config", "history", "demo").stdout
    assert "patch" in history
    shared.cli("instance", "config", "restore", "demo", before["etag"][:12])
    assert shared.json("instance", "config", "show", "demo")["config"] == before["config"]
    assert "not JSON" in shared.cli("instance", "config", "patch", "demo", "{", code=2).stderr

    shared.cli("instance", "files", "put", "demo", "new.txt", "--create", given="text\n")
    assert "new.txt" in shared.cli("instance", "files", "ls", "demo").stdout
    assert shared.cli("instance", "files", "cat", "demo", "new.txt").stdout == "text\n"
    refusal = shared.cli("instance", "retry", "demo", code=None)
    assert refusal.returncode != 0
    assert "No phase of the start has failed" in refusal.stderr


def test_what_a_reader_saw_and_an_order_did_is_in_the_audit(shared: PlaneProcess) -> None:
    ask(shared, "config.get")
    ask(shared, "config.patch", ConfigPatch(patch={"beatS": 5, "secret": None}))
    with shared.client() as client:
        rows = msgspec.to_builtins(client.call("audit.list", query={"limit": "50"}))
    told = json.dumps(rows)
    assert "config.get" in told
    assert "config.patch" in told


def test_a_machine_that_does_not_run_or_answer_is_told_apart(own: PlaneProcess) -> None:
    own.cli("instance", "create", "demo")
    view = own.ready("demo")
    (controller,) = own.controllers()
    with own.client() as client:
        where = {"id": view.id}
        assert client.call("config.get", path=where).etag
        own.cli("instance", "stop", "demo", "--wait", "20")
        with pytest.raises(ApiError) as caught:
            client.call("config.get", path=where)
        assert caught.value.status == 503
        with pytest.raises(ApiError) as missing:
            client.call("config.get", path={"id": "no-such"})
        assert missing.value.status == 404
    until("it has ended", lambda: not controller.is_running())
