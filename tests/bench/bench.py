"""Measure what users wait for, against the bars of the design (docs/benchmarks.md has the last figures).

Each figure is measured beside its floor in the same run, the two taking turns, so that a busy machine slows both:
  ladder   the whole probe ladder over a server that answers at once, beside the same number of bare HTTP requests
  imports  interpreter start and imports of each module's main(), beside the bare interpreter

Run it as `python tests/bench/bench.py` with ansible-core and jmespath importable, and the collection on PYTHONPATH
(docs/benchmarks.md). Prints minimum, median and maximum; never fails on a slow machine.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.nemoclaw.local_inference.plugins"
RUNS = int(os.environ.get("BENCH_RUNS", "15"))

# Requests that the ladder sends when all goes well: models, warm-up, completion, streaming and two tool calls.
LADDER_REQUESTS = 6


def main() -> None:
    """Run both benchmarks."""
    ladder()
    imports()


def ladder() -> None:
    """Time the ladder's climb and as many bare requests, in turn, over one server."""
    from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.ladder import Demands
    from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.report import Report
    from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.validate import Endpoint, validate

    command = [sys.executable, str(TOP / "tests" / "servers" / "broken_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        root_url = server.stdout.readline().strip()
        endpoint = Endpoint(f"{root_url}/good/v1")

        def climb() -> None:
            validate(endpoint, Demands(), Report("openai-completions", None))

        def bare() -> None:
            for _dummy in range(LADDER_REQUESTS):
                connection = http.client.HTTPConnection(root_url.removeprefix("http://"))
                connection.request("GET", "/good/v1/models")
                json.load(connection.getresponse())
                connection.close()

        show("ladder, whole climb (bar: 2 s)", *in_turn(climb, bare))
        server.terminate()


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
    main()
