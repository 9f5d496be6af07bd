"""The catalogue and what counts by it: the same names, the same labels."""

from __future__ import annotations

import re

import pytest

from holdfast.actors import measures
from holdfast.kernel.outcome import Ok, Retryable
from holdfast.metrics.catalogue import CATALOGUE, Metrics
from holdfast.sim.loop import SimClock
from tests.toys.lamp import BulbAdded, Cursed, Made, NoteWritten, SwitchedOff, SwitchedOn
from tests.unit.actors.rig import Rig, play, until

ENGINE = {value for name, value in vars(measures).items() if name.isupper()}


def test_every_name_the_engine_counts_by_is_a_row() -> None:
    assert {row.name for row in CATALOGUE} >= ENGINE


def test_rows_are_named_alike_and_say_what_they_are() -> None:
    names = [row.name for row in CATALOGUE]
    assert len(set(names)) == len(names)
    for row in CATALOGUE:
        assert re.fullmatch(r"holdfast_[a-z_]+", row.name), row.name
        assert row.help.endswith("."), row.name
        assert row.name.endswith("_total") == (row.kind == "counter"), row.name
        assert bool(row.buckets) == (row.kind == "histogram"), row.name
        assert not {"id", "actor", "account", "instance"} & set(row.labels), row.name


def test_the_engine_counts_with_the_labels_of_the_catalogue() -> None:
    labels = {row.name: tuple(sorted(row.labels)) for row in CATALOGUE}

    async def story(_clock: SimClock) -> None:
        async with Rig(_clock) as rig:
            answers = [Retryable("lost", "no line"), Ok(None)]

            async def grid(_call: object) -> object:
                return answers.pop(0) if answers else Ok(None)

            rig.grid.default = grid  # type: ignore[assignment]
            await rig.say("attic", Made("sun"))
            await rig.say(
                "hall", Made("sun"), BulbAdded("a"), SwitchedOn(), SwitchedOff(), Cursed()
            )
            await rig.say("hall", SwitchedOn(), NoteWritten("lamp/nobody", "x"))
            await until(lambda: len(rig.engine.dispatch) == 0 and not rig.store.waiting)
            for name, used in rig.meter.names.items():
                assert used == {labels[name]}, name
            assert len(rig.meter.names) >= 10

    play(story)


def test_figures_come_out_in_the_text_form() -> None:
    metrics = Metrics()
    metrics.count("holdfast_ticks_total", kind="lamp")
    metrics.count("holdfast_ticks_total", 2, kind="lamp")
    metrics.gauge("holdfast_ready_actors", 7)
    metrics.observe("holdfast_tick_seconds", 0.0003, kind="lamp")
    text = metrics.render().decode()
    assert 'holdfast_ticks_total{kind="lamp"} 3.0' in text
    assert "holdfast_ready_actors 7.0" in text
    assert 'holdfast_tick_seconds_bucket{kind="lamp",le="0.0005"} 1.0' in text
    assert "# HELP holdfast_resident_actors Actors in memory." in text


def test_what_is_not_in_the_catalogue_cannot_be_counted() -> None:
    with pytest.raises(KeyError):
        Metrics().count("holdfast_guesses_total")
    with pytest.raises(ValueError, match="label"):
        Metrics().count("holdfast_ticks_total", flavour="sweet")
