"""The names under which the engine counts; each is a row of the catalogue of metrics.

A test holds the two equal, because the catalogue stands beside the engine and neither may import
the other.
"""

from __future__ import annotations

from typing import Final

EVENTS: Final = "holdfast_events_total"
TICKS: Final = "holdfast_ticks_total"
TICK_SECONDS: Final = "holdfast_tick_seconds"
COMMIT_SECONDS: Final = "holdfast_commit_seconds"
DECISIONS: Final = "holdfast_decisions_total"
FAULTS: Final = "holdfast_engine_faults_total"
RETRIES: Final = "holdfast_commit_retries_total"
RESIDENTS: Final = "holdfast_resident_actors"
READY: Final = "holdfast_ready_actors"
ALARMS_LATE: Final = "holdfast_alarms_late_total"
EFFECTS: Final = "holdfast_effects_total"
EFFECT_SECONDS: Final = "holdfast_effect_seconds"
EFFECT_RETRIES: Final = "holdfast_effect_retries_total"
EFFECTS_WAITING: Final = "holdfast_effects_waiting"
PROBES: Final = "holdfast_probes_total"
LETTERS_RETURNED: Final = "holdfast_letters_returned_total"
