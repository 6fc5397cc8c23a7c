"""Measure what users wait for, against the bars of docs/benchmarks.md, which has the last figures.

Each figure is measured beside its floor in the same run, the two taking turns, so that a busy machine slows both: here interpreter start
and imports of each module's main(), beside the bare interpreter; ladder.py, proxy.py and fleet.py do the same for what they measure.

Run it as `python tests/bench/bench.py` with ansible-core and jmespath importable, and the collection on PYTHONPATH
(docs/benchmarks.md). Prints minimum, median and maximum; never fails on a slow machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.nemoclaw.local_inference.plugins"
RUNS = int(os.environ.get("BENCH_RUNS", "15"))


def imports() -> None:
    """Time each module's imports in a fresh interpreter, in turn with an interpreter that imports nothing."""
    for module in sorted(path.stem for path in (TOP / "plugins" / "modules").glob("*.py")):

        def load(module: str = module) -> None:
            subprocess.run([sys.executable, "-c", f"import {COLLECTION}.modules.{module}"], check=True)

        def start() -> None:
            subprocess.run([sys.executable, "-c", "pass"], check=True)

        show(f"imports of {module} (bar: 250 ms)", *in_turn(load, start))


def in_turn(subject, floor) -> tuple[list[float], list[float]]:
    """Return the seconds of each run of both, taken alternately after one of each that does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for run in range(RUNS + 1):
        for call, seconds in zip((subject, floor), times):
            started = time.perf_counter()
            call()
            if run:
                seconds.append(time.perf_counter() - started)
    return times


def show(name: str, subject: list[float], floor: list[float]) -> None:
    """Print one line for each of the two."""
    for label, seconds in ((name, subject), ("  floor of it", floor)):
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"{label:<44} min {low * 1000:7.1f} ms   median {middle * 1000:7.1f} ms   max {high * 1000:7.1f} ms")


if __name__ == "__main__":
    imports()
