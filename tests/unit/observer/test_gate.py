"""Only a signed, newer grant for this node opens the gate, and only its classes."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.kernel.clock import ManualClock
from holdfast.kernel.log import NoLog
from holdfast.machine.observer import gate, limits
from holdfast.machine.observer.gate_file import FILE, Gate
from holdfast.wire.consent import CLASSES, ContentClass, Receipt, SignedDocument
from tests.support.consent_signer import NODE, Signer, answer, to_json
from tests.support.gate_fuzz import CASES_IN_SUITE, fuzz

SIGNER = Signer()
NOW_MS = 1_700_000_000_000


class Lines(NoLog):
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.lines.append((level, event, fields))

    def events(self) -> list[str]:
        return [event for _, event, _ in self.lines]


class Stage:
    """A gate on a disk, with a clock that is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(NOW_MS)
        self.log = Lines()
        self.gate = self.opened()
        assert self.gate.pin(NODE, SIGNER.public) == ""

    def opened(self) -> Gate:
        return Gate(self.folder, clock=self.clock, log=self.log)

    def restart(self) -> None:
        self.gate = self.opened()

    def hear(self, grant: SignedDocument | None = None, **more: Any) -> None:
        self.gate.heard(200, answer(grant, **more))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_signed_grant_opens_its_classes_and_no_other(stage: Stage) -> None:
    assert stage.gate.open_classes() == frozenset()
    stage.hear(SIGNER.grant(1, ["logs", "memory"]))
    assert stage.gate.open_classes() == {"logs", "memory"}
    assert stage.gate.may_send("logs")
    assert not stage.gate.may_send("transcripts")
    stage.hear(SIGNER.grant(2, ["transcripts"]))
    assert stage.gate.open_classes() == {"transcripts"}


def test_sync_allowed_alone_opens_nothing(stage: Stage) -> None:
    stage.hear(sync_allowed=True, reason="intent_started")
    assert stage.gate.open_classes() == frozenset()
    assert stage.gate.closed_because() == gate.NO_GRANT


def test_what_another_node_is_allowed_opens_nothing_of_this_one(stage: Stage) -> None:
    stage.hear(SIGNER.grant(1, ["logs"]), node=NODE)
    assert stage.gate.may_send("logs")
    stage.hear(sync_allowed=True, node="nd_another")
    assert not stage.gate.may_send("logs")
    stage.hear(sync_allowed=True, node=NODE)
    assert stage.gate.may_send("logs")


@pytest.mark.parametrize("said", [None, "true", 1, False, {}, []])
def test_a_server_that_does_not_say_true_gets_nothing(stage: Stage, said: object) -> None:
    stage.hear(SIGNER.grant(1, CLASSES), sync_allowed=said)
    assert stage.gate.open_classes() == set(CLASSES)
    sent = {content for content in CLASSES if stage.gate.may_send(content)}
    assert sent == ({"counters"} if said is False else set())


def forged() -> list[tuple[str, SignedDocument]]:
    good = SIGNER.grant(7, CLASSES)
    other = SIGNER.grant(8, CLASSES)
    receipt = Receipt(
        version=1, node=NODE, number=9, act="granted", classes=CLASSES, at_ms=NOW_MS, by="o",
        credential="c", text_version="1",
    )  # fmt: skip
    return [
        ("another key", Signer(2).grant(7, CLASSES)),
        ("another node", SIGNER.grant(7, CLASSES, node="nd_ffffffffffffffffffff")),
        ("another's signature", msgspec.structs.replace(good, signature=other.signature)),
        ("no signature", msgspec.structs.replace(good, signature="")),
        ("a receipt", SIGNER.sign(receipt)),
        ("a successor", SIGNER.successor(Signer(2).public)),
        ("an old number", SIGNER.grant(3, CLASSES)),
        ("the number of now", SIGNER.grant(5, CLASSES)),
    ]


@pytest.mark.parametrize(("name", "signed"), forged(), ids=[name for name, _ in forged()])
def test_what_is_forged_or_replayed_changes_nothing(
    stage: Stage, name: str, signed: SignedDocument
) -> None:
    stage.hear(SIGNER.grant(5, ["logs"]))
    stage.hear(signed)
    assert stage.gate.open_classes() == {"logs"}, name
    assert stage.gate.number == 5
    stage.restart()
    assert stage.gate.open_classes() == {"logs"}


@pytest.mark.parametrize("status", [0, 199, 300, 302, 401, 403, 429, 500, 503])
def test_an_answer_that_is_no_success_is_not_read(stage: Stage, status: int) -> None:
    assert stage.gate.heard(status, answer(SIGNER.grant(1, CLASSES))) is None
    assert stage.gate.open_classes() == frozenset()


def test_a_grant_ends_when_it_says_and_a_clock_set_back_prolongs_nothing(stage: Stage) -> None:
    stage.hear(SIGNER.grant(1, ["logs"], at_ms=NOW_MS, until_ms=NOW_MS + 60_000))
    stage.clock.jump(-3_600_000)
    stage.clock.advance(59_999)
    assert stage.gate.open_classes() == {"logs"}
    stage.clock.advance(1)
    assert stage.gate.open_classes() == frozenset()
    assert stage.gate.closed_because() == gate.EXPIRED
    stage.gate.look()
    stage.clock.jump(-3_600_000)
    stage.restart()
    assert stage.gate.open_classes() == frozenset()


def test_a_clock_set_forward_ends_it_too(stage: Stage) -> None:
    stage.hear(SIGNER.grant(1, ["logs"], at_ms=NOW_MS, until_ms=NOW_MS + 60_000))
    stage.clock.jump(60_000)
    assert stage.gate.open_classes() == frozenset()
    stage.clock.jump(-60_000)
    assert stage.gate.open_classes() == frozenset()


def test_time_that_was_seen_is_kept_over_a_restart_with_the_clock_set_back(stage: Stage) -> None:
    stage.hear(SIGNER.grant(1, ["logs"], at_ms=NOW_MS, until_ms=NOW_MS + 60_000))
    stage.clock.advance(50_000)
    stage.gate.remember_time()
    stage.clock.jump(-50_000)
    stage.restart()
    stage.clock.advance(10_000)
    assert stage.gate.open_classes() == frozenset()


def test_a_server_that_falls_silent_is_sent_nothing(stage: Stage) -> None:
    stage.hear(SIGNER.grant(1, ["logs"]))
    assert stage.gate.may_send("logs")
    stage.clock.advance(limits.WORD_MS)
    assert not stage.gate.may_send("logs")
    stage.hear()
    assert stage.gate.may_send("logs")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b'{"version":2}', b"\xff\xfe", b"[" * 100_000, b"{}" * 40_000],
    ids=range(8),
)
def test_a_damaged_file_is_a_closed_gate(stage: Stage, content: bytes) -> None:
    stage.hear(SIGNER.grant(1, CLASSES))
    (stage.folder / FILE).write_bytes(content)
    stage.restart()
    stage.hear(SIGNER.grant(2, CLASSES))
    assert stage.gate.open_classes() == frozenset()
    assert "remove it" in stage.gate.pin(NODE, SIGNER.public)


def test_every_flipped_byte_of_the_file_opens_no_more(stage: Stage) -> None:
    stage.hear(SIGNER.grant(1, ["logs"]))
    path = stage.folder / FILE
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert stage.opened().open_classes() <= {"logs"}, at


def test_a_missing_file_is_a_closed_gate_that_may_be_pinned(stage: Stage) -> None:
    stage.hear(SIGNER.grant(1, CLASSES))
    (stage.folder / FILE).unlink()
    stage.restart()
    stage.hear(SIGNER.grant(2, CLASSES))
    assert stage.gate.open_classes() == frozenset()
    assert stage.gate.closed_because() == gate.UNPINNED
    assert stage.gate.pin(NODE, SIGNER.public) == ""
    assert stage.gate.open_classes() == frozenset()


def test_a_pinned_key_is_not_replaced(stage: Stage) -> None:
    assert "another key" in stage.gate.pin(NODE, Signer(2).public)
    assert "another key" in stage.gate.pin("nd_other", SIGNER.public)
    assert stage.gate.pin(NODE, SIGNER.public) == ""
    assert "Ed25519" in stage.gate.pin(NODE, "short")


def test_a_grant_that_cannot_be_written_does_not_open(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("holdfast.machine.controller.process.atomic_file.write", full)
        stage.hear(SIGNER.grant(1, CLASSES))
        assert stage.gate.open_classes() == frozenset()
    stage.hear(SIGNER.grant(1, ["logs"]))
    assert stage.gate.open_classes() == {"logs"}


def test_a_revocation_that_cannot_be_written_holds_over_a_restart(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.hear(SIGNER.grant(1, CLASSES))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("holdfast.machine.controller.process.atomic_file.write", full)
        stage.hear(SIGNER.grant(2, []))
        assert stage.gate.open_classes() == frozenset()
        stage.hear(SIGNER.grant(1, CLASSES))
        assert stage.gate.open_classes() == frozenset()
    stage.restart()
    assert stage.gate.open_classes() == frozenset()


def test_the_removal_of_a_file_that_would_open_again_is_synced(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.hear(SIGNER.grant(1, CLASSES))
    synced: list[tuple[object, bool]] = []

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("holdfast.machine.controller.process.atomic_file.write", full)
    monkeypatch.setattr(
        "holdfast.disk.durable_file.sync_folder",
        lambda folder: synced.append((folder, (stage.folder / FILE).exists())),
    )
    stage.hear(SIGNER.grant(2, []))
    assert synced[-1] == (stage.folder, False)


def test_a_successor_is_taken_from_the_present_key_alone(stage: Stage) -> None:
    second, third = Signer(2), Signer(3)
    stage.hear(keys=[third.successor(third.public)])
    stage.hear(third.grant(1, CLASSES))
    assert stage.gate.open_classes() == frozenset()
    stage.hear(second.grant(1, ["logs"]), keys=[SIGNER.successor(second.public)])
    assert stage.gate.open_classes() == {"logs"}
    # The old key signs nothing new any more: whoever stole it cannot open, nor name a successor.
    stage.hear(SIGNER.grant(2, CLASSES), keys=[SIGNER.successor(third.public)])
    stage.hear(third.grant(3, CLASSES))
    stage.restart()
    assert stage.gate.open_classes() == {"logs"}
    chain = [SIGNER.successor(second.public), second.successor(third.public)]
    stage.hear(third.grant(4, ["memory"]), keys=chain)
    assert stage.gate.open_classes() == {"memory"}


def test_a_revocation_before_a_rotation_reaches_a_node_that_was_away_for_both(stage: Stage) -> None:
    second = Signer(2)
    stage.hear(SIGNER.grant(1, ["logs", "memory"], backfill_from_ms=50))
    rotated = [SIGNER.successor(second.public)]
    stage.hear(SIGNER.grant(2, ["memory"], backfill_from_ms=40), keys=rotated)
    assert stage.gate.open_classes() == {"memory"}
    assert stage.gate.number == 2
    stage.restart()
    assert stage.gate.open_classes() == {"memory"}
    held = stage.gate.grant()
    assert held is not None
    assert held.backfill_from_ms == 50
    # The newest key grants anew, also under the number that the replaced one used.
    stage.hear(second.grant(2, ["transcripts"]), keys=rotated)
    assert stage.gate.open_classes() == {"transcripts"}


def test_a_replaced_key_only_ever_takes_away(stage: Stage) -> None:
    second = Signer(2)
    ends = NOW_MS + 60_000
    stage.hear(SIGNER.grant(1, ["logs", "memory", "metadata"]))
    stage.hear(keys=[SIGNER.successor(second.public)])
    stage.hear(SIGNER.grant(3, ["logs", "memory", "transcripts"], until_ms=ends))
    assert stage.gate.open_classes() == {"logs", "memory"}
    assert stage.log.lines[-2][2] == {"reason": gate.REPLACED_KEY}
    # Neither an older one nor a newer one gives back what the last one took.
    stage.hear(SIGNER.grant(2, ["metadata"]))
    stage.hear(SIGNER.grant(4, CLASSES))
    assert stage.gate.open_classes() == {"logs", "memory"}
    stage.clock.advance(60_000)
    assert stage.gate.open_classes() == frozenset()


def test_what_the_file_notes_of_replaced_keys_opens_nothing(stage: Stage) -> None:
    ends = NOW_MS + 60_000
    stage.hear(SIGNER.grant(1, ["logs"], backfill_from_ms=50, until_ms=ends))
    kept = gate.decode_state((stage.folder / FILE).read_bytes())
    wide = gate.Narrowing(number=9, classes=CLASSES, backfill_from_ms=0, until_ms=0)
    changed = msgspec.structs.replace(kept, narrowing=wide)
    (stage.folder / FILE).write_bytes(gate.encode_state(changed))
    stage.restart()
    held = stage.gate.grant()
    assert held is not None
    assert (held.classes, held.backfill_from_ms, held.until_ms) == (("logs",), 50, ends)


def test_a_grant_outlives_any_number_of_rotations(stage: Stage) -> None:
    stage.hear(SIGNER.grant(1, ["logs"]))
    signers = [SIGNER, *(Signer(seed) for seed in range(2, 2 * limits.KEYS_MAX + 2))]
    for before, after in itertools.pairwise(signers):
        stage.hear(keys=[before.successor(after.public)])
        stage.restart()
        assert stage.gate.problem == ""
        assert stage.gate.open_classes() == {"logs"}
    kept = gate.decode_state((stage.folder / FILE).read_bytes())
    assert len(kept.keys) == limits.KEYS_MAX
    stage.hear(SIGNER.grant(2, []))
    assert stage.gate.open_classes() == frozenset()


def test_the_pinned_key_is_kept_whoever_signed_the_grant(stage: Stage) -> None:
    """Whoever starts the observer may name that one still."""
    signers = [SIGNER, *(Signer(seed) for seed in range(2, 2 * limits.KEYS_MAX + 2))]
    for number, (before, after) in enumerate(itertools.pairwise(signers), 1):
        stage.hear(after.grant(number, ["logs"]), keys=[before.successor(after.public)])
        assert stage.gate.number == number
    assert stage.gate.pin(NODE, SIGNER.public) == ""


def test_a_change_of_the_oldest_time_is_told_at_once(stage: Stage) -> None:
    stage.hear(SIGNER.grant(1, ["logs"]))
    told: list[str] = []
    stage.gate.on_change = lambda: told.append(stage.log.events()[-1])
    stage.hear(SIGNER.grant(2, ["logs"], backfill_from_ms=50))
    stage.hear(SIGNER.grant(3, ["logs"], backfill_from_ms=50))
    assert told == ["gate.bounded"]


def test_a_successor_that_is_known_already_changes_nothing(stage: Stage) -> None:
    second = Signer(2)
    stage.hear(keys=[SIGNER.successor(SIGNER.public), SIGNER.successor(second.public)])
    stage.hear(second.grant(1, ["logs"]), keys=[second.successor(SIGNER.public)])
    stage.hear(SIGNER.grant(2, CLASSES))
    assert stage.gate.open_classes() == {"logs"}
    kept = gate.decode_state((stage.folder / FILE).read_bytes())
    assert kept.keys == (SIGNER.public, second.public)


def test_a_file_with_a_grant_that_the_plane_did_not_sign_is_damaged(stage: Stage) -> None:
    stage.hear(SIGNER.grant(1, ["logs"]))
    kept = gate.decode_state((stage.folder / FILE).read_bytes())
    forged = msgspec.structs.replace(kept, grant=Signer(2).grant(1, CLASSES))
    (stage.folder / FILE).write_bytes(gate.encode_state(forged))
    stage.restart()
    assert stage.gate.open_classes() == frozenset()
    assert "signed" in stage.gate.problem


def test_a_malformed_field_does_not_hide_a_revocation(stage: Stage) -> None:
    stage.hear(SIGNER.grant(1, CLASSES))
    body = json.loads(answer(SIGNER.grant(2, [])))
    body |= {"viewer_active": 3, "reason": [], "keys": "x", "caps": 1, "sync_allowed": "yes"}
    stage.gate.heard(200, json.dumps(body).encode())
    assert stage.gate.open_classes() == frozenset()


def test_each_transition_is_logged_once_also_the_second_of_a_day(stage: Stage) -> None:
    for number in range(1, 9, 2):
        stage.hear(SIGNER.grant(number, ["logs"]), reason="intent_started")
        stage.hear(SIGNER.grant(number, ["logs"]), reason="intent_started")
        stage.hear(SIGNER.grant(number + 1, []), sync_allowed=False, reason="intent_pending")
        stage.hear(sync_allowed=False, reason="intent_pending")
    once = ["gate.opened", "sync.activated", "gate.closed", "sync.deferred"]
    assert stage.log.events() == ["gate.pinned", *once * 4]
    deferred = [level for level, event, _ in stage.log.lines if event == "sync.deferred"]
    assert set(deferred) == {"info"}


def test_a_pause_without_a_reason_is_a_warning(stage: Stage) -> None:
    stage.hear(sync_allowed=False)
    assert stage.log.lines[-1][:2] == ("warning", "sync.paused")


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_an_answer(body: bytes) -> None:
    found = gate.read_answer(200, body)
    assert found is None or found.grant is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "grant",
                        "keys",
                        "sync_allowed",
                        "payload",
                        "key",
                        "signature",
                        "caps",
                        "reason",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
@settings(max_examples=300, deadline=None)
def test_any_json_without_a_signature_leaves_the_state(value: object) -> None:
    state = gate.GateState(node=NODE, keys=(SIGNER.public,))
    found = gate.read_answer(200, json.dumps(value).encode())
    if found is not None:
        assert gate.take(state, found, NOW_MS).state == state


def test_fuzzed_answers_open_nothing() -> None:
    assert fuzz(CASES_IN_SUITE, seed=1).opened == 0


def test_the_fuzzer_would_see_a_gate_that_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_signed", lambda *_: True)
    assert fuzz(300, seed=1).opened > 0


def test_the_fuzzer_would_see_a_gate_that_reads_an_answer_of_any_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "_OK", range(1_000))
    assert fuzz(300, seed=1).opened > 0


@given(
    numbers=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    draws=st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_the_gate_is_the_signed_grant_with_the_highest_number(
    numbers: list[int], draws: random.Random
) -> None:
    state = gate.GateState(node=NODE, keys=(SIGNER.public,))
    highest, want = 0, frozenset[str]()
    for number in numbers:
        classes: list[ContentClass] = [one for one in CLASSES if draws.random() < 0.5]
        if number > highest:
            highest, want = number, frozenset(classes)
        said = gate.read_answer(200, answer(SIGNER.grant(number, classes)))
        assert said is not None
        state = gate.take(state, said, NOW_MS).state
    kept = gate.decode_state(gate.encode_state(state))
    assert gate.open_classes(kept, gate.standing_grant(kept), NOW_MS) == want
    assert kept.number == highest


def test_json_of_a_signed_document_is_what_the_wire_type_reads() -> None:
    signed = SIGNER.grant(1, ["logs"])
    assert msgspec.convert(to_json(signed), SignedDocument) == signed
