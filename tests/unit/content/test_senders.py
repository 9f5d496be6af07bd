"""Two programs that send for one node are told apart, and the same machine is never two."""

from __future__ import annotations

from holdfast.content import limits
from holdfast.content.senders import DAEMON, OURS, Heard, Senders, program_of

MINUTE = 60_000
SECOND = Heard(is_second=True)


def beats(senders: Senders, program: str, key: str, *, since: int, until: int) -> Heard:
    """Return what the last of heartbeats a minute apart means."""
    heard = Heard()
    for now_ms in range(since, until, MINUTE):
        heard = senders.hear(program, key, "1", now_ms)
    return heard


def test_the_second_program_is_refused_for_as_long_as_the_first_is_heard() -> None:
    senders = Senders()
    assert senders.hear(OURS, "k", "1", 1) == Heard()
    assert senders.hear(DAEMON, "k", "0.12.937", 2) == Heard(is_second=True, is_news=True)
    for now_ms in range(MINUTE, 60 * MINUTE, MINUTE):
        assert senders.hear(OURS, "k", "1", now_ms) == Heard()
        assert senders.hear(DAEMON, "k", "", now_ms + 1) == SECOND
    assert senders.is_second(DAEMON, "k")
    assert not senders.is_second(OURS, "k")
    assert [one.version for one in senders.undecided(60 * MINUTE)] == ["0.12.937"]
    assert not senders.is_chosen_silent(60 * MINUTE)  # nobody chose


def test_a_program_in_place_of_another_sends_once_that_one_is_silent() -> None:
    senders = Senders()
    senders.hear(DAEMON, "k", "0.12.937", 1)
    began = 10 * MINUTE
    senders.hear(OURS, "k", "1", began)
    assert senders.hear(OURS, "k", "1", began + limits.ONLINE_MS - 1) == SECOND
    news = Heard(is_news=True, since_ms=began)
    assert senders.hear(OURS, "k", "1", began + limits.ONLINE_MS) == news
    assert senders.undecided(began + limits.ONLINE_MS) == []
    # The first one comes back: now it is the second.
    assert senders.hear(DAEMON, "k", "", began + limits.ONLINE_MS + 1).is_second


def test_what_comes_first_after_an_outage_of_the_plane_is_not_taken_for_the_only_one() -> None:
    senders = Senders()
    senders.hear(OURS, "k", "1", 1)
    senders.hear(DAEMON, "k", "0.12.937", 2)
    later = 60 * MINUTE
    assert senders.hear(DAEMON, "k", "", later) == SECOND
    assert senders.hear(OURS, "k", "1", later + MINUTE) == Heard()
    assert senders.hear(DAEMON, "k", "", later + MINUTE + 1) == SECOND


def test_the_same_machine_that_registers_again_is_no_second_sender() -> None:
    senders = Senders()
    senders.hear(OURS, "k1", "1", 1)
    assert senders.hear(OURS, "k2", "1", 10 * MINUTE) == Heard()
    # A request that was under way with the key from before.
    assert senders.hear(OURS, "k1", "1", 10 * MINUTE + 1) == Heard()
    assert beats(senders, OURS, "k2", since=11 * MINUTE, until=99 * MINUTE) == Heard()
    assert senders.hear(OURS, "k2", "2", 99 * MINUTE) == Heard()  # another version of it
    assert senders.undecided(99 * MINUTE) == []


def test_two_machines_with_a_key_each_under_one_name_are_two_senders() -> None:
    senders = Senders()
    senders.hear(OURS, "k1", "1", 1)
    senders.hear(OURS, "k2", "1", MINUTE)
    assert senders.hear(OURS, "k1", "1", 3 * MINUTE) == Heard(is_news=True)
    assert senders.hear(OURS, "k2", "1", 3 * MINUTE + 1) == SECOND
    assert senders.hear(OURS, "k1", "1", 4 * MINUTE) == Heard()


def test_what_the_owner_chose_holds_however_long_that_one_is_silent() -> None:
    senders = Senders()
    senders.hear(OURS, "k", "1", 1)
    senders.hear(DAEMON, "k", "0.12.937", 2)
    assert senders.choose(f"{DAEMON}:k", by="olga", now_ms=3) == 2
    assert senders.hear(DAEMON, "k", "", 4) == Heard()
    assert senders.undecided(5) == []  # its owner has decided
    assert beats(senders, OURS, "k", since=5, until=99 * MINUTE) == SECOND
    # Registered again: the choice holds for the new key, which is told.
    assert senders.hear(DAEMON, "other", "", 99 * MINUTE) == Heard(is_news=True)
    assert senders.undecided(99 * MINUTE) == []
    senders.choose(f"{OURS}:k", by="olga", now_ms=100 * MINUTE)
    assert senders.hear(OURS, "k", "1", 100 * MINUTE + 1) == Heard()


def test_the_owner_is_asked_again_once_the_chosen_one_alone_is_silent() -> None:
    senders = Senders()
    senders.hear(DAEMON, "k", "0.12.937", 1)
    senders.hear(OURS, "k", "1", 2)
    senders.choose(f"{DAEMON}:k", by="olga", now_ms=3)

    def asks(now_ms: int) -> bool:
        ids = [one.id for one in senders.undecided(now_ms)]
        assert senders.is_chosen_silent(now_ms) is bool(ids)
        assert ids in ([], [f"{OURS}:k"])
        return bool(ids)

    last = 0
    for last in range(MINUTE, 10 * MINUTE, MINUTE):
        assert senders.hear(OURS, "k", "1", last) == SECOND
        assert asks(last) is (last >= limits.ONLINE_MS + 2)
    assert not asks(last + limits.ONLINE_MS)  # both are silent: the machine is, or the plane was
    later = last + 60 * MINUTE
    assert senders.hear(OURS, "k", "1", later) == SECOND
    assert not asks(later)  # after an outage the time begins anew
    beats(senders, OURS, "k", since=later + MINUTE, until=later + 4 * MINUTE)
    assert asks(later + 3 * MINUTE)
    senders.hear(DAEMON, "k", "", later + 3 * MINUTE + 1)
    assert not asks(later + 3 * MINUTE + 1)


def test_a_second_that_registers_again_is_not_asked_about_again() -> None:
    senders = Senders()
    senders.hear(OURS, "k", "1", 1)
    senders.hear(DAEMON, "k1", "0.12.937", 2)
    senders.choose(f"{OURS}:k", by="olga", now_ms=3)
    assert senders.hear(DAEMON, "k2", "0.12.937", 4) == SECOND
    assert senders.undecided(4) == []
    assert [one.id for one in senders.known] == [f"{OURS}:k", f"{DAEMON}:k2"]


def test_a_few_senders_are_known_and_the_one_that_sends_is_always_among_them() -> None:
    senders = Senders()
    senders.hear(OURS, "k", "1", 0)
    for number in range(20):
        senders.hear(f"program {number}", "k", "", number + 1)
    assert len(senders.known) == limits.SENDERS_MAX
    assert senders.current == f"{OURS}:k"
    senders.hear(OURS, "k", "1", limits.SENDER_KEPT_MS * 2)
    senders.hear(DAEMON, "new", "", limits.SENDER_KEPT_MS * 2)
    assert {one.id for one in senders.known} == {f"{OURS}:k", f"{DAEMON}:new"}


def test_a_program_is_told_by_what_it_says_of_itself() -> None:
    assert program_of("holdfast-observer/0.1.0") == OURS
    for text in ("Python-urllib/3.11", "", "holdfast-observers/1", "x holdfast-observer/1"):
        assert program_of(text) == DAEMON
