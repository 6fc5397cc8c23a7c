"""`bin/test`: reads the command line, runs the stages and prints the closing line that CI judges by."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from . import environment
from .model import Counts, Stage
from .run import stop_all
from .scheduler import run_all
from .stages import STAGES


def main() -> int:
    """Return 0 when nothing failed, 1 when something did, 130 when the user stopped it."""
    options = _parse()
    if options.list:
        for stage in STAGES:
            mark = "quick" if stage.quick else ""
            print(f"{stage.name:<16} {mark:<6} {stage.about}")
        return 0
    environment.prepare_home()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped by a machine or by a hand: the same cleaning up
    started = time.monotonic()
    try:
        outcomes = run_all(_chosen(options), options.jobs)
    except KeyboardInterrupt:
        stop_all()
        print("stopped", file=sys.stderr)
        return 130
    total = Counts()
    for outcome in outcomes:
        total.add(outcome.counts)
    print(f"\n{time.monotonic() - started:.0f} s, logs in .cache/test-logs")
    print(f"{total.passed} passed, {total.failed} failed" + (f", {total.skipped} skipped" if total.skipped else ""))
    return 1 if total.failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/test", description="Run the tests of this collection.")
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="run only these, in the order of --list")
    parser.add_argument("--quick", action="store_true", help="the inner loop: lint, types and unit tests on one Python")
    parser.add_argument(
        "--engines", action="store_true", help="the real vLLM on the CPU: 6 GB on first use, five minutes"
    )
    parser.add_argument("--list", action="store_true", help="name the stages and what each does")
    parser.add_argument("--jobs", type=int, default=2, help="stages at a time (default 2)")
    options = parser.parse_args()
    unknown = set(options.stages) - {stage.name for stage in STAGES}
    if unknown:
        parser.error(f"no such stage: {', '.join(sorted(unknown))}; bin/test --list names them")
    if options.jobs < 1:
        parser.error("--jobs must be at least 1")
    return options


def _chosen(options: argparse.Namespace) -> list[Stage]:
    named = [*options.stages, *(["engines"] if options.engines else [])]
    if named:
        return [stage for stage in STAGES if stage.name in named]
    return [stage for stage in STAGES if (stage.quick if options.quick else stage.full)]


if __name__ == "__main__":
    sys.exit(main())
