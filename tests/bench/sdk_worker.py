"""What bench_sdk runs in processes of its own: one SDK, one task, and its figures as JSON.

It imports nothing of the house but what it measures, so that the interpreter of the other SDK's
environment can run it as well: `python sdk_worker.py TASK SDK ARGUMENTS-AS-JSON`.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

OURS = "holdfast"
WORDS = [f"{start}{middle}{end}" for start in ("re", "un", "con", "pre", "mis", "over")
         for middle in ("build", "port", "form", "call", "light", "ground", "mark", "point")
         for end in ("", "s", "ed", "ing", "er")]  # fmt: skip


def prose(rng: random.Random, chars: int, changed: float) -> tuple[str, str]:
    """Return a text of about so many characters in lines, and one with a share of it changed."""
    old: list[str] = []
    size = 0
    while size < chars:
        old.append(rng.choice(WORDS))
        size += len(old[-1]) + 1
        if rng.random() < 0.08:
            old[-1] += ".\n"
    new = [rng.choice(WORDS) if rng.random() < changed else word for word in old]
    new[rng.randrange(len(new))] = f"mark{rng.randrange(10**9)}"
    return " ".join(old), " ".join(new)


def opened(sdk: str, folder: str, url: str) -> tuple[Callable[[str, str], Any], Callable[[], Any]]:
    """Return what records a correction and what ends it."""
    if sdk == OURS:
        from holdfast.sdk import Brain  # noqa: PLC0415  # not there for the other SDK

        brain = Brain(folder, url=url or None, api_key="k" if url else None,
                      notice=lambda _text: None)  # fmt: skip
        return (
            lambda draft, final: brain.correct(draft, final, session="bench"),
            lambda: brain.close(0),
        )
    # Not there for ours.
    gradata: Any = import_module("gradata")

    other = gradata.Brain.init(
        folder, domain="bench", name="bench", company="", embedding="local", interactive=False
    )
    return lambda draft, final: other.correct(draft, final, session=1), lambda: None


def shim_count() -> Callable[[], int]:
    """Return how many syncs there were so far, as the preloaded shim counts them."""
    try:
        count = ctypes.CDLL(None).bench_syncs
    except AttributeError:
        return lambda: -1
    count.restype = ctypes.c_long
    return lambda: int(count())


def calls(sdk: str, *, count: int, chars: int, changed: float, url: str) -> dict[str, Any]:
    """Time `count` corrections after some to warm up; count the syncs of the calling thread."""
    rng = random.Random(11)
    # Where one call takes seconds, ten to warm up would take minutes.
    warm_up = 10 if count >= 20 else 1
    pairs = [prose(rng, chars, changed) for _ in range(count + warm_up)]
    syncs = shim_count()
    times: list[float] = []
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        correct, close = opened(sdk, folder, url)
        for n, (draft, final) in enumerate(pairs):
            before = syncs()
            start = time.perf_counter()
            correct(draft, final)
            took = time.perf_counter() - start
            if n >= warm_up:
                times.append(took * 1e3)
                total += syncs() - before
        close()
    return {"times_ms": times, "syncs": round(total / count, 2)}


def loop_rate(seconds: float) -> float:
    """Return how often a second a loop of this program's own goes round."""
    end = time.perf_counter() + seconds
    turns = 0
    while time.perf_counter() < end:
        for _ in range(200):
            turns += 1
    return turns / seconds


def rested(seconds: float) -> float:
    """Do nothing for so long, as a program that waits for others; it keeps all of that."""
    time.sleep(seconds)
    return 1.0


def beside(
    sdk: str, *, threads: int, seconds: float, rounds: int, url: str, loop: bool
) -> dict[str, Any]:
    """Turn a loop beside threads that record a correction a second each, and that only wait.

    Rounds alternate, so that a machine that grows busy weighs on both alike. Without the loop the
    program has nothing else to do.
    """
    stop, recording = threading.Event(), threading.Event()
    made, failed = [0] * threads, [0] * threads
    waits: list[float] = []
    # What waits behind the limit of a minute is still being sent when closing gives up on it.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        correct, close = opened(sdk, folder, url)

        def live(who: int) -> None:
            rng = random.Random(who)
            stop.wait(rng.random())
            while not stop.is_set():
                draft, final = prose(rng, 100, 0.1)
                if recording.is_set():
                    start = time.perf_counter()
                    done = correct(draft, final)
                    waits.append((time.perf_counter() - start) * 1e3)
                    if done.persisted:
                        made[who] += 1
                    else:
                        failed[who] += 1
                stop.wait(1.0)

        started = [threading.Thread(target=live, args=(who,), daemon=True)
                   for who in range(threads)]  # fmt: skip
        for thread in started:
            thread.start()
        alone: list[float] = []
        with_us: list[float] = []
        for _ in range(rounds):
            recording.clear()
            time.sleep(0.5)
            alone.append(loop_rate(seconds) if loop else rested(seconds))
            recording.set()
            with_us.append(loop_rate(seconds) if loop else rested(seconds))
        stop.set()
        for thread in started:
            thread.join()
        close()
    kept = sorted(b / a for a, b in zip(alone, with_us, strict=True))
    waits.sort()
    return {
        "kept_percent": round(100 * kept[len(kept) // 2], 1),
        "kept_percent_rounds": [round(100 * one, 1) for one in kept],
        "not_kept": sum(failed),
        "corrections_per_second": round(sum(made) / (rounds * (seconds + 0.5)), 1),
        "call_p50_ms": round(waits[len(waits) // 2], 1),
        "call_p99_ms": round(waits[len(waits) * 99 // 100], 1),
    }


def main() -> None:
    """Run the mode of the command line."""
    task, sdk, arguments = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    tasks: dict[str, Callable[..., dict[str, Any]]] = {
        "calls": calls, "beside": beside,
    }  # fmt: skip
    sys.stdout.write(json.dumps(tasks[task](sdk, **arguments)) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
