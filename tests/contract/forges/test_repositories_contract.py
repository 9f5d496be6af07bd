"""What every implementation of Repositories does alike."""

from __future__ import annotations

from typing import TypeVar

import pytest

from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent, Retryable
from holdfast.world.forges import port
from holdfast.world.forges.port import Branch, Checked, Gate, Landing, Trial, Workspace
from tests.support.rigs import Hands

T = TypeVar("T")
GREEN = Gate(name="green", command=("true",), timeout_s=60)
RED = Gate(name="red", command=("false",), timeout_s=60)


def good(outcome: Outcome[T]) -> T:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


def code(outcome: Outcome[T]) -> str:
    assert isinstance(outcome, Permanent | Conflict), outcome
    return outcome.code


async def workspace(
    hands: Hands, attempt: str, branch: str = "bead/1", base: str = "main"
) -> Workspace:
    return good(await hands.repositories.workspace(hands.repository, attempt, branch, base))


async def check(hands: Hands, trial: Trial, *gates: Gate) -> Outcome[Checked]:
    return await hands.repositories.check(hands.repository, trial, gates)


async def land(hands: Hands, number: str, commit: str, target: str = "main") -> Outcome[str]:
    landing = Landing(number=number, target=target, commit=commit)
    return await hands.repositories.land(hands.repository, landing)


async def collect(hands: Hands, attempt: str, branch: str = "bead/1") -> Outcome[Branch]:
    return await hands.repositories.collect(hands.repository, attempt, branch, "main")


def trial(number: str = "mr-1", branch: str = "bead/1", commit: str = "") -> Trial:
    return Trial(number=number, branch=branch, target="main", commit=commit)


async def test_work_is_collected_checked_and_landed_once(hands: Hands) -> None:
    at = await workspace(hands, "one")
    assert await workspace(hands, "one") == at
    commit = hands.work(at, {"b": "two"})
    found = good(await collect(hands, "one"))
    assert (found.commit, found.ahead, found.behind) == (commit, 1, 0)
    checked = good(await check(hands, trial(commit=commit), GREEN))
    assert [one.status for one in checked.reports] == ["passed"]
    assert hands.files("main") == {"a": "one", "shared": "0"}
    assert good(await land(hands, "mr-1", checked.commit)) == checked.commit
    assert good(await land(hands, "mr-1", checked.commit)) == checked.commit
    assert hands.files("main") == {"a": "one", "b": "two", "shared": "0"}
    assert hands.merges("main") == 1


async def test_what_is_there_already_is_found_by_its_number_whatever_is_asked(hands: Hands) -> None:
    hands.work(await workspace(hands, "one"), {"b": "two"})
    first = good(await check(hands, trial(), GREEN))
    landed = good(await land(hands, "mr-1", first.commit))
    hands.push("main", {"c": "three"})
    again = good(await check(hands, trial(), GREEN))
    assert good(await land(hands, "mr-1", again.commit)) == landed
    assert hands.merges("main") == 1


async def test_a_red_gate_is_an_answer_and_ends_the_run(hands: Hands) -> None:
    hands.work(await workspace(hands, "one"), {"b": "two"})
    checked = good(await check(hands, trial(), GREEN, RED, GREEN))
    assert [one.status for one in checked.reports] == ["passed", "failed", "not_run"]
    assert checked.reports[1].code != 0


async def test_a_target_that_went_on_wants_the_gates_again(hands: Hands) -> None:
    commit = hands.work(await workspace(hands, "one"), {"b": "two"})
    checked = good(await check(hands, trial(commit=commit), GREEN))
    hands.push("main", {"c": "three"})
    assert code(await land(hands, "mr-1", checked.commit)) == port.MOVED
    assert hands.merges("main") == 0
    again = good(await check(hands, trial(commit=checked.commit), GREEN))
    good(await land(hands, "mr-1", again.commit))
    assert hands.files("main") == {"a": "one", "b": "two", "c": "three", "shared": "0"}


async def test_only_a_trial_of_that_landing_lands(hands: Hands) -> None:
    commit = hands.work(await workspace(hands, "one"), {"b": "two"})
    checked = good(await check(hands, trial(), GREEN))
    assert code(await land(hands, "mr-1", commit)) == port.MOVED
    assert code(await land(hands, "mr-2", checked.commit)) == port.MOVED
    assert hands.files("main") == {"a": "one", "shared": "0"}


async def test_a_conflict_is_told_by_collecting_and_by_the_trial(hands: Hands) -> None:
    hands.work(await workspace(hands, "one"), {"shared": "mine"})
    hands.push("main", {"shared": "theirs"})
    found = good(await collect(hands, "one"))
    assert (found.conflicts, found.ahead, found.behind) == (True, 1, 1)
    assert code(await check(hands, trial(), GREEN)) == port.CONFLICT


async def test_what_is_not_committed_is_told(hands: Hands) -> None:
    at = await workspace(hands, "one")
    hands.work(at, {"b": "two"})
    hands.write(at, {"a": "changed"})
    assert code(await collect(hands, "one")) == port.DIRTY
    assert code(await check(hands, trial(), GREEN)) == port.DIRTY
    hands.work(at, {})
    good(await check(hands, trial(), GREEN))


async def test_a_branch_that_was_rewritten_is_told_and_the_next_attempt_goes_on_from_before(
    hands: Hands,
) -> None:
    at = await workspace(hands, "one")
    before = hands.work(at, {"b": "two"})
    good(await collect(hands, "one"))
    hands.work(at, {"b": "other"}, amend=True)
    assert code(await collect(hands, "one")) == port.REWRITTEN
    assert code(await check(hands, trial(commit=before), GREEN)) == port.REWRITTEN
    after = await workspace(hands, "two")
    assert after.base == before
    good(await check(hands, trial(commit=before), GREEN))


async def test_what_was_reviewed_is_what_is_checked(hands: Hands) -> None:
    at = await workspace(hands, "one")
    reviewed = hands.work(at, {"b": "two"})
    hands.work(at, {"b": "three"})
    assert code(await check(hands, trial(commit=reviewed), GREEN)) == port.REWRITTEN
    good(await check(hands, trial(), GREEN))


async def test_after_a_trial_the_branch_may_have_grown(hands: Hands) -> None:
    commit = hands.work(await workspace(hands, "one"), {"b": "two"})
    first = good(await check(hands, trial(commit=commit), RED))
    hands.work(await workspace(hands, "two"), {"b": "three"})
    again = good(await check(hands, trial(commit=first.commit), GREEN))
    good(await land(hands, "mr-1", again.commit))
    assert hands.files("main")["b"] == "three"


async def test_the_next_attempt_on_a_branch_goes_on_and_shuts_the_one_before_out(
    hands: Hands,
) -> None:
    at = await workspace(hands, "one")
    commit = hands.work(at, {"b": "two"})
    review = await workspace(hands, "two")
    assert review.base == commit
    hands.work(at, {"b": "behind the back of the reviewer"})
    checked = good(await check(hands, trial(), GREEN))
    good(await land(hands, "mr-1", checked.commit))
    assert hands.files("main")["b"] == "two"


async def test_a_target_that_is_not_there_begins_at_the_main_branch(hands: Hands) -> None:
    at = good(await hands.repositories.workspace(hands.repository, "one", "bead/1", "convoy/x"))
    hands.work(at, {"b": "two"})
    first = good(
        await check(hands, Trial(number="mr-1", branch="bead/1", target="convoy/x"), GREEN)
    )
    good(await land(hands, "mr-1", first.commit, "convoy/x"))
    assert hands.files("main") == {"a": "one", "shared": "0"}
    whole = good(await check(hands, trial("mr-2", "convoy/x"), GREEN))
    good(await land(hands, "mr-2", whole.commit))
    assert hands.files("main") == {"a": "one", "b": "two", "shared": "0"}


async def test_a_dropped_clone_leaves_what_it_committed(hands: Hands) -> None:
    commit = hands.work(await workspace(hands, "one"), {"b": "two"})
    good(await hands.repositories.drop(hands.repository, "one"))
    good(await hands.repositories.drop(hands.repository, "one"))
    assert code(await collect(hands, "one")) == port.NO_BRANCH
    good(await check(hands, trial(commit=commit), GREEN))


async def test_a_branch_is_published_once_and_never_over_others(hands: Hands) -> None:
    commit = hands.work(await workspace(hands, "one"), {"b": "two"})
    publish = hands.repositories.publish
    assert good(await publish(hands.repository, "bead/1")) == commit
    assert good(await publish(hands.repository, "bead/1")) == commit
    assert hands.files("bead/1")["b"] == "two"
    hands.push("bead/1", {"c": "of a person"})
    assert code(await publish(hands.repository, "bead/1")) == port.REWRITTEN


async def test_a_rig_that_another_program_keeps_locked(hands: Hands) -> None:
    hands.work(await workspace(hands, "one"), {"b": "two"})
    checked = good(await check(hands, trial(), GREEN))
    hands.lock(held=True)
    refused = await land(hands, "mr-1", checked.commit)
    assert isinstance(refused, Retryable), refused
    assert refused.code == port.RIG_LOCKED
    hands.lock(held=False)
    assert good(await land(hands, "mr-1", checked.commit)) == checked.commit


async def test_branches_that_are_not_there(hands: Hands) -> None:
    assert code(await check(hands, trial(branch="bead/none"), GREEN)) == port.NO_BRANCH
    assert code(await land(hands, "mr-1", "0" * 40, "nowhere")) == port.MOVED


@pytest.mark.parametrize("name", ["--upload-pack=x", "a b", "../x", "x.lock", "a//b", "", "x\n"])
async def test_names_that_are_no_branches(hands: Hands, name: str) -> None:
    refused = await hands.repositories.workspace(hands.repository, "one", name, "main")
    assert code(refused) == port.NO_BRANCH
    assert code(await check(hands, trial(branch=name), GREEN)) == port.NO_BRANCH


async def test_a_rig_that_is_gone(hands: Hands) -> None:
    hands.remove()
    refused = await hands.repositories.workspace(hands.repository, "one", "bead/1", "main")
    assert code(refused) == port.RIG_GONE
    assert code(await check(hands, trial(), GREEN)) == port.RIG_GONE
