"""Each agent's hook payload on standard input, and the edits parsed from it."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.sdk.payload import EDITS_MAX, Edit, Report, read

PATCH = """*** Begin Patch
*** Add File: new.md
+Hello
*** Update File: src/greet.py
@@ def greet():
 def greet():
-    print("Dear")
+    print("Hello")
@@
-end
+the end
*** Delete File: old.md
*** End Patch"""

CLAUDE = {
    "session_id": "s-1",
    "hook_event_name": "PostToolUse",
    "tool_name": "Edit",
    "tool_input": {"file_path": "a.md", "old_string": "Dear", "new_string": "Hello"},
    "tool_response": {"filePath": "a.md"},
}
HUNKS = (
    Edit('def greet():\n    print("Dear")', 'def greet():\n    print("Hello")', "src/greet.py"),
    Edit("end", "the end", "src/greet.py"),
)


@pytest.mark.parametrize(
    ("payload", "report"),
    [
        pytest.param(CLAUDE, Report((Edit("Dear", "Hello", "a.md"),), "s-1", "Edit"), id="claude"),
        pytest.param(
            {
                "session_id": "s-2",
                "tool_name": "MultiEdit",
                "tool_input": {
                    "file_path": "a.md",
                    "edits": [
                        {"old_string": "a", "new_string": "b"},
                        {"old_string": "c", "new_string": "c"},
                        {"old_string": "d", "new_string": "e"},
                    ],
                },
            },
            Report((Edit("a", "b", "a.md"), Edit("d", "e", "a.md")), "s-2", "MultiEdit"),
            id="several edits, one of which changes nothing",
        ),
        pytest.param(
            {
                "tool_name": "Write",
                "tool_input": {"file_path": "a.md", "content": "new"},
                "tool_response": {"originalFile": "old"},
            },
            Report((Edit("old", "new", "a.md"),), None, "Write"),
            id="a whole file and what it replaced",
        ),
        pytest.param(
            {"tool_name": "apply_patch", "tool_input": {"command": PATCH}, "session_id": "c"},
            Report(HUNKS, "c", "apply_patch"),
            id="codex",
        ),
        pytest.param(
            {"tool": "apply_patch", "input": {"command": ["apply_patch", PATCH]}},
            Report(HUNKS, None, "apply_patch"),
            id="codex, the command as words",
        ),
        pytest.param(
            {
                "hook_event_name": "post_tool_call",
                "tool_name": "patch",
                "tool_input": {"path": "a.md", "old_string": "x", "new_string": "y"},
            },
            Report((Edit("x", "y", "a.md"),), None, "patch"),
            id="hermes",
        ),
        pytest.param(
            {
                "conversation_id": "k",
                "file_path": "a.md",
                "edits": [{"old_string": "x", "new_string": "y"}],
            },
            Report((Edit("x", "y", "a.md"),), "k", ""),
            id="cursor, flat",
        ),
        pytest.param(
            {
                "tool_name": "edit",
                "tool_input": {"filePath": "a.md", "oldString": "x", "newString": "y"},
                "session_id": "o",
            },
            Report((Edit("x", "y", "a.md"),), "o", "edit"),
            id="opencode",
        ),
        pytest.param(
            {
                "tool_name": "edit",
                "tool_input": {"path": "a.md", "oldText": "x", "newText": "y"},
                "session_id": "agent:main:main",
            },
            Report((Edit("x", "y", "a.md"),), "agent:main:main", "edit"),
            id="openclaw",
        ),
    ],
)
def test_each_agent_is_understood(payload: dict[str, Any], report: Report) -> None:
    assert read(payload) == report


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"tool_name": "Bash", "tool_input": {"command": "ls"}},
        {"tool_name": "Write", "tool_input": {"content": "new"}},
        {"tool_name": "Edit", "tool_input": {"old_string": "same", "new_string": "same"}},
        {"tool_name": "Edit", "tool_input": {"old_string": "", "new_string": "all new"}},
        {"tool_name": "Edit", "tool_input": {"old_string": 1, "new_string": None}},
        {"tool_name": 3, "tool_input": "text", "edits": [1, "x", {}]},
    ],
)
def test_what_is_no_edit_is_no_correction(payload: dict[str, Any]) -> None:
    assert not read(payload).edits


def test_a_flood_of_edits_is_bounded() -> None:
    edits = [{"old_string": f"a{n}", "new_string": f"b{n}"} for n in range(EDITS_MAX + 9)]
    assert len(read({"tool_input": {"edits": edits}}).edits) == EDITS_MAX
