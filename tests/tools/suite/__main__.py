"""`bin/test`: reads the command line, runs the stages and prints the closing line that CI judges by."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from . import environment
from .cpu import busy_seconds
from .model import Counts, Stage
from .run import stop_all
from .scheduler import run_all, table
from .stages import STAGES, chosen


def main() -> int:
    """Return 0 when nothing failed, 1 when something did, 130 when the user stopped it."""
    options = _parse()
    if options.list:
        for stage in STAGES:
            mark = "quick" if stage.quick else ""
            print(f"{stage.name:<18} {mark:<6} {stage.budget:4d} s  {stage.about}")
        return 0
    environment.prepare_home()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped by a machine or by a hand: the same cleaning up
    started, busy = time.monotonic(), busy_seconds()
    try:
        # Who asks for a stage wants it to run: where it cannot, it has failed.
        outcomes = run_all(options.chosen, options.jobs, strict=options.quick or bool(options.stages))
    except KeyboardInterrupt:
        stop_all()
        print("stopped", file=sys.stderr)
        return 130
    total = Counts()
    for outcome in outcomes:
        total.add(outcome.counts)
    print(f"\n{table(outcomes)}")
    # All that ran on this machine; containers and servers are no stage's commands.
    used, counted = busy_seconds() - busy, sum(outcome.cpu_seconds for outcome in outcomes)
    seconds = time.monotonic() - started
    print(f"\n{seconds:.0f} s, {used:.0f} s of CPU ({counted:.0f} in the stages' commands), logs in .cache/test-logs")
    print(f"{total.passed} passed, {total.failed} failed" + (f", {total.skipped} skipped" if total.skipped else ""))
    if not total.passed:
        print("nothing was tested", file=sys.stderr)
    return 0 if total.passed and not total.failed else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/test", description="Run the tests of this collection.")
    parser.add_argument(
        "stages",
        nargs="*",
        metavar="STAGE[:WHAT]",
        help="run only these, in the order of --list; `molecule` is all stages of that name, and WHAT one scenario, target or "
        "expression of pytest: molecule:endpoint integration:zstd plays:test_status units-quick:leaks",
    )
    parser.add_argument("--quick", action="store_true", help="the inner loop: lint, types and unit tests on one Python")
    parser.add_argument(
        "--engines", action="store_true", help="the real vLLM on the CPU: 6 GB on first use, five minutes"
    )
    parser.add_argument("--list", action="store_true", help="name the stages and what each does")
    parser.add_argument("--jobs", type=float, default=2, metavar="CORES", help="cores to keep busy (default 2)")
    options = parser.parse_args()
    if options.jobs <= 0:
        parser.error("--jobs must be more than 0")
    named = [*options.stages, *(["engines"] if options.engines else [])]
    try:
        options.chosen = chosen(named) or _usual(options)
    except ValueError as error:
        parser.error(f"{error}; bin/test --list names the stages")
    return options


def _usual(options: argparse.Namespace) -> list[tuple[Stage, str]]:
    return [(stage, "") for stage in STAGES if (stage.quick if options.quick else stage.full)]


if __name__ == "__main__":
    sys.exit(main())
