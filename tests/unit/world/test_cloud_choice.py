"""Which machine, which region, which verdict: the pure choices about a cloud's answers."""

from __future__ import annotations

import re

import pytest

from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent, Retryable
from holdfast.world.clouds.adoption import adopt, best_candidate, create_or_adopt
from holdfast.world.clouds.port import (
    CAPACITY,
    COLLISION,
    CONFLICT,
    INVALID,
    NOT_FOUND,
    TRANSIENT,
    Machine,
    MachineSpec,
    MachineState,
    Size,
    Volume,
    VolumeSpec,
    judge_wait,
    labels_of,
    settles_destroy,
    verdict,
    verify_ours,
)
from holdfast.world.clouds.rates import SWEEP_AT_LEAST, Buckets
from holdfast.world.clouds.regions import (
    create_volume_walking,
    deprioritise,
    order_regions,
    parse_regions,
    volume_name,
)
from holdfast.world.clouds.simulated import SimulatedCloud

SPEC = MachineSpec(name="box", instance_id="i-1", sandbox_id="box", account_id="a-1")


def machine(machine_id: str, state: MachineState, updated_at_ms: int = 0) -> Machine:
    return Machine(
        id=machine_id,
        name="box",
        state=state,
        labels=labels_of(SPEC),
        updated_at_ms=updated_at_ms,
    )


# ------------------------------------------------------------------ candidates


def test_no_machine_or_only_dead_ones_is_no_candidate() -> None:
    assert best_candidate([]) is None
    assert best_candidate([machine("a", "destroyed"), machine("b", "destroying")]) is None


@pytest.mark.parametrize(
    ("states", "best"),
    [
        (("stopped", "started"), "started"),
        (("stopped", "starting"), "starting"),
        (("starting", "started"), "started"),
        (("created", "stopped"), "stopped"),
        (("stopping", "created"), "created"),
        (("replacing", "stopping"), "stopping"),
        (("failed", "replacing"), "replacing"),
        (("destroyed", "failed"), "failed"),
    ],
)
def test_the_nearest_to_running_is_the_best(
    states: tuple[MachineState, ...], best: MachineState
) -> None:
    found = best_candidate([machine(state, state, 100 - n) for n, state in enumerate(states)])
    assert found is not None
    assert found.state == best


def test_of_equals_the_newest_wins_and_order_never_matters() -> None:
    pair = [machine("old", "stopped", 1), machine("new", "stopped", 2)]
    for order in (pair, pair[::-1]):
        found = best_candidate(order)
        assert found is not None
        assert found.id == "new"


# --------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Ok(machine("a", "started")), "here"),
        (Ok(machine("a", "failed")), "here"),
        (Ok(machine("a", "destroying")), "here"),
        (Ok(machine("a", "destroyed")), "gone"),
        (Permanent(NOT_FOUND, ""), "gone"),
        (Permanent(INVALID, ""), "unknown"),
        (Retryable(TRANSIENT, ""), "unknown"),
        (Conflict(CONFLICT, ""), "unknown"),
    ],
)
def test_only_a_confirmed_absence_is_gone(outcome: Outcome[Machine], expected: str) -> None:
    assert verdict(outcome) == expected


def test_a_destroy_is_complete_by_success_or_absence_only() -> None:
    assert settles_destroy(Ok(None))
    assert settles_destroy(Permanent(NOT_FOUND, ""))
    assert not settles_destroy(Permanent(INVALID, ""))
    assert not settles_destroy(Retryable(TRANSIENT, ""))


def test_ours_is_told_by_instance_and_sandbox_not_by_epoch_or_name() -> None:
    ours = machine("a", "started")
    assert verify_ours(ours, SPEC) == Ok(ours)
    unlabelled = Machine(id="b", name="box", state="started")
    refused = verify_ours(unlabelled, SPEC)
    assert isinstance(refused, Conflict)
    assert (refused.code, refused.holder) == (COLLISION, "b")


def test_our_labels_win_over_those_asked_for() -> None:
    forged = MachineSpec(
        name="box",
        instance_id="i-1",
        sandbox_id="box",
        account_id="a-1",
        labels={"holdfast_instance": "i-2", "team": "blue"},
    )
    assert labels_of(forged)["holdfast_instance"] == "i-1"
    assert labels_of(forged)["team"] == "blue"


def test_a_wait_ends_on_the_state_on_absence_and_when_it_is_hopeless() -> None:
    up = Ok(Machine(id="a", name="box", state="started", incarnation="2"))
    assert judge_wait(up, state="started", incarnation="2") == up
    assert judge_wait(up, state="started", incarnation="") == up
    assert judge_wait(up, state="stopped", incarnation="2") is None
    assert isinstance(judge_wait(up, state="started", incarnation="1"), Conflict)
    failed = Ok(Machine(id="a", name="box", state="failed", incarnation="2"))
    assert isinstance(judge_wait(failed, state="started", incarnation="2"), Conflict)
    assert isinstance(judge_wait(Permanent(NOT_FOUND, ""), state="destroyed", incarnation=""), Ok)
    lost = Retryable(TRANSIENT, "")
    assert judge_wait(lost, state="destroyed", incarnation="") == lost


# --------------------------------------------------------------------- adoption


class Answers:
    """A cloud that gives prepared answers to the three calls of an adoption."""

    def __init__(self, **answers: object) -> None:
        self._answers = answers

    async def create(self, *_: object, **__: object) -> object:
        return self._answers["create"]

    async def describe(self, _machine_id: str) -> object:
        return self._answers["describe"]

    async def find(self, _labels: object) -> object:
        return self._answers["find"]


def answering(**answers: object) -> SimulatedCloud:
    return Answers(**answers)  # type: ignore[return-value]


async def test_other_failures_than_a_taken_name_are_passed_on() -> None:
    lost = Retryable(TRANSIENT, "no answer")
    cloud = answering(create=lost)
    assert await create_or_adopt(cloud, SPEC, idempotency_key="k", timeout_ms=1) == lost


async def test_a_holder_that_cannot_be_described_is_not_adopted() -> None:
    lost = Retryable(TRANSIENT, "no answer")
    assert await adopt(answering(describe=lost), SPEC, holder="abc") == lost


async def test_without_an_id_the_listing_is_asked_for_the_exact_name() -> None:
    other = Machine(id="o", name="other", state="started", labels=labels_of(SPEC))
    ours = machine("a", "stopped")
    assert await adopt(answering(find=Ok((other, ours))), SPEC, holder=None) == Ok(ours)
    lagging = await adopt(answering(find=Ok((other,))), SPEC, holder=None)
    assert isinstance(lagging, Retryable)


# ---------------------------------------------------------------------- regions


def test_a_list_of_regions_is_split_trimmed_and_rid_of_empties() -> None:
    assert parse_regions("ams, fra ,,iad") == ("ams", "fra", "iad")
    assert parse_regions("ams") == ("ams",)
    assert parse_regions(" , ") == ()


def test_a_preference_of_meta_regions_keeps_its_order_and_others_are_spread() -> None:
    assert order_regions(("us", "eu"), "seed") == ("us", "eu")
    listed = ("ams", "fra", "iad", "eu")
    orders = {order_regions(listed, f"seed-{number}") for number in range(50)}
    assert len(orders) > 10
    assert all(sorted(order) == sorted(listed) for order in orders)
    assert order_regions(listed, "seed-1") == order_regions(listed, "seed-1")


@pytest.mark.parametrize(
    ("regions", "failed", "expected"),
    [
        (("a", "b", "c"), "a", ("b", "c")),
        (("a", "b", "a", "c"), "a", ("b", "c")),
        (("a", "b"), "a", ("b", "a")),
        (("a", "b"), "b", ("a", "b")),
        (("a", "a"), "a", ("a", "a")),
        (("a",), "a", ("a",)),
        (("a", "b"), "z", ("a", "b")),
        (("a", "b"), None, ("a", "b")),
    ],
)
def test_a_full_region_is_tried_later_and_never_lost_for_good(
    regions: tuple[str, ...], failed: str | None, expected: tuple[str, ...]
) -> None:
    assert deprioritise(regions, failed) == expected


def test_a_volume_name_is_allowed_and_its_own() -> None:
    near = ["Sandbox-With-A-Long-Name-0001", "sandbox-with-a-long-name-0001", "s" * 63]
    names = [volume_name(one) for one in near]
    assert len(set(names)) == len(near)
    assert all(re.fullmatch(r"[a-z0-9_]{1,30}", name) for name in names)


class VolumeAnswers:
    """A cloud that answers for each region and remembers what it was asked."""

    def __init__(self, answers: dict[str, object]) -> None:
        self.answers = answers
        self.asked: list[VolumeSpec] = []

    async def create_volume(self, spec: VolumeSpec, **_: object) -> object:
        self.asked.append(spec)
        return self.answers[spec.region]


FULL = Retryable(CAPACITY, "no room")
MADE = Ok(Volume(id="vol_1", name="hf", state="created"))
BROKEN = Retryable(TRANSIENT, "no answer")


@pytest.mark.parametrize(
    ("answers", "expected", "asked"),
    [
        ({"ams": MADE}, MADE, ["ams"]),
        ({"ams": FULL, "fra": MADE}, MADE, ["ams", "fra"]),
        ({"ams": FULL, "fra": FULL}, FULL, ["ams", "fra"]),
        ({"ams": BROKEN, "fra": MADE}, BROKEN, ["ams"]),
    ],
)
async def test_only_a_lack_of_capacity_leads_to_the_next_region(
    answers: dict[str, object], expected: object, asked: list[str]
) -> None:
    cloud = VolumeAnswers(answers)
    wanted = VolumeSpec(name="hf", size_hint=Size(cpus=2))
    answer = await create_volume_walking(
        cloud,  # type: ignore[arg-type]
        wanted,
        tuple(answers),
        idempotency_key="k",
        timeout_ms=1_000,
    )
    assert answer == expected
    assert [spec.region for spec in cloud.asked] == asked
    assert all(spec.size_hint == Size(cpus=2) for spec in cloud.asked)


async def test_a_walk_through_no_regions_says_so() -> None:
    answer = await create_volume_walking(
        VolumeAnswers({}),  # type: ignore[arg-type]
        VolumeSpec(name="hf"),
        (),
        idempotency_key="k",
        timeout_ms=1_000,
    )
    assert isinstance(answer, Permanent)
    assert "regions" in answer.message


# ------------------------------------------------------------------------ rates


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    buckets = Buckets(per_s=1.0, burst=3)
    assert [buckets.take("start/a", now_ms=0) for _ in range(4)] == [0, 0, 0, 1_000]
    assert buckets.take("start/b", now_ms=0) == 0
    assert buckets.take("start/a", now_ms=999) == 1
    assert buckets.take("start/a", now_ms=1_000) == 0
    assert buckets.take("start/a", now_ms=1_000) > 0


def test_buckets_at_rest_are_forgotten() -> None:
    buckets = Buckets(per_s=1.0, burst=3)
    for number in range(20 * SWEEP_AT_LEAST):
        buckets.take(f"start/{number}", now_ms=number * 10)
    assert len(buckets) <= SWEEP_AT_LEAST
