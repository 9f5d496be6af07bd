"""Handlers about brains, for people and pages; an invisible brain is answered with 404."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.actors import calls
from holdfast.corrections import views
from holdfast.corrections.directory import Directory
from holdfast.corrections.ports import (
    CorrectionQuery,
    CorrectionsStore,
    InstanceOwner,
    LessonQuery,
    LessonRow,
)
from holdfast.corrections.records import Brain
from holdfast.corrections.watch import Watch
from holdfast.kernel.clock import HOUR_MS
from holdfast.letters.topics import BRAIN, LESSON, Publish
from holdfast.wire.api.brains import (
    BrainAlertList,
    BrainCreate,
    BrainKeyCreate,
    BrainKeyCreated,
    BrainKeyList,
    BrainList,
    BrainView,
    CorrectionList,
    LessonList,
    LessonView,
)
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.limits import PAGE_ITEMS_MAX


class BrainCalls:
    """One method for each endpoint for people."""

    def __init__(
        self,
        store: CorrectionsStore,
        directory: Directory,
        watch: Watch,
        *,
        publish: Publish,
        instance_owner: InstanceOwner,
        account_exists: calls.AccountExists,
        default_account: str,
    ) -> None:
        """Use `default_account` for an operator who names no account."""
        self._store = store
        self._directory = directory
        self._watch = watch
        self._publish = publish
        self._instance_owner = instance_owner
        self._account_exists = account_exists
        self._default_account = default_account

    def by_endpoint(self) -> dict[str, Callable[[Call], Awaitable[Reply]]]:
        """Return the handlers by the names of their endpoints."""
        return {
            "correction.list": self.list_corrections,
            "correction.get": self.show_correction,
            "brain.list": self.list_brains,
            "brain.create": self.make_brain,
            "brain.get": self.show_brain,
            "brain.trend": self.show_trend,
            "brain.alerts": self.list_alerts,
            "lesson.list": self.list_lessons,
            "lesson.approve": self.approve,
            "lesson.reject": self.reject,
            "brain-key.list": self.list_keys,
            "brain-key.create": self.make_key,
            "brain-key.revoke": self.revoke_key,
        }

    async def list_corrections(self, call: Call) -> Reply:
        """List corrections, newest first."""
        account, limit = calls.listed_account(call), calls.page_limit(call)
        brain = self._asked_brain(call)
        words = views.search_words(call.query.get("text", ""))
        if (call.query.get("text") and not words) or (call.query.get("brain") and brain is None):
            return Reply(CorrectionList(items=()))
        query = CorrectionQuery(
            account=account,
            below=calls.cursor(call, 1)[0],
            limit=limit + 1,
            brain=0 if brain is None else brain.no,
            category=call.query.get("category", "").upper(),
            severity=call.query.get("severity", "").lower(),
            session=call.query.get("session", ""),
            words=words,
        )
        rows, below = (
            await self._store.search(query) if words else (await self._store.corrections(query), 0)
        )
        items = tuple(
            views.correction_view(row, self._directory.shown(row.brain)) for row in rows[:limit]
        )
        below = rows[limit - 1].no if len(rows) > limit else below
        return Reply(CorrectionList(items=items, next=str(below) if below else ""))

    async def show_correction(self, call: Call) -> Reply:
        """Show one correction."""
        no = views.correction_no(call.path["id"])
        found = await self._store.correction(no, call.principal.account) if no else None
        if found is None:
            raise calls.missing("correction", field="id")
        brain = self._directory.shown(found.row.brain)
        return Reply(views.correction_detail(found, brain))

    async def list_brains(self, call: Call) -> Reply:
        """List brains by name."""
        limit = calls.page_limit(call)
        brains = self._directory.brains_of(calls.listed_account(call))
        after = call.query.get("after", "")
        if after:
            last = self._directory.find(after, call.principal.account)
            if last is None:
                raise calls.bad_cursor()
            brains = [one for one in brains if (one.name, one.id) > (last.name, last.id)]
        shown = brains[:limit]
        items = tuple(self._view(brain) for brain in shown)
        return Reply(BrainList(items=items, next=shown[-1].id if len(brains) > limit else ""))

    async def make_brain(self, call: Call) -> Reply:
        """Make a brain; refuse (409) a name that is taken."""
        body: BrainCreate = call.body
        account = await self._own_account(call, body.account)
        if body.instance and self._instance_owner(body.instance) != account:
            raise calls.missing(
                "instance", field="instance",
                fix="name an instance of the same account, or none",
            )  # fmt: skip
        if self._directory.find(body.name, account) is not None:
            raise Refusal(
                409, "name_taken", "a brain has this name", field="name", fix="choose another"
            )
        brain = await self._directory.make_brain(body.name, account=account, instance=body.instance)
        self._publish(BRAIN, brain.id, brain.account)
        return Reply(self._view(brain), status=201)

    async def show_brain(self, call: Call) -> Reply:
        """Show one brain with its senders."""
        brain = self._visible(call)
        detail = views.brain_detail(
            self._view(brain),
            self._directory.standings_of(brain.no),
            self._directory.counts_of(brain.no),
            self._directory.aliases_of(brain.no),
        )
        return Reply(detail)

    async def show_trend(self, call: Call) -> Reply:
        """Show how many corrections a brain made, and how severe."""
        brain = self._visible(call)
        trend = views.TRENDS[call.query.get("window") or views.TREND_DEFAULT]
        since = views.trend_since(trend, call.now_ms) // HOUR_MS
        rows = await self._store.hours(brain.no, since)
        return Reply(views.trend_charts(rows, trend, call.now_ms))

    async def list_alerts(self, call: Call) -> Reply:
        """List current alerts, the oldest first."""
        one = self._asked_brain(call)
        brains = [one] if one is not None else self._directory.brains_of(calls.listed_account(call))
        if call.query.get("brain") and one is None:
            brains = []
        found = await self._watch.alerts(brains)
        return Reply(BrainAlertList(items=tuple(found[:PAGE_ITEMS_MAX])))

    async def list_lessons(self, call: Call) -> Reply:
        """List lessons, last changed first."""
        limit, brain = calls.page_limit(call), self._asked_brain(call)
        if call.query.get("brain") and brain is None:
            return Reply(LessonList(items=()))
        decision = call.query.get("decision", "*")
        below_ms, below = calls.cursor(call, 2)
        rows = await self._store.lessons(
            LessonQuery(
                account=calls.listed_account(call),
                below_ms=below_ms,
                below=below,
                limit=limit + 1,
                brain=0 if brain is None else brain.no,
                state=call.query.get("state", "").upper(),
                decision="" if decision == "none" else decision,
            )
        )
        items = tuple(map(self._lesson, rows[:limit]))
        last = rows[limit - 1] if len(rows) > limit else None
        return Reply(
            LessonList(items=items, next="" if last is None else f"{last.updated_ms}-{last.no}")
        )

    async def approve(self, call: Call) -> Reply:
        """Approve a lesson."""
        return await self._decide(call, "approved")

    async def reject(self, call: Call) -> Reply:
        """Reject a lesson."""
        return await self._decide(call, "rejected")

    async def _decide(self, call: Call, decision: str) -> Reply:
        no = views.lesson_no(call.path["id"])
        who = call.principal
        row = None
        if no:
            row = await self._store.decide(
                no, decision, by=who.name, account=who.account, now_ms=call.now_ms
            )
        if row is None:
            raise calls.missing("lesson", field="id")
        brain = self._directory.brain(row.brain)
        self._directory.note_decided(brain.no, row.verdict_no)
        self._publish(LESSON, brain.id, brain.account)
        return Reply(self._lesson(row))

    def _lesson(self, row: LessonRow) -> LessonView:
        brain = self._directory.shown(row.brain)
        return views.lesson_view(row, brain, taken=self._directory.taken(brain.no))

    async def list_keys(self, call: Call) -> Reply:
        """List brain keys."""
        found = self._directory.keys_of(calls.listed_account(call))[:PAGE_ITEMS_MAX]
        return Reply(BrainKeyList(items=tuple(self._key_view(key) for key in found)))

    async def make_key(self, call: Call) -> Reply:
        """Make a key, and the brain that it names if needed."""
        body: BrainKeyCreate = call.body
        account = await self._own_account(call, body.account)
        no = 0
        if body.brain:
            brain = self._directory.find(body.brain, account)
            if brain is None:
                brain = await self._directory.make_brain(body.brain, account=account)
                self._publish(BRAIN, brain.id, brain.account)
            no = brain.no
        secret, key = await self._directory.make_key(
            body.name, account=account, brain=no, created_by=call.principal.name
        )
        return Reply(BrainKeyCreated(key=secret, view=self._key_view(key)), status=201)

    async def revoke_key(self, call: Call) -> Reply:
        """Revoke a key."""
        key = await self._directory.revoke_key(call.path["id"], account=call.principal.account)
        return Reply(self._key_view(key))

    def _key_view(self, key: Any) -> Any:
        return views.key_view(key, self._directory.shown(key.brain) if key.brain else None)

    def _view(self, brain: Brain) -> BrainView:
        return views.brain_view(
            brain,
            self._directory.standings_of(brain.no),
            self._directory.counts_of(brain.no),
            self._watch.alerts_of(brain),
        )

    def _visible(self, call: Call) -> Brain:
        """Return the brain of a path; refuse (404) one not visible to the caller."""
        brain = self._directory.find(call.path["id"], call.principal.account)
        if brain is None:
            raise calls.missing("brain", field="id")
        return brain

    def _asked_brain(self, call: Call) -> Brain | None:
        """Return the brain that a list is filtered by; None where it is not visible."""
        named = call.query.get("brain", "")
        return self._directory.find(named, call.principal.account) if named else None

    async def _own_account(self, call: Call, asked: str) -> str:
        """Return the account to create in; refuse (404) another's or an unknown one."""
        return await calls.account_to_create_in(
            call, asked, default=self._default_account, exists=self._account_exists
        )
