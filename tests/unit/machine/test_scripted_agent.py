"""The scripted agent: what it reads in a prompt, and what it does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.machine.agents import scripted
from holdfast.machine.agents.scripted import default, read_prompt
from tests.support.git_workspaces import git
from tests.support.patience import patience

HEAD = "# Your work\n- role: {role}\n- bead: b1\n- branch: bead/b1/2\n\n## What is asked\n\n"
TOOL = '#!/bin/sh\necho "$@" >> "{log}"\n'


def prompt(script: str, role: str = "polecat") -> str:
    return HEAD.format(role=role) + script


def test_facts_are_those_of_the_head_and_the_environment_goes_first() -> None:
    order = read_prompt(prompt("- role: mayor\nscript: say hi"), {})
    assert (order.facts["role"], order.facts["bead"], order.number) == ("polecat", "b1", 2)
    assert order.lines == ("say hi",)
    assert read_prompt(prompt(""), {"HOLDFAST_TOWN_BEAD": "b7"}).facts["bead"] == "b7"


def test_a_script_is_a_block_or_lines_and_reviews_have_their_own() -> None:
    text = "```script\nsay one\n\nsay two\n```\n```\nsay no\n```\nreview: request-changes more"
    assert read_prompt(prompt(text), {}).lines == ("say one", "say two")
    assert read_prompt(prompt(text, "refinery"), {}).lines == ("request-changes more",)


def test_who_has_no_script_does_what_its_role_is_for() -> None:
    assert default({"role": "refinery"})[-1] == "done"
    assert default({"role": "mayor"}) == ("attend",)
    assert default({"role": "polecat", "bead": "b/1"})[1] == "write b-1.txt work on b/1"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "bead/b1/2")
    (folder / "README").write_text("a rig\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "begin")
    return folder


def play(clone: Path, text: str, *, role: str = "polecat") -> tuple[int, str, str]:
    """Run the agent; return its exit code, what it printed, and the tools that it called."""
    tool, log, file = (clone.with_name(name) for name in ("tool", "log", "prompt.md"))
    tool.write_text(TOOL.format(log=log))
    tool.chmod(0o700)
    file.write_text(prompt(text, role))
    ran = subprocess.run(
        (sys.executable, "-I", "-S", scripted.__file__, "--prompt", str(file)),
        cwd=clone, capture_output=True, text=True, timeout=patience(20), check=False,
        env={"PATH": os.environ["PATH"], "HOLDFAST_SCRIPTED_TOOL": str(tool)},
    )  # fmt: skip
    return ran.returncode, ran.stdout, log.read_text()


def test_without_a_script_it_writes_commits_and_is_done(clone: Path) -> None:
    code, _, called = play(clone, "nothing in particular")
    assert code == 0
    assert git(clone, "show", "HEAD:b1.txt") == "work on b1"
    commit = git(clone, "rev-parse", "HEAD")
    assert called.splitlines() == [
        "heartbeat", "prime", f"done --branch=bead/b1/2 --commit={commit}",
    ]  # fmt: skip


def test_it_edits_sends_and_finishes_as_its_script_says(clone: Path) -> None:
    script = "\n".join(
        f"script: {line}"
        for line in (
            "write a/b.txt one", "append a/b.txt two", "delete README", "conflict same.txt",
            "branch other/3", "commit it", "mail bob how is it", "nudge bob wake up",
            "escalate stuck help me", "run echo from the shell", "@1 fail 9", "@2 say second",
            "done pr https://forge/1",
        )
    )  # fmt: skip
    code, printed, called = play(clone, script)
    assert code == 0
    assert git(clone, "show", "other/3:a/b.txt") == "one\ntwo"
    assert "b1" in git(clone, "show", "HEAD:same.txt")
    assert git(clone, "ls-tree", "--name-only", "HEAD").split() == ["a", "same.txt"]
    assert "from the shell" in printed
    assert "second" in printed
    assert called.splitlines()[1:4] == [
        "mail --to=bob --body=how is it", "nudge --to=bob --body=wake up",
        "escalate --category=stuck --body=help me",
    ]  # fmt: skip
    assert "--branch=other/3" in called
    assert called.rstrip().endswith("--pr-url=https://forge/1")


@pytest.mark.parametrize(
    ("line", "code"),
    [("fail", 1), ("fail 7", 7), ("exit", 0), ("crash", -6), ("exec exit 5", 5), ("dance", 64)],
)
def test_it_ends_as_it_is_told(clone: Path, line: str, code: int) -> None:
    assert play(clone, f"script: {line}")[0] == code


def test_a_review_approves_or_sends_back(clone: Path) -> None:
    assert play(clone, "", role="refinery")[2].splitlines()[-1] == "done"
    text = "review: request-changes write a test"
    assert play(clone, text, role="refinery")[2].splitlines()[-1] == (
        "request-changes --body=write a test"
    )
