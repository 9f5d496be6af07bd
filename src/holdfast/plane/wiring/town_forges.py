"""The forges of towns: gates, landings and pull requests of a rig, by its settings.

A rig's credential is opened here, at the moment of a call, and goes to git and GitHub alone. What
gates wrote is a text of the town, named by the gate's result.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from holdfast.instances.ports import UnsealError
from holdfast.kernel.clock import Clock
from holdfast.kernel.log import TotalLog
from holdfast.kernel.outcome import Failure, Ok, Outcome, Permanent, Retryable
from holdfast.kernel.secret import Secret
from holdfast.towns import ports
from holdfast.towns.events import GateResult
from holdfast.towns.records import GateSetting, RigSettings, Text, TownRecords
from holdfast.towns.state import PullRequest
from holdfast.world.forges import port
from holdfast.world.forges.confined import confined_here
from holdfast.world.forges.git import GitRepositories
from holdfast.world.forges.names import digest
from holdfast.world.forges.port import (
    Gate,
    GateReport,
    Landing,
    Pull,
    PullRequests,
    Repositories,
    Repository,
    Trial,
)
from holdfast.world.processes.confine import Confine

NO_SETTINGS: Final = "no_rig_settings"
NO_GATE: Final = "no_gate_command"
NO_GITHUB: Final = "no_github"
ASKED_TO_WAIT: Final = "asked_to_wait"
BAD_TOKEN: Final = "bad_token"  # noqa: S105  a code

_LASTING: Final = frozenset({port.NO_PULL_REQUEST, port.RIG_GONE, NO_SETTINGS, NO_GITHUB})
"""Codes of a pull request that cannot be read later either."""


_OF_THE_RIG: Final = frozenset(
    {port.CHECKED_OUT, port.FORBIDDEN, port.RIG_GONE, port.UNCONFINED, NO_SETTINGS, BAD_TOKEN}
)
"""Codes of failures that are no fault of a branch."""


class Tokens(Protocol):
    """Opens credentials of rigs."""

    def open(self, town: str, settings: RigSettings) -> Secret:
        """Return the credential of a rig, empty where it has none; raise UnsealError."""
        ...


RepositoryOf: TypeAlias = Callable[[str, RigSettings], Repository]


def repository_of(tokens: Tokens) -> RepositoryOf:
    """Return what makes a rig's repository for the forge; it raises UnsealError.

    The key is the same for all who ask, so that clones of hosts are those that gates take from.
    """

    def make(town: str, settings: RigSettings) -> Repository:
        return Repository(
            key=digest(f"{town}/{settings.rig}"),
            url=settings.repository,
            branch=settings.branch,
            token=tokens.open(town, settings).reveal(),
        )

    return make


def git_repositories(
    root: Path, confine: Confine, clock: Clock, *, machine_ports: tuple[int, int],
    accept_unconfined: bool,
) -> GitRepositories:  # fmt: skip
    """Return repositories by git that keep their copies in `root`."""
    confined = confined_here(confine, ports=machine_ports, accept_unconfined=accept_unconfined)
    return GitRepositories(root, confined, clock)


def github_pulls() -> PullRequests | None:
    """Return pull requests by GitHub, None where its client is not installed."""
    try:
        from holdfast.world.forges.github import GitHubPulls  # noqa: PLC0415  an extra
    except ImportError:
        return None
    return GitHubPulls()


class TownForges:
    """Implements Forges of towns.

    `repository` makes the repository of a rig, as `repository_of` does; `pulls` is None where no
    pull requests can be asked about.
    """

    def __init__(
        self, records: TownRecords, repositories: Repositories, pulls: PullRequests | None, *,
        repository: RepositoryOf, clock: Clock, log: TotalLog,
    ) -> None:  # fmt: skip
        self._records = records
        self._repositories = repositories
        self._pulls = pulls
        self._repository = repository
        self._clock = clock
        self._log = log
        self._rests: dict[tuple[str, str], float] = {}

    # --------------------------------------------------------------------------- gates and landing

    async def gates(self, town: str, call: ports.GatesCall) -> Outcome[ports.GatesRan]:
        """Run gates on a trial merge; a red gate is an answer, not a failure."""
        rig = await self._rig(town, call.rig)
        if not isinstance(rig, Ok):
            return self._waits(town, call.mr, rig)
        settings, repository = rig.value
        gates = _gates(settings, call.gates)
        if not isinstance(gates, Ok):
            return gates
        trial = Trial(number=call.mr, branch=call.branch, target=call.target, commit=call.commit)
        checked = await self._repositories.check(repository, trial, gates.value)
        if not isinstance(checked, Ok):
            return self._waits(town, call.mr, checked)
        results = [await self._keep(town, call, one) for one in checked.value.reports]
        return Ok(ports.GatesRan(commit=checked.value.commit, results=tuple(results)))

    async def _keep(self, town: str, call: ports.GatesCall, report: GateReport) -> GateResult:
        """Keep what a gate wrote as a text of the town."""
        if report.status == "not_run":
            return GateResult(name=report.name, passed=False)
        one = f"gate-{call.mr}-{call.call}-{report.name}"
        text = Text(
            id=one,
            kind="gate",
            title=f"{report.name}: {_ended(report)}",
            body=report.output.decode("utf-8", "replace").replace(
                "\0", "\N{REPLACEMENT CHARACTER}"
            ),
            made_ms=self._clock.now_ms(),
        )
        await self._records.put_text(town, text)
        return GateResult(name=report.name, passed=report.status == "passed", content=one)

    async def land(self, town: str, call: ports.LandCall) -> Outcome[ports.Merged]:
        """Land a commit once; Permanent `moved` when it does not fit any more."""
        rig = await self._rig(town, call.rig)
        if not isinstance(rig, Ok):
            return self._waits(town, call.mr, rig)
        landing = Landing(number=call.mr, target=call.target, commit=call.commit)
        landed = await self._repositories.land(rig.value[1], landing)
        if not isinstance(landed, Ok):
            return self._waits(town, call.mr, landed)
        return Ok(ports.Merged(commit=landed.value))

    # ------------------------------------------------------------------------------- pull requests

    async def merge(self, town: str, call: ports.MergeCall) -> Outcome[ports.Merged]:
        """Merge a pull request once, at the head that was ready a moment ago."""
        asked = await self._asked(town, call.rig)
        if not isinstance(asked, Ok):
            return asked
        repository, pulls = asked.value
        found = await pulls.describe(repository, call.pr_url)
        if not isinstance(found, Ok):
            return self._told(town, call.mr, self._rested(town, call.rig, found))
        if (other := _other(call, found.value)) is not None:
            return self._told(town, call.mr, other)
        if found.value.state == "open" and not seen(found.value).ready:
            return Permanent(port.NOT_MERGEABLE, "something speaks against merging it by now")
        merged = await pulls.merge(repository, call.pr_url, found.value.commit)
        if not isinstance(merged, Ok):
            return self._told(town, call.mr, self._rested(town, call.rig, merged))
        return Ok(ports.Merged(commit=merged.value))

    async def poll(
        self, town: str, call: ports.PollCall
    ) -> Outcome[PullRequest | ports.Unreadable]:
        """Describe a pull request; being asked to wait is not recorded."""
        asked = await self._asked(town, call.rig)
        if isinstance(asked, Ok):
            repository, pulls = asked.value
            found = await pulls.describe(repository, call.pr_url)
            if isinstance(found, Ok):
                other = _other(call, found.value)
                if other is None:
                    return Ok(seen(found.value))
                failure: Failure = other
            else:
                failure = self._rested(town, call.rig, found)
        else:
            failure = asked
        if isinstance(failure, Retryable) and failure.code == ASKED_TO_WAIT:
            return failure
        return Ok(ports.Unreadable(code=failure.code, lasting=failure.code in _LASTING))

    async def propose(
        self, town: str, rig: str, branch: str, target: str, *, title: str, body: str
    ) -> Outcome[str]:
        """Push an agent's branch and open a pull request for it, once; return its address."""
        asked = await self._asked(town, rig)
        if not isinstance(asked, Ok):
            return asked
        repository, pulls = asked.value
        published = await self._repositories.publish(repository, branch)
        if not isinstance(published, Ok):
            return published
        opened = await pulls.open(repository, branch, target, title, body)
        return Ok(opened.value.url) if isinstance(opened, Ok) else opened

    # ------------------------------------------------------------------------------------ settings

    async def _rig(self, town: str, rig: str) -> Outcome[tuple[RigSettings, Repository]]:
        settings = await self._records.rig(town, rig)
        if settings is None or not settings.repository:
            return Permanent(NO_SETTINGS, f"rig {rig}: set its repository")
        try:
            return Ok((settings, self._repository(town, settings)))
        except UnsealError as error:
            return Permanent(BAD_TOKEN, f"{error}; set the token of rig {rig} again")

    async def _asked(self, town: str, rig: str) -> Outcome[tuple[Repository, PullRequests]]:
        """Return whom to ask about pull requests of a rig; a forge that asked to wait is not."""
        if self._rests.get((town, rig), 0) > self._clock.steady_ms():
            return Retryable(ASKED_TO_WAIT, f"rig {rig}: its forge asked to wait")
        self._rests.pop((town, rig), None)
        found = await self._rig(town, rig)
        if not isinstance(found, Ok):
            return found
        if found.value[0].forge != "github":
            return Permanent(NO_GITHUB, f"rig {rig}: its forge is git, which has no pull requests")
        if self._pulls is None:
            return Permanent(NO_GITHUB, "pull requests need: pip install 'holdfast[towns]'")
        return Ok((found.value[1], self._pulls))

    def _rested(self, town: str, rig: str, failure: Failure) -> Failure:
        """Return a failure of a forge, whose wait holds for this rig alone.

        The engine would have every rig wait for one that says how long, and a rig's forge is
        whatever address its owner sets.
        """
        if not isinstance(failure, Retryable) or failure.code != port.RATE_LIMITED:
            return failure
        self._rests[town, rig] = self._clock.steady_ms() + (failure.retry_after_ms or 0)
        return Retryable(ASKED_TO_WAIT, failure.message)

    def _waits(self, town: str, mr: str, failure: Failure) -> Failure:
        """Return a failure of gates or landing.

        What is wrong with a rig and not with a branch is mended by people: the request waits for
        that, rather than that the work on it is thrown away and done again.
        """
        told = self._told(town, mr, failure)
        return Retryable(told.code, told.message) if told.code in _OF_THE_RIG else told

    def _told(self, town: str, mr: str, failure: Failure) -> Failure:
        self._log.info(
            "town.forge_refused", town=town, mr=mr, code=failure.code, message=failure.message
        )
        return failure


def _other(call: ports.PollCall | ports.MergeCall, pull: Pull) -> Permanent | None:
    """Return the refusal of a pull request of another branch, or into another target."""
    if not call.branch or (pull.branch, pull.target) == (call.branch, call.target):
        return None
    text = f"it is of {pull.branch} into {pull.target}, and not of {call.branch} into {call.target}"
    return Permanent(port.NO_PULL_REQUEST, text)


def seen(pull: Pull) -> PullRequest:
    """Return what a town knows of a pull request.

    A draft, and one of which the forge does not know yet whether it merges, is pending.
    """
    return PullRequest(
        state=pull.state,
        conflicts=pull.mergeable is False,
        unresolved=pull.unresolved > 0,
        failing=pull.checks == "failed",
        pending=pull.state == "open"
        and (pull.checks == "pending" or pull.draft or pull.mergeable is None),
        awaiting_approval=pull.review_required,
        changes_requested=pull.changes_requested > 0,
        commit=pull.merge_commit or pull.commit,
    )


def _gates(settings: RigSettings, names: tuple[str, ...]) -> Outcome[tuple[Gate, ...]]:
    """Return the gates of these names; without a command for each, nothing is run."""
    known: dict[str, GateSetting] = {one.name: one for one in settings.gates}
    missing = [name for name in names if name not in known]
    if missing:
        return Retryable(NO_GATE, f"rig {settings.rig}: set commands of {', '.join(missing)}")
    made = (known[name] for name in names)
    return Ok(
        tuple(Gate(name=one.name, command=one.command, timeout_s=one.timeout_s) for one in made)
    )


def _ended(report: GateReport) -> str:
    seconds = f"after {report.elapsed_ms / 1_000:.1f} s"
    if report.status == "failed":
        return f"exit code {report.code} {seconds}"
    return f"{report.status.replace('_', ' ')} {seconds}"
