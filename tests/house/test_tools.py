"""The tools are as strict as documented, and every exception has its reason."""

from __future__ import annotations

import re
import tomllib

import pytest
from ruamel.yaml import YAML

from tests.house.sources import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
CONFIG = tomllib.loads(PYPROJECT)
CODE = re.compile(r'^\s*"(?P<code>[A-Z]+\d*)",?(?P<rest>.*)$')


def ruff_lines() -> list[str]:
    start = PYPROJECT.index("[tool.ruff.lint]")
    end = PYPROJECT.index("[tool.ruff.lint.pydocstyle]")
    return PYPROJECT[start:end].splitlines()


def test_every_ignored_rule_has_a_reason() -> None:
    matches = [match for line in ruff_lines() if (match := CODE.match(line))]
    lint = CONFIG["tool"]["ruff"]["lint"]
    configured = len(lint["ignore"]) + sum(map(len, lint["per-file-ignores"].values()))
    assert len([m for m in matches if m["code"] != "ALL"]) == configured, "one rule a line"
    bare = [m["code"] for m in matches if not re.search(r"#\s*\S+", m["rest"])]
    assert not bare, f"no reason beside {bare}"


def test_ruff_selects_everything() -> None:
    assert CONFIG["tool"]["ruff"]["lint"]["select"] == ["ALL"]


def test_types_and_warnings_are_strict() -> None:
    assert CONFIG["tool"]["mypy"]["strict"] is True
    assert CONFIG["tool"]["pytest"]["strict"] is True
    assert CONFIG["tool"]["pytest"]["filterwarnings"][0] == "error"


def test_the_base_needs_nothing() -> None:
    assert CONFIG["project"]["dependencies"] == []


@pytest.mark.parametrize("name", ["dev", "plane", "build", "node"])
def test_requirements_are_pinned_and_hashed(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    loose = [
        entry.splitlines()[0]
        for entry in entries
        if "==" not in entry.splitlines()[0] or "--hash=sha256:" not in entry
    ]
    assert entries
    assert not loose, f"not pinned by hash (make lock): {loose}"


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==([^\s;]+)", text, re.MULTILINE))


def test_requirement_files_agree() -> None:
    dev = pins("dev")
    plane = pins("plane")
    assert plane.items() <= dev.items(), "make lock: dev must contain plane's very versions"


def test_hooks_fetch_nothing_and_run_the_locked_tools() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    config = YAML(typ="safe").load(text)
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    programs = {hook["entry"].split()[0] for hook in hooks}
    assert programs == {".venv/bin/ruff", ".venv/bin/mypy"}


@pytest.mark.parametrize("wanted", [("ruff check", ""), ("ruff format", "--check")])
def test_hooks_judge_as_check_does(wanted: tuple[str, str]) -> None:
    command, option = wanted
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert f"$(BIN)/{command} {option}".strip() in makefile
    assert f".venv/bin/{command} {option}".strip() in hooks


def test_unseen_uses_have_their_reason() -> None:
    start = PYPROJECT.index("ignore_names = [")
    lines = PYPROJECT[start : PYPROJECT.index("]", start)].splitlines()[1:]
    assert len(lines) == len(CONFIG["tool"]["vulture"]["ignore_names"]), "one name a line"
    bare = [line for line in lines if not re.search(r"#\s*\S+", line)]
    assert not bare, f"say who uses it: {bare}"
