"""Output of the benches: percentiles of one run, as text or JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def parser(text: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every bench has."""
    made = argparse.ArgumentParser(description=text)
    made.add_argument("--json", action="store_true", help="print JSON, for programs")
    return made


def percentiles(values: Sequence[float], *, digits: int = 3) -> dict[str, float]:
    """Return p50, p95, p99 and the extremes of what was measured."""
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], digits)

    return {
        "n": len(ordered),
        "min": at(0),
        "p50": at(0.5),
        "p95": at(0.95),
        "p99": at(0.99),
        "max": round(ordered[-1], digits),
    }


def tell(title: str, figures: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what a bench found, with the load of the machine, which explains a bad day."""
    load = [round(value, 1) for value in os.getloadavg()]
    if as_json:
        sys.stdout.write(json.dumps({"bench": title, "load": load, **figures}) + "\n")
        return
    sys.stdout.write(f"{title} (load {load[0]})\n")
    for name, value in figures.items():
        if isinstance(value, Mapping):
            shown = "  ".join(f"{key} {item}" for key, item in value.items())
        else:
            shown = str(value)
        sys.stdout.write(f"  {name}: {shown}\n")
    sys.stdout.flush()
