"""Meaningless names are not used, and every subject has the same files."""

from __future__ import annotations

import re

from tests.house.sources import PACKAGE, ROOT, definitions, python_files, shown

# Each of these means "I did not find the word".
EMPTY_WORDS = {
    "util", "utils", "utility", "utilities", "helper", "helpers", "common", "misc",
    "manager", "managers", "service", "services",
}  # fmt: skip

SUBJECTS = ("instances", "pairing", "towns", "billing", "consent")
SUBJECT_FILES = {
    "__init__", "state", "events", "apply", "reconcile", "actions", "invariants", "views",
    "ports", "effects", "handlers", "presenters",
    # What the engine is handed (definition), the figures rules read (policy), the bounds.
    "definition", "policy", "limits",
    # Parts of a fold that is too long for one file, and what is read from a log (decision 0007).
    "intents", "outcomes", "contact", "keys", "transitions", "environment",
    # What a restored journal is told of the clouds (decision 0054).
    "restored",
    # More handlers of an instance: its maintenance, its start, its secrets and their names.
    "maintenance", "start_report", "secrets", "secret_catalogue",
    # Waiting requests are read from machines, not folded (decision 0021): what a request is, the
    # commands that list them, what of a list may be shown, and the cache.
    "requests", "commands", "visibility", "inbox", "turns",
    # The one status of an instance, its outages, and what its events mean (decision 0069).
    "health", "incidents", "happenings",
    # What an instance may spend: fold and rules, and the calls about it (decision 0062).
    "spend", "budgets",
    # What an instance tells the towns whose agents work on it.
    "towns",
    # Orders for another version of its agent (decision 0071).
    "upgrades",
    # Where a new instance runs and how large its machine is.
    "placement",
    # Rules and folds of a town by group, the one writer of its entities (decision 0063), and the
    # sorted sets of its index.
    "rules", "folds", "draft", "ordered", "view", "agents", "beads", "reviews", "town", "mayors",
    "hosts", "attempts", "work", "ends", "outgoing",
    # What of a town is no event, what is said of its present state, and its handlers by group
    # (decision 0067); what agents call, and who is silent (decision 0066).
    "records", "glances", "debug_glances", "calls", "work_handlers", "convoy_handlers", "tools",
    "silence",
    # What a state and a log of a town say to people, and the handlers that answer with it.
    "board", "condition", "stories", "words", "board_handlers",
    # What lists are filtered, sorted and counted by, kept in memory (decision 0055).
    "index",
}  # fmt: skip

NOT_USED = re.compile(r"^\| ([a-z, ]+) \| [a-z, ]+ \|$", re.MULTILINE)
"""Rows of the table at the end of docs/concepts/words.md: words that no name of ours uses."""

# Where one of them is a word of its own: what a person posts, doors of others.
WORDS_ALLOWED = {
    "src/holdfast/machine/agents/demo.py",  # a program of its own, which stands in for an agent
}

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def words(name: str) -> set[str]:
    return {word.lower() for word in WORD.findall(name)}


def test_words_of_a_name() -> None:
    assert words("HTTPServiceTable") == {"http", "service", "table"}
    assert words("_run_helpers") == {"run", "helpers"}


def test_no_empty_words() -> None:
    found = [
        shown(path)
        for path in python_files("src", "tools", "tests")
        if any(words(part) & EMPTY_WORDS for part in path.with_suffix("").parts[-3:])
    ]
    found += [
        f"{shown(path)}:{node.lineno} {node.name}"
        for path in python_files("src", "tools")
        for node in definitions(path)
        if words(node.name) & EMPTY_WORDS
    ]
    assert not found, "say what it is instead:\n" + "\n".join(found)


def test_subjects_have_the_known_files() -> None:
    strangers = [
        shown(path)
        for subject in SUBJECTS
        for path in (PACKAGE / subject).rglob("*.py")
        if path.stem not in SUBJECT_FILES
    ]
    assert not strangers, (
        "a subject has the files of docs/architecture.md and no others, so that who knows one "
        "knows all:\n" + "\n".join(sorted(strangers))
    )


def not_used() -> set[str]:
    text = (ROOT / "docs" / "concepts" / "words.md").read_text(encoding="utf-8")
    table = text.partition("## Words that are not used")[2]
    return {word for row in NOT_USED.findall(table) for word in row.split(", ")} - {"not"}


def test_the_glossary_lists_the_words_that_are_not_used() -> None:
    assert {"desk", "nursery", "keeper", "weather"} <= not_used()


def test_nothing_is_named_after_a_word_that_is_not_used() -> None:
    banned = not_used()
    found = [
        f"{shown(path)}:{node.lineno} {node.name}"
        for path in python_files("src")
        if shown(path) not in WORDS_ALLOWED
        for node in definitions(path)
        if words(node.name) & banned
    ]
    found += [shown(path) for path in python_files("src") if words(path.stem) & banned]
    assert not found, "docs/concepts/words.md has the word for it:\n" + "\n".join(found)
