"""A running brain follows verdicts given on the dashboard; and the later verdict wins."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from holdfast.outbox.box import Outbox
from holdfast.sdk import Brain, limits
from holdfast.wire.api.brains import BrainKeyCreate, LessonView
from holdfast.wire.api.endpoint import Empty
from tests.integration.outbox.intake import HttpIntake, Programs, until
from tests.integration.sdk.programs import start
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at

Opened = Callable[..., Brain]

RULE = "Write “use” instead of “utilize”."
FOLLOWER = """
with brain(durability="process", api_key=sys.argv[4]) as one:
    say("open")
    end = time.monotonic() + 200
    while ("use" in one.rules_for()) is not (sys.argv[3] == "yes") and time.monotonic() < end:
        one.correct(f"draft {os.getpid()} {time.monotonic()}", "final", session="s")
        time.sleep(0.3)
    say("follows", "use" in one.rules_for(), one.stats().dropped, one.stats().lost)
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    with plane_at(tmp_path_factory.mktemp("plane") / "home") as running:
        yield running


def key(plane: PlaneProcess, brain: str) -> str:
    with plane.client() as client:
        body = BrainKeyCreate(name=brain, brain=brain)
        secret: str = client.call("brain-key.create", body=body).key
    return secret


def taught(brain: Brain) -> None:
    """Let it learn one lesson, whose confidence is too low to be shown."""
    for session in ("one", "two"):
        brain.correct("We utilize the tool.", "We use the tool.", session=session)
    assert brain.rules_for() == ""


def on_the_dashboard(plane: PlaneProcess, brain: str) -> LessonView:
    def look() -> LessonView | None:
        with plane.client() as client:
            names = {one.name for one in client.call("brain.list").items}
            if brain not in names:
                return None
            found = client.call("lesson.list").items
        return next((one for one in found if one.brain_name == brain and one.text == RULE), None)

    found: LessonView = look_until(look)
    return found


def look_until(look: Callable[[], Any]) -> Any:
    found: list[Any] = []

    def seen() -> bool:
        value = look()
        if value:
            found.append(value)
        return bool(value)

    until(seen, "it was seen")
    return found[0]


def decide(plane: PlaneProcess, lesson: LessonView, what: str) -> LessonView:
    with plane.client() as client:
        decided: LessonView = client.call(f"lesson.{what}", path={"id": lesson.id}, body=Empty())
    return decided


def test_a_running_brain_follows_the_dashboard_while_it_records(
    real: PlaneProcess, opened: Opened
) -> None:
    brain = opened(url=real.url, api_key=key(real, "busy"))
    taught(brain)
    lesson = on_the_dashboard(real, "busy")
    numbers = count()

    def follows(*, shown: bool) -> bool:
        if not brain.stats().pending:
            number = next(numbers)
            brain.correct(f"number {number}", f"figure {number}", session="busy")
        return (RULE in brain.rules_for()) is shown

    for what, is_shown in (("approve", True), ("reject", False), ("approve", True)):
        decided = decide(real, lesson, what)
        assert not decided.taken
        until(partial(follows, shown=is_shown), f"the brain follows {what}")
        until(lambda: on_the_dashboard(real, "busy").taken, "the dashboard heard that it did")
    verdicts = [json.loads(e.data) for e in brain.tail(after=0, most=500) if e.type == "VERDICT"]
    assert [one["dashboard"]["verdict"] for one in verdicts] == ["approved", "rejected", "approved"]
    assert {one["holds"] for one in verdicts} == {"dashboard"}


def test_a_quiet_brain_hears_at_open_and_by_the_clock(
    real: PlaneProcess, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "VERDICTS_OPEN_MS", 0)
    secret = key(real, "quiet")
    first = opened(url=real.url, api_key=secret)
    taught(first)
    lesson = on_the_dashboard(real, "quiet")
    first.close()
    decide(real, lesson, "approve")
    monkeypatch.setattr(limits, "VERDICTS_EVERY_MS", 200)
    brain = opened(url=real.url, api_key=secret)
    until(lambda: RULE in brain.rules_for(), "it heard at open")
    decide(real, lesson, "reject")
    until(lambda: RULE not in brain.rules_for(), "it heard by the clock")
    assert brain.lessons()[0].state == "KILLED"


def test_eight_programs_on_one_folder_follow_and_lose_none(
    real: PlaneProcess, opened: Opened, programs: Programs, tmp_path: Path
) -> None:
    secret = key(real, "eight")
    with opened("shared", url=real.url, api_key=secret) as brain:
        taught(brain)
        brain.flush(20)
    lesson = on_the_dashboard(real, "eight")
    for what, shown in (("approve", "yes"), ("reject", "no")):
        started = [
            start(programs, FOLLOWER, tmp_path / "shared", real.url, shown, secret)
            for _ in range(8)
        ]
        for program in started:
            assert program.stdout.readline() == "open\n"
        decide(real, lesson, what)
        for program in started:
            out, err = program.communicate(timeout=patience(50))
            assert out == f"follows {shown == 'yes'} 0 0\n", err
    with opened("shared") as brain:
        events = brain.tail(after=0, most=5_000)
        verdicts = [json.loads(one.data) for one in events if one.type == "VERDICT"]
    assert [one["dashboard"]["verdict"] for one in verdicts] == ["approved", "rejected"]


def test_a_verdict_given_while_the_brain_could_not_ask_is_followed_later(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "VERDICTS_OPEN_MS", 0)
    monkeypatch.setattr(limits, "VERDICTS_EVERY_MS", 200)
    with plane_at(tmp_path / "home") as plane:
        secret = key(plane, "cut-off")
        with opened(url=plane.url, api_key=secret) as brain:
            taught(brain)
            brain.flush(20)
        lesson = on_the_dashboard(plane, "cut-off")
        decide(plane, lesson, "approve")
        plane.kill()
        later = opened(url=plane.url, api_key=secret)
        later.correct("a thing", "the thing", session="s")
        assert later.rules_for() == ""
        plane.start()
        until(lambda: RULE in later.rules_for(), "it was followed once the plane was back")
        later.close(0.5)


# ---------------------------------------------------------------------- which verdict holds


def verdict(number: int, lesson_id: str, said: str, *, age_ms: int = 0) -> dict[str, Any]:
    return {
        "number": number, "lesson_id": lesson_id, "verdict": said, "by": "ada", "age_ms": age_ms,
        "category": "STYLE", "text": RULE, "confidence": 0.6, "corrections": 2,
    }  # fmt: skip


class Deciding:
    """A plane with these verdicts, which returns `page` of them at once."""

    def __init__(self, plane: HttpIntake, *items: dict[str, Any], page: int = 100) -> None:
        self.items, self.page, self.brain = list(items), page, "brn_1"
        plane.verdicts = self.answer
        plane.answer = lambda body: (
            200,
            {},
            json.dumps({"accepted": len(body["rows"]), "verdicts": len(self.items)}).encode(),
        )

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        known = asked["known"] if asked["of"] == self.brain else 0
        items = [one for one in self.items if one["number"] > known][: self.page]
        upto = items[-1]["number"] if items else len(self.items)
        return {
            "brain": self.brain, "revision": len(self.items), "upto": upto, "items": items,
        }  # fmt: skip


def known_to(brain: Brain) -> str:
    rows = brain._outbox.read(
        lambda db: db.execute("SELECT value FROM hf_brain WHERE name = 'verdicts'").fetchall()
    )
    return str(rows[0][0]) if rows else ""


def test_of_two_verdicts_the_later_holds_and_both_are_kept(
    opened: Opened, plane: HttpIntake
) -> None:
    brain = opened()
    taught(brain)
    (lesson,) = brain.lessons()
    brain.reject(lesson.lesson_id)
    brain.close(0)
    # Given an hour before the one here: it does not win.
    deciding = Deciding(plane, verdict(1, lesson.lesson_id, "approved", age_ms=3_600_000))
    brain = opened(url=plane.url, api_key="k")
    until(lambda: known_to(brain) == "brn_1 1", "the first was taken")
    assert brain.lessons()[0].state == "KILLED"
    deciding.items.append(verdict(2, lesson.lesson_id, "approved"))
    brain.correct("some thing", "any thing", session="s")
    until(lambda: known_to(brain) == "brn_1 2", "the second was taken")
    assert brain.lessons()[0].state == "RULE"
    brain.reject(lesson.lesson_id)
    assert brain.rules_for() == ""
    verdicts = [json.loads(e.data) for e in brain.tail() if e.type == "VERDICT"]
    assert [(one["holds"], one["brain"]["verdict"]) for one in verdicts] == [
        ("brain", "rejected"), ("dashboard", "rejected"),
    ]  # fmt: skip
    with sqlite3.connect(f"{brain.folder}/system.db") as db:
        kept = db.execute("SELECT place, verdict FROM hf_verdicts ORDER BY place").fetchall()
    db.close()
    assert kept == [("brain", "rejected"), ("dashboard", "approved")]


def test_pages_are_followed_to_the_end_and_told_to_be_taken(
    opened: Opened, plane: HttpIntake
) -> None:
    items = [verdict(n, f"l{n:08x}", "approved" if n % 2 else "rejected") for n in range(1, 8)]
    Deciding(plane, *items, page=3)
    brain = opened(url=plane.url, api_key="k", name="kalle")
    until(lambda: plane.questions and plane.questions[-1]["known"] == 7, "the last was taken")
    assert [one["known"] for one in plane.questions] == [0, 3, 6, 7]
    assert {(one["version"], one["brain"]) for one in plane.questions} == {(1, "kalle")}
    # A folder that lost them has its lessons again, and never shows what was rejected.
    assert sorted(one.lesson_id for one in brain.lessons() if one.state == "RULE") == [
        "l00000001", "l00000003", "l00000005", "l00000007",
    ]  # fmt: skip
    assert brain.rules_for(most=50).count(RULE) == 4


def test_a_lesson_that_came_with_its_verdict_is_the_one_that_its_change_strengthens(
    opened: Opened, plane: HttpIntake
) -> None:
    learned = opened("elsewhere")
    taught(learned)
    (lesson,) = learned.lessons()
    Deciding(plane, verdict(1, lesson.lesson_id, "rejected"))
    brain = opened(url=plane.url, api_key="k")
    until(lambda: known_to(brain) == "brn_1 1", "it was taken")
    for session in ("one", "two", "three"):
        brain.correct("We utilize the tool.", "We use the tool.", session=session)
    assert [(one.lesson_id, one.state) for one in brain.lessons()] == [(lesson.lesson_id, "KILLED")]


def test_another_brain_at_the_other_end_tells_all_of_its_own(
    opened: Opened, plane: HttpIntake
) -> None:
    deciding = Deciding(plane, verdict(1, "l1", "approved"))
    brain = opened(url=plane.url, api_key="k")
    until(lambda: known_to(brain) == "brn_1 1", "the first was taken")
    deciding.brain, deciding.items = "brn_2", [
        verdict(1, "l2", "approved"), verdict(2, "l1", "rejected"),
    ]  # fmt: skip
    brain.correct("a b", "a c", session="s")
    until(lambda: known_to(brain) == "brn_2 2", "all of the other's were taken")
    assert {one.lesson_id: one.state for one in brain.lessons()} == {"l1": "KILLED", "l2": "RULE"}


def test_nothing_is_asked_without_a_key_with_the_switch_set_or_of_an_older_plane_again(
    opened: Opened, plane: HttpIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "VERDICTS_EVERY_MS", 50)
    keyless = opened("keyless", url=plane.url)
    assert not keyless._outbox.draining
    monkeypatch.setenv("HOLDFAST_DISABLE_WRITE_THROUGH", "1")
    off = opened("off", url=plane.url, api_key="k")
    off.rules_for()
    assert not off._outbox.draining
    assert plane.questions == []
    monkeypatch.delenv("HOLDFAST_DISABLE_WRITE_THROUGH")
    old = opened("old", url=plane.url, api_key="k")
    until(lambda: len(plane.questions) == 1, "it asked once")
    old.correct("a b", "a c", session="s")
    assert not old.flush(20).pending
    assert len(plane.questions) == 1, "a plane without the question is not asked it again so soon"


@pytest.mark.parametrize(
    "said",
    [
        {"brain": "brn_1", "revision": 1, "upto": 1, "items": [{"lesson_id": "l1"}]},
        {"brain": "brn_1", "revision": 1, "upto": "1", "items": []},
        {"brain": "brn_1", "revision": 1, "upto": 1, "items": [verdict(1, "l1", "perhaps")]},
        {"captive": "portal"},
    ],
)
def test_an_answer_that_is_none_changes_nothing(
    opened: Opened, plane: HttpIntake, said: dict[str, Any]
) -> None:
    plane.verdicts = lambda _asked: said
    brain = opened(url=plane.url, api_key="k")
    until(lambda: plane.questions, "it asked")
    box: Outbox = brain._outbox
    drain_worker = box._drain_worker
    assert drain_worker is not None
    assert drain_worker.drainer is not None
    drainer = drain_worker.drainer
    until(lambda: not drainer.fetch_busy, "it heard")
    assert (known_to(brain), brain.lessons(), drain_worker.crashes) == ("", [], 0)
