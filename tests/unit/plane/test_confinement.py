"""A host's confinement is probed, reported, and decides which accounts may share it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any, get_args

import msgspec
import pytest

from holdfast.instances.index import Mark, Page, Query
from holdfast.letters.machine import LastContact
from holdfast.machine.confine import Kind
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.confinement import (
    NAMED_MAX,
    SPAN,
    HostWatch,
    make_admission,
    make_host_probe,
)
from holdfast.wire.api.call import Refusal
from holdfast.wire.api.instances import InstanceView, Status
from holdfast.wire.confinement import CONFINEMENT_WORDS, Confinement, read_confinement
from holdfast.wire.controller.checkin import MachineStatus
from holdfast.world.processes.probe import Offer, probe_host

BOTH = Offer(kind="bubblewrap+landlock", bubblewrap="0.8.0", landlock_abi=4)
NONE = Offer(kind="none", reason="bubblewrap: not installed; Landlock: the kernel lacks it")


def asked(offer: Offer) -> Callable[[], Awaitable[Offer]]:
    async def ask() -> Offer:
        return offer

    return ask


def test_plane_and_machine_mean_the_same_kinds() -> None:
    assert set(get_args(Kind)) | {"unknown"} == set(get_args(Confinement)) == set(CONFINEMENT_WORDS)
    assert [read_confinement(text) for text in ("none", "", "jail")] == ["none", *["unknown"] * 2]


async def test_the_host_is_asked_by_the_program_of_machines() -> None:
    offer = await probe_host(within_s=55)
    assert offer.kind in get_args(Kind)
    assert (offer.kind == "bubblewrap+landlock") == (not offer.reason)


@pytest.mark.parametrize(
    ("code", "reason"),
    [("print('{')", "ended with 0"), ("raise SystemExit(3)", "ended with 3"),
     ("import time; time.sleep(600)", "not examined within")],
)  # fmt: skip
async def test_a_host_that_does_not_answer_is_unknown_in_bounded_time(
    code: str, reason: str
) -> None:
    offer = await probe_host(
        (sys.executable, "-I", "-c", code), within_s=0.5 if "600" in code else 50
    )
    assert (offer.kind, reason in offer.reason) == ("unknown", True), offer


async def test_a_program_that_is_not_there_is_unknown() -> None:
    assert "cannot be run" in (await probe_host(("/nowhere/python",))).reason


@pytest.mark.parametrize("offer", [NONE, Offer(reason="the host was not examined within 10 s")])
async def test_a_second_account_wants_confinement_or_a_setting(offer: Offer) -> None:
    with pytest.raises(Refusal) as caught:
        await make_admission(Settings(), asked(offer))()
    problem = caught.value.problem
    assert (caught.value.status, problem.code) == (409, "unconfined")
    assert offer.reason in problem.message
    assert "apt install bubblewrap" in problem.fix
    assert "HOLDFAST_ACCEPT_UNCONFINED=true" in problem.fix
    await make_admission(Settings(accept_unconfined=True), asked(offer))()


@pytest.mark.parametrize("kind", ["landlock", "bubblewrap", "bubblewrap+landlock"])
async def test_any_confinement_lets_accounts_share_a_host(kind: Confinement) -> None:
    await make_admission(Settings(), asked(Offer(kind=kind)))()


async def test_what_is_switched_off_is_not_offered() -> None:
    offer = await make_host_probe(Settings(confine="none"))()
    assert (offer.kind, offer.reason) == ("none", "HOLDFAST_CONFINE=none switches it off")
    with pytest.raises(Refusal) as caught:
        await make_admission(Settings(), asked(offer))()
    assert "take HOLDFAST_CONFINE=none away" in caught.value.problem.fix


class Fleet:
    """Running and stopped instances, their machines' reports, and their accounts."""

    def __init__(self, told: dict[str, Confinement], accounts: int = 1) -> None:
        self.told = told
        self.owners = ["account"] * accounts
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        self.spans: list[int] = []
        self.read = 0

    async def page(self, query: Query) -> Page:
        assert (query.account, query.statuses, query.sort) == (None, ("running",), "name")
        after = query.after.name if query.after else ""
        names = [name for name in sorted(self.told) if not name.startswith("stopped")]
        ids = tuple(name for name in names if name > after)[: query.limit]
        self.spans.append(len(ids))
        last = ids[-1] if ids else ""
        more = Mark(last, last, last) if ids and last != names[-1] else None
        return Page(ids, more, len(names), {})

    async def view(self, view: str, key: str) -> tuple[bytes, str, int] | None:
        assert view == "instance"
        self.read += 1
        return self.row(key), "local", 0

    def row(self, name: str) -> bytes:
        status: Status = "stopped" if name.startswith("stopped") else "running"
        return msgspec.json.encode(
            InstanceView(
                id=name, name=name, account="local", agent="demo", desired="running",
                status=status, restarts=0, last_contact_at=None, created_at=None,
            )
        )  # fmt: skip

    async def accounts(self) -> list[str]:
        return self.owners

    def contact(self, instance: str) -> LastContact:
        return LastContact(
            status=MachineStatus(uptime_seconds=0, load_avg_5m=0, confinement=self.told[instance])
        )

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **fields: self.lines.append((level, event, fields))

    def watch(self, offer: Offer, **settings: Any) -> HostWatch:
        return HostWatch(
            self, self, self, self, settings=Settings(**settings), log=self,
            probe=asked(offer),
        )  # fmt: skip


async def test_the_doctor_counts_machines_and_names_the_unconfined_first() -> None:
    told: dict[str, Confinement] = {f"m{n:04}": "bubblewrap+landlock" for n in range(450)}
    told.update({f"bare{n}": "none" for n in range(7)}, stopped="none", old="unknown")
    fleet = Fleet(told)
    check = await fleet.watch(BOTH).check()
    assert fleet.read == NAMED_MAX, "no rows but those of who is named"
    assert check.result == "warning"
    assert check.message == (
        "not confined: bare0, bare1, bare2, bare3, bare4 and 2 more; this host offers: bubblewrap"
        " and Landlock; running machines: 7 none, 1 unknown, 450 bubblewrap+landlock"
    )
    assert check.fix == "holdfast instance restart bare0 and the others"


async def test_a_large_fleet_is_looked_at_in_spans() -> None:
    fleet = Fleet({f"m{n:05}": "landlock" for n in range(2 * SPAN + 1)})
    check = await fleet.watch(BOTH).check()
    assert f"running machines: {2 * SPAN + 1} landlock" in check.message
    assert fleet.spans == [SPAN, SPAN, 1]
    assert fleet.read == 0


@pytest.mark.parametrize(
    ("accounts", "accepted", "result"),
    [(1, False, "warning"), (2, False, "failed"), (2, True, "warning")],
)
async def test_the_doctor_says_it_loudly_when_accounts_share_a_bare_host(
    accounts: int, result: str, *, accepted: bool
) -> None:
    watch = Fleet({"a": "none"}, accounts).watch(NONE, accept_unconfined=accepted)
    check = await watch.check()
    assert check.result == result
    assert ("2 accounts share this host" in check.message) == (accounts > 1)
    assert f"this host offers: nothing ({NONE.reason})" in check.message
    assert check.fix == (
        "install bubblewrap (apt install bubblewrap), then holdfast instance restart a"
    )


async def test_all_is_well_where_everything_is_confined() -> None:
    check = await Fleet({"a": "landlock", "old": "unknown"}, 3).watch(BOTH).check()
    assert (check.result, check.fix) == ("ok", "")


@pytest.mark.parametrize(
    ("offer", "accounts", "said"),
    [(BOTH, 2, ("info", "host.confinement")), (NONE, 1, ("warning", "host.unconfined")),
     (NONE, 2, ("error", "host.unconfined"))],
)  # fmt: skip
async def test_the_log_says_what_the_host_offers(
    offer: Offer, accounts: int, said: tuple[str, str]
) -> None:
    fleet = Fleet({}, accounts)
    await fleet.watch(offer).log_support()
    ((level, event, fields),) = fleet.lines
    assert (level, event) == said
    assert (fields["kind"], fields["reason"]) == (offer.kind, offer.reason)
