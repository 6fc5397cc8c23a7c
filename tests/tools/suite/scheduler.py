"""Runs stages, as many at a time as keep the cores busy, and prints a line for each."""

from __future__ import annotations

import concurrent.futures
import time
import traceback
from collections.abc import Collection, Sequence

from . import paths
from .cpu import SETTLED_S, Meter
from .environment import in_ci
from .model import Counts, Outcome, Stage, StageFailed, StageSkipped
from .run import Run, exclusive, stop_all

# How much of a failing stage's log is shown on screen.
TAIL_LINES = 60
LONGEST_LINE = 300
# How far the loads of what runs may exceed the cores: even what computes waits now and then, and an idle core is lost.
SLACK = 0.5


def run_all(stages: Sequence[tuple[Stage, str]], jobs: float, strict: bool) -> list[Outcome]:
    """Run the stages, each with what was chosen of it, as soon as those they need are done; return how each ended.

    jobs: how many cores there are to be kept busy. strict: a stage that could not run at all has failed.
    """
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    choices = {stage.name: choice for stage, choice in stages}
    waiting = [stage for stage, _choice in stages]
    running: dict[concurrent.futures.Future[Outcome], Stage] = {}
    outcomes: list[Outcome] = []
    width = max(len(stage.name) for stage in waiting)
    meter = Meter(jobs)
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(waiting)) as pool:
        try:
            while waiting or running:
                # Loads are what was measured once; where they leave a core idle, one more stage begins than they allow.
                started = startable(waiting, list(running.values()), jobs, one_more=meter.idle())
                for stage in started:
                    waiting.remove(stage)
                    running[pool.submit(run_one, stage, choices[stage.name], strict)] = stage
                done, _pending = concurrent.futures.wait(
                    running, timeout=SETTLED_S / 3, return_when=concurrent.futures.FIRST_COMPLETED
                )
                if started or done:
                    meter.restart()
                for future in done:
                    del running[future]
                    outcomes.append(future.result())
                    report(outcomes[-1], width)
        except BaseException:
            stop_all()
            raise
    return outcomes


def startable(waiting: Sequence[Stage], running: Collection[Stage], jobs: float, one_more: bool = False) -> list[Stage]:
    """Return the stages to start now, first come, first served: those that wait for no other, while there is a core for them.

    one_more: whether the first of them starts in any case, since a core is idle.
    """
    unfinished = {stage.name for stage in [*waiting, *running]}
    busy = sum(stage.load for stage in running)
    started: list[Stage] = []
    for stage in waiting:
        anyway = not started and (one_more or not running)
        if not unfinished.intersection(stage.needs) and (anyway or busy + stage.load <= jobs + SLACK):
            started.append(stage)
            busy += stage.load
    return started


def run_one(stage: Stage, choice: str = "", strict: bool = False) -> Outcome:
    """Run one stage; whatever happens in it becomes its outcome."""
    started = time.monotonic()
    reason = ""
    with exclusive(f"stage-{stage.name}"), log_file(stage).open("w", encoding="utf-8") as log:
        run = Run(stage.name, log, choice)
        try:
            stage.function(run)
            if not (run.counts.passed or run.counts.failed or run.counts.skipped):
                raise StageFailed("it tested nothing")
        except StageSkipped as skip:
            reason = str(skip)
            run.counts.skipped += 1
        except StageFailed as failure:
            reason = str(failure)
            run.counts.failed += 1
        except Exception as error:  # a fault of the test program itself is a failed stage, not the end of all stages
            traceback.print_exc(file=log)
            reason = f"{type(error).__name__}: {error}"
            run.counts.failed += 1
    if run.counts.skipped and in_ci():
        run.counts.failed += 1
        reason = f"in CI nothing may be skipped: {reason or '; '.join(sorted(set(run.counts.reasons)))}"
    elif strict and not run.counts.passed and not run.counts.failed:
        run.counts.failed += 1
        reason = f"it could not run: {reason}"
    seconds = time.monotonic() - started
    said = reason or _summary(run.counts)
    return Outcome(stage, seconds, run.cpu_seconds, run.counts, said, run.failures, run.shown)


def report(outcome: Outcome, width: int) -> None:
    """Print the line of a stage, and the end of its log when it failed."""
    counts = outcome.counts
    word = "FAILED" if outcome.failed else "skipped" if not counts.passed else "ok"
    numbers = f"{counts.passed} passed, {counts.failed} failed"
    if counts.skipped:
        numbers += f", {counts.skipped} skipped"
    line = f"{outcome.seconds:6.1f} s  {outcome.stage.name:<{width}}  {word:<7}  {numbers}"
    print(line + (f"  ({outcome.reason})" if outcome.reason else ""), flush=True)
    if outcome.shown:
        print("\n".join(f"    {entry}" for entry in outcome.shown), flush=True)
    if outcome.failed:
        print("\n".join(f"    | {entry}" for entry in _excerpt(outcome)))
        print(f"    the whole log: {log_file(outcome.stage).relative_to(paths.REPO)}", flush=True)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return what each stage took beside what it may take, the longest first, and which took more."""
    width = max(len(outcome.stage.name) for outcome in outcomes)
    lines = [f"{'stage':<{width}}  seconds  budget  CPU seconds"]
    for outcome in sorted(outcomes, key=lambda one: -one.seconds):
        stage = outcome.stage
        over = "  over budget" if outcome.seconds > stage.budget else ""
        lines.append(
            f"{stage.name:<{width}}  {outcome.seconds:7.0f}  {stage.budget:6d}  {outcome.cpu_seconds:11.0f}{over}"
        )
    return "\n".join(lines)


def log_file(stage: Stage) -> paths.Path:
    return paths.LOGS / f"{stage.name}.log"


def _summary(counts: Counts) -> str:
    """Return what to say of the cases that did not pass, each reason once."""
    reasons = list(dict.fromkeys(counts.reasons))
    return "; ".join(reasons[:4]) + (f"; and {len(reasons) - 4} more" if len(reasons) > 4 else "")


def _excerpt(outcome: Outcome) -> list[str]:
    """Return the end of what each failed check printed, or of the whole log where the stage has no such checks."""
    log = log_file(outcome.stage).read_bytes()
    parts = [log[start:end] for start, end in outcome.failures] or [log]
    lines = []
    for part in parts:
        lines += part.decode("utf-8", errors="replace").splitlines()[-TAIL_LINES // len(parts) :]
    return [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..." for line in lines]
