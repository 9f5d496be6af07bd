"""Installing and uninstalling a hook leaves other people's files as they were, byte for byte."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.cli.wiring import agents, install, undo, yaml_text
from holdfast.cli.wiring.agents import Edited, Owned
from holdfast.cli.wiring.edits import WiringError

EDITED = [agent for agent in agents.AGENTS if isinstance(agent, Edited)]
OWNED = [agent for agent in agents.AGENTS if isinstance(agent, Owned)]
JSON = [agent for agent in EDITED if agent.form == "json"]
GROUPED = [agent for agent in JSON if agent.name != "cursor"]
(HERMES,) = [agent for agent in EDITED if agent.form == "yaml"]

JSON_FILES = {
    "nothing in it": "",
    "blank": "\n\n",
    "an empty object": "{}",
    "an empty object, ended": "{}\n",
    "spaces": "{ \n }\n",
    "a version": '{"version": 1}\n',
    "no hooks yet": '{"hooks": {}}',
    "an empty list": '{\n  "hooks": {\n    "@": []\n  }\n}\n',
    "an empty list, spaced": '{"hooks": {"@": [ ]}, "a": 1}',
    "no value": '{"hooks": null}\n',
    "one of others": '{"hooks": {"@": [{"command": "lint"}]}}',
    "comments": '// top\n{\n  "a": 1, // one\n  /* two */ "hooks": {\n    // three\n'
    '    "@": [\n      {"command": "lint"}, // four\n    ], // five\n  },\n}\n// end',
    "line ends of Windows": '{\r\n\t"a": 1,\r\n\t"hooks": {\r\n\t\t"Other": []\r\n\t}\r\n}\r\n',
    "letters": '{"a": "é\\u00e9 \U0001f600", "b": "holdfast"}\n',
    "an order": '{"z": 1, "hooks": {"Z": [], "@": [{"command": "a"}], "A": []}, "a": 2}',
    "a byte order mark": '\ufeff{"a": 1}\n',
}
YAML_FILES = {
    "nothing in it": "",
    "a comment": "# mine\n",
    "no line end": "model: x",
    "others": "# top\nmodel: x  # one\nhooks:\n  # two\n  post_tool_call:\n"
    "    - command: lint\n    # three\n  on_start: []\n# end\n",
    "another hook": "hooks:\n  on_start:\n  - command: a\n\nz: 1\n",
    "odd line ends": 'a: "x\u2028y\x85z"\nb: 1\nhooks:\n  post_tool_call:\n'
    "    - command: lint\n\n\n# end",
}


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def put_in(agent: Edited | Owned, places: dict[str, str], brain: str = "/b") -> None:
    command = agents.hook_command("/usr/bin/python3", agent.name, Path(brain))
    install.carry_out(install.plan_install(agent, places, command))


def take_out(agent: Edited | Owned, places: dict[str, str]) -> list[str]:
    install.carry_out(install.plan_uninstall(agent, places))
    return install.left_over(agent, places)


def tree(folder: Path) -> dict[str, bytes | str]:
    """Everything below a folder: files with their bytes, links with their targets."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else ""
        for path in sorted(folder.rglob("*"))
    }


def cases() -> list[tuple[Edited, str]]:
    made = [
        (agent, text.replace("@", agent.keys[-1])) for agent in JSON for text in JSON_FILES.values()
    ]
    return made + [(HERMES, text) for text in YAML_FILES.values()]


@pytest.mark.parametrize(("agent", "text"), cases())
def test_in_and_out_leaves_every_byte(agent: Edited, text: str, places: dict[str, str]) -> None:
    path = agent.file(places)
    path.parent.mkdir()
    path.write_bytes(text.encode())
    put_in(agent, places)
    assert b"holdfast.sdk.hook" in path.read_bytes()
    put_in(agent, places, "/another")  # moved to another brain, and so replaced
    assert path.read_bytes().count(b"holdfast.sdk.hook") == 1
    assert take_out(agent, places) == []
    assert path.read_bytes() == text.encode()
    assert not undo.store(places, agent.name).exists()


@pytest.mark.parametrize("agent", agents.AGENTS, ids=lambda agent: agent.name)
def test_what_was_not_there_is_gone(
    agent: Edited | Owned, places: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / ".local" / "state").mkdir(parents=True)
    (tmp_path / ".config" / "opencode" / "plugins").mkdir(parents=True)
    (tmp_path / ".openclaw" / "extensions").mkdir(parents=True)
    before = tree(tmp_path)
    put_in(agent, places)
    assert tree(tmp_path) != before
    assert take_out(agent, places) == []
    assert tree(tmp_path) == before


@pytest.mark.parametrize(("agent", "text"), cases())
def test_what_others_change_meanwhile_stays(
    agent: Edited, text: str, places: dict[str, str]
) -> None:
    """Here the agent itself adds a setting after ours was installed."""
    path = agent.file(places)
    path.parent.mkdir()
    path.write_bytes(text.encode())
    put_in(agent, places)
    wired = path.read_bytes().decode()
    if agent.form == "yaml":
        more = re.sub(r"\A", "added: true\n", wired)
        expected = re.sub(r"\A", "added: true\n", text)
    else:
        more = wired.replace("{", '{"added": true, ', 1)
        expected = text.replace("{", '{"added": true, ', 1)
    path.write_bytes(more.encode())
    assert take_out(agent, places) == []
    if text.strip():
        assert path.read_bytes().decode() == expected
    else:
        left = path.read_bytes().decode()
        assert "holdfast" not in left
        assert "added" in left


Edit = Callable[[dict[str, object], str], None]


@pytest.mark.parametrize("agent", GROUPED, ids=lambda agent: agent.name)
def test_a_hook_put_into_our_group_stays(agent: Edited, places: dict[str, str]) -> None:
    put_in(agent, places)
    path = agent.file(places)
    data = json.loads(path.read_text())
    theirs = {"type": "command", "command": "notify-send edited"}
    data["hooks"][agent.keys[-1]][0]["hooks"].append(theirs)
    path.write_text("// mine\n" + json.dumps(data, indent=4))
    assert take_out(agent, places) == []
    left = path.read_text()
    assert left.startswith("// mine\n")
    (group,) = json.loads(left.removeprefix("// mine\n"))["hooks"][agent.keys[-1]]
    assert group["hooks"] == [theirs]
    assert "holdfast" not in left


@pytest.mark.parametrize("agent", EDITED, ids=lambda agent: agent.name)
@pytest.mark.parametrize(
    ("change", "ours"),
    [
        (("/usr/bin/python3", "/opt/other python/bin/python3.13"), False),
        (("/usr/bin/python3", "/opt/bin/python3.13"), True),
        (("/usr/bin/python3", "env A=1 nice /usr/bin/python3"), True),
        (("--brain /b", "--brain '/a b'"), True),
        (("--brain /b", "--brain /b && notify-send edited"), False),
        (("--brain /b", "--brain /b | tee log"), False),
        (("--brain /b", "--brain /b; lint"), False),
        (("--brain /b", "--brain /b $(lint)"), False),
        (("/usr/bin/python3 -I -m ", "my-wrapper "), False),
    ],
)
def test_our_entry_edited_is_ours_unless_it_does_more(
    agent: Edited, places: dict[str, str], change: tuple[str, str], *, ours: bool
) -> None:
    put_in(agent, places)
    path = agent.file(places)
    edited = path.read_text().replace(*change)
    assert edited != path.read_text()
    path.write_text(edited)
    if change[1].startswith("/opt/other"):
        # A path with a space that is not quoted is another command.
        ours = True
    left = take_out(agent, places)
    if ours:
        assert left == []
        assert "holdfast" not in (path.read_text() if path.exists() else "")
    else:
        assert path.read_text() == edited
        assert len(left) == 1
        assert str(path) in left[0]


def test_what_only_names_our_hook_is_not_ours(places: dict[str, str]) -> None:
    agent = JSON[0]
    path = agent.file(places)
    path.parent.mkdir()
    text = (
        '{"hooks": {"PostToolUse": [{"command": "echo holdfast.sdk.hook"},'
        ' {"note": "holdfast.sdk.hook was here", "command": "lint"}]}}'
    )
    path.write_text(text)
    put_in(agent, places)
    take_out(agent, places)
    assert path.read_text() == text


@pytest.mark.parametrize("agent", EDITED, ids=lambda agent: agent.name)
def test_comments_within_our_entry_stay(agent: Edited, places: dict[str, str]) -> None:
    put_in(agent, places)
    path = agent.file(places)
    mark = "#" if agent.form == "yaml" else "//"
    lines = path.read_text().splitlines()
    at = next(at for at, line in enumerate(lines) if "holdfast.sdk.hook" in line)
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    lines[at + 1 : at + 1] = [f"{indent}{mark} my note"] if agent.name != "cursor" else []
    path.write_text("\n".join(lines) + "\n")
    take_out(agent, places)
    if agent.name != "cursor":
        assert f"{mark} my note" in path.read_text()
        assert "holdfast" not in path.read_text()


def test_links_names_modes_and_attributes_stay(places: dict[str, str], tmp_path: Path) -> None:
    agent = JSON[0]
    path = agent.file(places)
    path.parent.mkdir()
    real = tmp_path / "dotfiles" / "settings.json"
    real.parent.mkdir()
    real.write_text('{"a": 1}\n')
    real.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(real, 12345, 54321)
    path.symlink_to(real)
    other = tmp_path / "other-name.json"
    before = real.stat()
    for linked in (False, True):
        if linked:
            other.hardlink_to(real)
        put_in(agent, places)
        assert path.is_symlink()
        take_out(agent, places)
        about = real.stat()
        assert (about.st_mode, about.st_uid, about.st_gid) == (
            before.st_mode, before.st_uid, before.st_gid,
        )  # fmt: skip
        assert real.read_text() == '{"a": 1}\n'
        assert not linked or other.samefile(real)


def test_a_link_to_nothing_stays(places: dict[str, str], tmp_path: Path) -> None:
    agent = JSON[0]
    path = agent.file(places)
    path.parent.mkdir()
    path.symlink_to(tmp_path / "not-there.json")
    put_in(agent, places)
    take_out(agent, places)
    assert path.is_symlink()
    assert not path.exists(), "what the link led to was not there either"


def test_links_in_a_circle_are_an_error_of_the_file(places: dict[str, str]) -> None:
    agent = JSON[0]
    path = agent.file(places)
    path.parent.mkdir()
    path.symlink_to(path)
    with pytest.raises(WiringError, match="nothing was changed"):
        put_in(agent, places)


def test_a_file_changed_between_plan_and_writing_is_not_overwritten(
    places: dict[str, str],
) -> None:
    agent = JSON[0]
    path = agent.file(places)
    path.parent.mkdir()
    path.write_text("{}")
    command = agents.hook_command("python", agent.name, Path("/b"))
    planned = install.plan_install(agent, places, command)
    path.write_text('{"model": "another"}')
    with pytest.raises(WiringError, match="changed meanwhile"):
        install.carry_out(planned)
    assert path.read_text() == '{"model": "another"}'


@pytest.mark.parametrize("agent", OWNED, ids=lambda agent: agent.name)
def test_a_plugin_edited_by_hand_stays_and_is_told(agent: Owned, places: dict[str, str]) -> None:
    put_in(agent, places)
    script = next(path for path in agent.files(places, []) if path.suffix == ".js")
    edited = script.read_text() + "// mine\n"
    script.write_text(edited)
    assert take_out(agent, places) == [str(script)]
    assert script.read_text() == edited
    with pytest.raises(WiringError, match="not as we wrote it"):
        put_in(agent, places, "/another")
    assert script.read_text() == edited


@pytest.mark.parametrize("agent", OWNED, ids=lambda agent: agent.name)
def test_a_file_of_others_in_a_plugins_place_stays(agent: Owned, places: dict[str, str]) -> None:
    for path in agent.files(places, []):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"name": "holdfast-recorder", "mine": true}')
    with pytest.raises(WiringError, match="not as we wrote it"):
        put_in(agent, places)
    take_out(agent, places)
    for path in agent.files(places, []):
        assert path.read_text() == '{"name": "holdfast-recorder", "mine": true}'


def test_an_installation_before_there_was_an_undo_is_taken_out(places: dict[str, str]) -> None:
    agent = JSON[0]
    path = agent.file(places)
    path.parent.mkdir()
    path.write_text('{"a": 1}\n')
    put_in(agent, places)
    undo.store(places, agent.name).unlink()
    take_out(agent, places)
    assert path.read_text() == '{"a": 1}\n'


def test_an_undo_that_is_damaged_is_none(places: dict[str, str]) -> None:
    for agent in (JSON[0], HERMES):
        path = agent.file(places)
        path.parent.mkdir()
        path.write_text("")
        put_in(agent, places)
        undo.store(places, agent.name).write_text('{"x": [1], "put"')
        take_out(agent, places)
        assert "holdfast" not in (path.read_text() if path.exists() else "")


def test_what_is_kept_holds_no_setting_of_others(places: dict[str, str]) -> None:
    agent = JSON[0]
    path = agent.file(places)
    path.parent.mkdir()
    path.write_text('{"env": {"API_KEY": "secret-of-others"}, "hooks": {"PostToolUse": []}}')
    put_in(agent, places)
    kept = undo.store(places, agent.name)
    assert "secret-of-others" not in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_lines_are_counted_as_yaml_counts_them() -> None:
    text = "a: 'x\u2028y\x85z'\nhooks:\n  post_tool_call:\n  - command: one\n  - command: two\n"
    left = yaml_text.drop(text, ("hooks", "post_tool_call"), lambda e: e["command"] == "one")
    assert left == text.replace("  - command: one\n", "")


@pytest.mark.parametrize("agent", EDITED, ids=lambda agent: agent.name)
def test_the_text_to_add_by_hand_is_what_the_file_takes(
    agent: Edited, places: dict[str, str]
) -> None:
    path = agent.file(places)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[1]\n" if agent.form == "json" else "- 1\n")
    with pytest.raises(WiringError) as refused:
        put_in(agent, places)
    by_hand = str(refused.value).partition(f"under {'.'.join(agent.keys)}: ")[2]
    assert json.loads(by_hand) == yaml_text.plain(by_hand)
    assert "holdfast.sdk.hook" in by_hand


@pytest.mark.parametrize("agent", JSON, ids=lambda agent: agent.name)
def test_a_file_whose_making_nobody_recorded_stays(agent: Edited, places: dict[str, str]) -> None:
    path = agent.file(places)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}\n")
    put_in(agent, places)
    undo.store(places, agent.name).unlink()
    take_out(agent, places)
    assert path.exists()
