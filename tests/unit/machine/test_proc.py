from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from holdfast.machine.controller.process.procfs import (
    Meter,
    Traffic,
    parse_memory,
    parse_session,
    parse_traffic,
)
from holdfast.machine.controller.process.sampler import Sampler

HEAD = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs
"""


def row(name: str, received: int, sent: int, glue: str = " ") -> str:
    return f"  {name}:{glue}{received} 1 0 0 0 0 0 0 {sent} 1 0 0 0 0 0 0\n"


def test_eth0_alone_counts_where_it_is() -> None:
    text = HEAD + row("lo", 5, 6) + row("eth0", 10, 20) + row("ens5", 100, 200)
    assert parse_traffic(text) == Traffic(10, 20)


def test_a_number_glued_to_the_name_is_read() -> None:
    assert parse_traffic(HEAD + row("eth0", 123, 4, glue="")) == Traffic(123, 4)


def test_without_eth0_the_real_interfaces_are_summed() -> None:
    text = HEAD + row("lo", 1, 1) + row("ens5", 10, 20) + row("eth1", 30, 40)
    for repeated in ("veth12ab", "br-9f", "docker0", "virbr0"):
        text += row(repeated, 1_000, 1_000)
    assert parse_traffic(text) == Traffic(40, 60)


def test_what_is_malformed_counts_nothing() -> None:
    assert parse_traffic("") == Traffic(0, 0)
    assert parse_traffic(HEAD + "eth0 10 20\neth0: x\n") == Traffic(0, 0)
    assert parse_traffic(HEAD + "eth0: x 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n") == Traffic(0, 7)


def test_memory_is_in_bytes() -> None:
    assert parse_memory("MemTotal:       16 kB\nMemFree: 1 kB\n") == 16_384
    assert parse_memory("nothing\n") == 0


def test_a_session_is_found_behind_a_name_with_brackets_and_blanks() -> None:
    assert parse_session("7 (a) b (c) S 1 7 42 0 -1\n") == 42
    assert parse_session("") == 0


def test_the_first_reading_is_where_a_meter_starts() -> None:
    assert Meter().read(1_000_000).total == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**6)), max_size=30))
def test_a_meter_equals_the_truth_through_resets(steps: list[tuple[bool, int]]) -> None:
    meter, counter, truth = Meter().read(500), 500, 0
    for reset, grown in steps:
        # A counter that was reset and has already passed its old value cannot be distinguished.
        if reset and grown < counter:
            counter = 0
        counter += grown
        truth += grown
        meter = meter.read(counter)
    assert meter.total == truth


def test_a_machine_that_tells_nothing_gives_a_sample_with_gaps(tmp_path: Path) -> None:
    sample = Sampler(tmp_path / "missing", proc=tmp_path).sample()
    assert (sample.received, sample.memory_bytes, sample.disk_total_bytes) == (0, 0, None)
    assert sample.cpus >= 1


def test_traffic_counts_from_the_first_sample(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    dev = tmp_path / "net" / "dev"
    dev.write_text(HEAD + row("eth0", 10, 20))
    sampler = Sampler(tmp_path, proc=tmp_path)
    assert sampler.sample().received == 0
    dev.write_text(HEAD + row("eth0", 15, 21))
    sample = sampler.sample()
    assert (sample.received, sample.sent) == (5, 1)
    dev.write_text(HEAD + row("eth0", 3, 1))
    sample = sampler.sample()
    assert (sample.received, sample.sent) == (8, 2), "a reset counts what came since"
    assert sample.disk_total_bytes is not None
