"""The campaign's report: rules that were never reached, failures with the command to rerun."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import holdfast.instances.reconcile
from holdfast.sim import runner
from holdfast.sim.scenario import Outcome

NAME = re.compile(r"[a-z_]+(\.[a-z_]+)*")


def named_rules() -> set[str]:
    """Every text in the rules' source that stands where a rule's name does."""
    tree = ast.parse(Path(holdfast.instances.reconcile.__file__).read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        place = {"Hold": 0, "_note": 1, "_do": 2}.get(node.func.id)
        if place is None or len(node.args) <= place:
            continue
        name = node.args[place]
        if isinstance(name, ast.Constant) and NAME.fullmatch(str(name.value)):
            found.add(str(name.value))
    return found


def test_every_rule_of_the_source_is_looked_for() -> None:
    named = named_rules()
    assert len(named) > 30
    assert named - runner.RULES == set()


def test_a_failure_is_told_with_its_seed_and_how_to_run_it_again() -> None:
    told: list[int] = []
    outcomes = [
        Outcome(seed=4, steps=10, rules={"start": 2}, planes=3),
        Outcome(seed=5, steps=20, failure="two machines", planes=1),
    ]
    summary = runner.Summary()
    for outcome in outcomes:
        summary.add(outcome)
        told.append(summary.seeds)
    text = runner.report(summary, 2.0)
    assert told == [1, 2]
    assert "2 seeds, 30 steps" in text
    assert "seed 5: two machines" in text
    assert 'make sim ARGS="--from 5 --seeds 1"' in text
    assert "twins.find" in text.split("never reached:")[1]
    assert "1 of 2 seeds failed" in text


def test_a_campaign_runs_its_seeds() -> None:
    seen: list[int] = []
    summary = runner.run_campaign(
        range(12, 14), jobs=1, folder="", tell=lambda _summary, outcome: seen.append(outcome.seed)
    )
    assert seen == [12, 13]
    assert summary.failures == {}
    assert summary.rules["start"] > 0
