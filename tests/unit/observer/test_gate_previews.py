"""Only a signed, new preview of this node and minute lets samples out, once; and opens no class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.observer.gate_file import Gate
from holdfast.wire.consent import PREVIEW_MS, Preview, Receipt, SignedDocument
from tests.support.consent_signer import NODE, Signer, answer, to_json
from tests.support.logs import Lines

SIGNER, STRANGER = Signer(), Signer(9)
NOW_MS = 1_700_000_000_000
PAGE = "B" * 87


def preview(number: int = 1, *, signer: Signer = SIGNER, **changes: Any) -> SignedDocument:
    plain: dict[str, Any] = {
        "version": 1, "node": NODE, "number": number, "public_key": PAGE, "at_ms": NOW_MS,
        "until_ms": NOW_MS + PREVIEW_MS,
    }  # fmt: skip
    return signer.sign(Preview(**(plain | changes)))


class Stage:
    """A gate on a disk, with a clock that is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.log = folder, ManualClock(NOW_MS), Lines()
        self.gate = Gate(folder, clock=self.clock, log=self.log)
        assert self.gate.pin(NODE, SIGNER.public) == ""

    def hear(self, signed: SignedDocument) -> int:
        """Return the number of the preview that is asked for after an answer, 0 for none."""
        self.gate.heard(200, answer(sync_allowed=False, preview=to_json(signed)))
        asked = self.gate.asked()
        return 0 if asked is None else asked.number

    def restart(self) -> None:
        self.gate = Gate(self.folder, clock=self.clock, log=self.log)

    def refused(self) -> list[str]:
        return [
            fields["reason"] for _, event, fields in self.log.lines if event == "preview.refused"
        ]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_signed_preview_lets_samples_out_once_and_opens_nothing(stage: Stage) -> None:
    assert not stage.gate.may_preview(1)
    assert stage.hear(preview()) == 1
    assert stage.gate.may_preview(1)
    assert not stage.gate.may_preview(2)
    assert stage.gate.open_classes() == frozenset()
    assert stage.hear(preview()) == 1, "it stands in answers until its minute is over"
    stage.gate.end_preview(1)
    assert stage.hear(preview()) == 0
    assert stage.refused() == []
    stage.restart()
    assert stage.hear(preview()) == 0, "not after a restart either"
    assert stage.hear(preview(2)) == 2


@pytest.mark.parametrize(
    ("signed", "why"),
    [
        (preview(5, signer=STRANGER), "not one that the plane's key signed"),
        (preview(5, node="nd_other"), "another node"),
        (preview(5, until_ms=NOW_MS + PREVIEW_MS + 1), "more than its minute"),
        (preview(5, until_ms=NOW_MS), "more than its minute"),
        (preview(5, at_ms=NOW_MS - PREVIEW_MS, until_ms=NOW_MS), "is over"),
        (preview(3), "has number 3, and 4 was seen"),
        (SIGNER.grant(5, ["logs"]), "not one that the plane's key signed"),
        (
            SIGNER.sign(
                Receipt(
                    version=1, node=NODE, number=5, act="previewed", classes=(), at_ms=NOW_MS,
                    by="x", credential="session:x", text_version="",
                )
            ),
            "not one that the plane's key signed",
        ),
    ],
)  # fmt: skip
def test_what_is_no_preview_of_this_node_and_minute_is_refused(
    stage: Stage, signed: SignedDocument, why: str
) -> None:
    assert stage.hear(preview(4)) == 4
    stage.gate.end_preview(4)
    assert stage.hear(signed) == 0
    assert stage.hear(signed) == 0
    (told,) = stage.refused()
    assert why in told
    assert stage.gate.open_classes() == frozenset()


def test_a_preview_as_a_grant_opens_nothing(stage: Stage) -> None:
    stage.gate.heard(200, answer(preview(7), sync_allowed=True))
    assert stage.gate.open_classes() == frozenset()
    assert stage.gate.asked() is None
    assert stage.gate.number == 0


def test_samples_that_come_late_do_not_leave(stage: Stage) -> None:
    assert stage.hear(preview()) == 1
    stage.clock.advance(PREVIEW_MS - 1)
    assert stage.gate.may_preview(1)
    stage.clock.advance(1)
    assert not stage.gate.may_preview(1)


def test_a_clock_that_is_set_back_prolongs_nothing(stage: Stage) -> None:
    assert stage.hear(preview()) == 1
    stage.clock.jump(-3_600_000)
    stage.clock.advance(PREVIEW_MS)
    assert not stage.gate.may_preview(1)


def test_a_replaced_key_lets_none_out(stage: Stage) -> None:
    other = Signer(2)
    stage.gate.heard(200, answer(keys=[SIGNER.successor(other.public)]))
    assert stage.hear(preview()) == 0
    assert stage.hear(preview(signer=other)) == 1


def test_a_number_that_cannot_be_kept_lets_none_out(stage: Stage) -> None:
    path = stage.folder / "gate.json"
    path.unlink()
    path.mkdir()
    (path / "in the way").touch()
    assert stage.hear(preview()) == 0
    assert not stage.gate.may_preview(1)


def test_another_nodes_answer_asks_for_nothing(stage: Stage) -> None:
    stage.gate.heard(200, answer(preview=to_json(preview()), node="nd_other"))
    assert stage.gate.asked() is None


def test_a_decision_that_was_heard_ends_a_preview(stage: Stage) -> None:
    assert stage.hear(preview(5)) == 5
    stage.gate.heard(200, answer(SIGNER.grant(6, []), sync_allowed=False))
    assert not stage.gate.may_preview(5), "a preview stands in each answer while it holds"
    assert stage.hear(preview(5)) == 0
    assert stage.hear(preview(7)) == 7
    repeated = to_json(preview(7))
    stage.gate.heard(200, answer(SIGNER.grant(8, []), sync_allowed=False, preview=repeated))
    assert not stage.gate.may_preview(7), "nor where it is repeated beside a later grant"
    assert stage.hear(preview(9)) == 9
    stage.gate.heard(200, answer(preview=to_json(preview(3))))
    assert not stage.gate.may_preview(9), "nor beside an older one"


def test_no_answer_ends_no_preview(stage: Stage) -> None:
    assert stage.hear(preview(5)) == 5
    stage.gate.heard(500, b"")
    assert stage.gate.may_preview(5)


def test_heartbeats_say_the_number_of_a_preview_too(stage: Stage) -> None:
    assert stage.hear(preview(5)) == 5
    assert stage.gate.number == 5, "a plane that was restored to before it is known by it"
    stage.gate.heard(200, answer(SIGNER.grant(3, ["logs"]), sync_allowed=True))
    assert stage.gate.open_classes() == {"logs"}, "grants are compared with grants"
    assert stage.gate.number == 5
    stage.gate.heard(200, answer(SIGNER.grant(6, ["logs"]), sync_allowed=True))
    assert stage.hear(preview(4)) == 0
    assert "has number 4, and 6 was seen" in stage.refused()[-1]


def test_the_end_of_a_preview_ends_no_later_one(stage: Stage) -> None:
    assert stage.hear(preview(2)) == 2
    assert stage.hear(preview(4)) == 4
    stage.gate.end_preview(2)
    assert stage.gate.may_preview(4), "the samples of the earlier one were on their way meanwhile"
    stage.gate.end_preview(4)
    assert not stage.gate.may_preview(4)
