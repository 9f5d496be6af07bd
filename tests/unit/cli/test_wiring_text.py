"""Editing other people's settings: the intended value is added, and nothing else changed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.wiring import jsonc, yaml_text
from holdfast.cli.wiring.edits import WiringError

KEYS = ("hooks", "PostToolUse")
ENTRY = {"matcher": "Edit", "hooks": [{"type": "command", "command": "ours"}]}


def ours(entry: Any) -> bool:
    return "ours" in json.dumps(entry)


JSON_TEXTS = {
    "nothing": "",
    "an empty map": "{}\n",
    "an empty map with room": "{\n}\n",
    "others' settings": '{\n    "model": "x", // the fast one\n    "env": {"A": "1"}\n}\n',
    "a trailing comma": '{\n  "model": "x",\n}\n',
    "comments at the end": '{\n  "a": 1\n  // that is all\n}\n',
    "hooks of another event": '{\n\t"hooks": {\n\t\t"Stop": [{"command": "s"}]\n\t}\n}\n',
    "a hook of the same event": (
        '{\n  "hooks": {\n    "PostToolUse": [\n'
        '      {"matcher": "Bash", "hooks": []} // keep\n    ],\n    "Stop": []\n  }\n}\n'
    ),
    "all on one line": '{"hooks": {"PostToolUse": [{"matcher": "Bash"}]}, "z": [1, 2]}',
    "line ends of Windows": '{\r\n  "a": 1\r\n}\r\n',
    "a comment with quotes": '{ /* "hooks": { */ "a": "// no comment" }',
}


@pytest.mark.parametrize("text", JSON_TEXTS.values(), ids=JSON_TEXTS.keys())
def test_json_gains_one_entry_and_loses_it_again(text: str) -> None:
    added = jsonc.add(text, KEYS, ENTRY)

    before = jsonc.read(text).value if text.strip() else {}
    after = jsonc.read(added).value
    assert after["hooks"]["PostToolUse"][-1] == ENTRY
    assert {k: v for k, v in after.items() if k != "hooks"} == {
        k: v for k, v in before.items() if k != "hooks"
    }
    assert is_within(text, added), "every other character is where it was"
    if text.strip():
        removed = jsonc.drop(added, KEYS, ours)
        assert jsonc.read(removed).value == before
        assert "".join(removed.split()) == "".join(text.split())


def is_within(text: str, longer: str) -> bool:
    """Return whether a text is contained in a longer one in order, ignoring white space."""
    rest = iter("".join(longer.split()))
    return all(character in rest for character in "".join(text.split()))


@pytest.mark.parametrize("text", ['{"hooks": null}', '{"hooks": {"PostToolUse": null}}'])
def test_a_null_is_as_good_as_nothing(text: str) -> None:
    added = jsonc.add(text, KEYS, ENTRY)
    assert jsonc.read(added).value == {"hooks": {"PostToolUse": [ENTRY]}}


def test_only_ours_goes_and_comments_stay() -> None:
    text = (
        '{\n  "hooks": {\n    "PostToolUse": [\n      {"command": "a"}, // first\n'
        '      {"command": "ours"}, // second\n      {"command": "b"}\n    ]\n  }\n}\n'
    )
    removed = jsonc.drop(text, KEYS, ours)
    assert jsonc.read(removed).value == {
        "hooks": {"PostToolUse": [{"command": "a"}, {"command": "b"}]}
    }
    assert "// first" in removed
    assert jsonc.drop(removed, KEYS, ours) == removed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "not a map"),
        ('{"hooks": []}', "hooks is not a map"),
        ('{"hooks": {"PostToolUse": {}}}', "hooks.PostToolUse is not a list"),
        ('{\n"a": tru }', "line 2 is not JSON: want a value"),
        ("{'a': 1}", "want a key in double quotes"),
        ('{"a": 1} x', "want nothing more"),
        ('{"a" 1}', "want a colon"),
        ("[" * 100 + "]" * 100, "at most 64 levels"),
    ],
)
def test_a_file_that_is_not_understood_is_left_alone(text: str, reason: str) -> None:
    with pytest.raises(WiringError, match=re.escape(reason)):
        jsonc.add(text, KEYS, ENTRY)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=5), st.sampled_from([None, 1, 4]))
def test_any_settings_come_back(data: dict[str, Any], indent: int | None) -> None:
    data.pop("hooks", None)
    text = json.dumps(data, indent=indent)
    added = jsonc.add(text, KEYS, ENTRY)
    assert json.loads(added) == {**data, "hooks": {"PostToolUse": [ENTRY]}}
    assert json.loads(jsonc.drop(added, KEYS, ours)) == data


WAY = ("hooks", "post_tool_call")
HOOK = {"matcher": "patch|write_file", "command": 'run "ours": # not a comment', "timeout": 10}
YAML_TEXTS = {
    "nothing": "",
    "only a comment": "# my settings\n",
    "other settings": "# top\nmodel:\n  name: x   # the fast one\n\n\n# the end\n",
    "without a last line end": "model: x",
    "hooks of another event": (
        "hooks:\n  # when it ends\n  on_session_end:\n    - command: bye\n\nother: [1, 2]\n"
    ),
    "a hook of the same event": (
        "hooks:\n    post_tool_call:\n    - command: a # keep\n      timeout: 3\n"
        "    on_session_end:\n    - command: bye\nlast: |\n  text\n  more\n"
    ),
    "deep indentation": "hooks:\n        post_tool_call:\n              - command: a\n",
    "line ends of Windows": "a: 1\r\nb: 2\r\n",
}


@pytest.mark.parametrize("text", YAML_TEXTS.values(), ids=YAML_TEXTS.keys())
def test_yaml_gains_one_entry_and_loses_it_again(text: str) -> None:
    added = yaml_text.add(text, WAY, HOOK)

    assert yaml_text.plain(added)["hooks"]["post_tool_call"][-1] == HOOK
    rest = iter(added.splitlines())
    assert all(line in rest for line in text.splitlines()), "every other line is where it was"
    removed = yaml_text.drop(added, WAY, ours)
    assert removed == text or removed == text + "\n", "byte for byte, but for a last line end"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a\n", "not a map"),
        ("hooks: [a]\n", "hooks is not a map"),
        ("hooks:\n  post_tool_call: x\n", "is not a list"),
        ("a: [\n", "not YAML"),
        ("hooks:\nother: 1\n", "hooks has no value"),
        ("hooks: {}\n", "hooks is empty"),
        ("hooks: {post_tool_call: [{command: a}]}\n", "cannot be edited safely"),
    ],
)
def test_yaml_that_is_not_understood_is_left_alone(text: str, reason: str) -> None:
    with pytest.raises(WiringError, match=re.escape(reason)):
        yaml_text.add(text, WAY, HOOK)


def test_yaml_keeps_what_others_put_around_ours() -> None:
    text = (
        "hooks:\n  post_tool_call:\n    # theirs\n    - command: a\n    - command: ours\n"
        "      timeout: 3\n    # and theirs again\n    - command: b\nz: 1\n"
    )
    assert yaml_text.drop(text, WAY, ours) == (
        "hooks:\n  post_tool_call:\n    # theirs\n    - command: a\n"
        "    # and theirs again\n    - command: b\nz: 1\n"
    )
