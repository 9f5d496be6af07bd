"""The catalogue and what counts by it: the same names, the same labels."""

from __future__ import annotations

import re

import pytest

from holdfast.kernel import metrics
from holdfast.kernel.metrics import CATALOGUE, Counter, Histogram
from holdfast.kernel.outcome import Ok, Retryable
from holdfast.monitoring.prometheus_exporter import Metrics
from holdfast.sim.loop import SimClock
from tests.support.toys.lamp import BulbAdded, Cursed, Made, NoteWritten, SwitchedOff, SwitchedOn
from tests.unit.actors.rig import Rig, play, until


def test_rows_are_named_alike_and_say_what_they_are() -> None:
    names = [row.name for row in CATALOGUE]
    assert len(set(names)) == len(names)
    for row in CATALOGUE:
        assert re.fullmatch(r"holdfast_[a-z_]+", row.name), row.name
        assert row.help.endswith("."), row.name
        assert row.name.endswith("_total") == isinstance(row, Counter), row.name
        assert row.name.endswith("_seconds") or not isinstance(row, Histogram), row.name
        assert not {"id", "actor", "account", "instance"} & set(row.labels), row.name


def test_the_engine_counts_with_the_labels_of_the_catalogue() -> None:
    labels = {row.name: tuple(sorted(row.labels)) for row in CATALOGUE}

    async def scenario(_clock: SimClock) -> None:
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

    play(scenario)


def test_figures_come_out_in_the_text_form() -> None:
    live = Metrics()
    live.count(metrics.TICKS, kind="lamp")
    live.count(metrics.TICKS, 2, kind="lamp")
    live.gauge(metrics.READY, 7)
    live.observe(metrics.TICK_SECONDS, 0.0003, kind="lamp")
    text = live.render().decode()
    assert 'holdfast_ticks_total{kind="lamp"} 3.0' in text
    assert "holdfast_ready_actors 7.0" in text
    assert 'holdfast_tick_seconds_bucket{kind="lamp",le="0.0005"} 1.0' in text
    assert "# HELP holdfast_resident_actors Actors in memory." in text


def test_what_is_not_in_the_catalogue_cannot_be_counted() -> None:
    with pytest.raises(KeyError):
        Metrics().count(Counter("holdfast_guesses_total", "Guesses."))
    with pytest.raises(ValueError, match="label"):
        Metrics().count(metrics.TICKS, flavour="sweet")
