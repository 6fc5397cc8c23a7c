# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""A container that does one thing and ends, such as a download. It lies with the engine, so any call may go on watching it."""

from __future__ import annotations

import time
from typing import Any, Callable, NamedTuple

from ..failure import Failure
from ..jobs.progress import Position, Report, silent
from ..untrusted import object_of
from .engine import Engine, parse_time
from .plan import require_ours
from .readiness import READ_LINES, explain, last_sign, tail
from .spec import Spec, differences

LOOK_EVERY_S = 0.5


class Amount(NamedTuple):
    """What is there so far: C(done) bytes, of C(total) where that is known, and when that last grew, in seconds since 1970."""

    done: int
    total: int | None
    grew: float


def run(
    engine: Engine,
    spec: Spec,
    measure: Callable[[], Amount],
    stall_s: float,
    message: str,
    report: Report = silent,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Start the container where it does not run yet, watch it to its end, and remove it.

    Args:
        engine: Who runs it.
        spec: The container; C(restart) has to be False.
        measure: How much is there.
        stall_s: Seconds without a byte or a line of log after which it is given up.
        message: What it does, as the start of a sentence.
        report: Gets the position, in the phase C(download).
        sleep: How to wait.

    Raises:
        Failure: C(download_stalled), or what its log speaks for; the container is removed then too.

    """
    _begin(engine, spec)
    try:
        _watch(engine, spec, measure, stall_s, message, report, sleep)
    except Failure:
        raise
    except BaseException:
        # Interrupted (Ctrl-C, SIGTERM): nobody would remove it after its end, and the engine shows its environment, with the user's token.
        engine.remove(spec.name)
        raise


def _watch(
    engine: Engine,
    spec: Spec,
    measure: Callable[[], Amount],
    stall_s: float,
    message: str,
    report: Report,
    sleep: Callable[[float], None],
) -> None:
    while True:
        found = engine.container(spec.name)
        state = object_of((found or {}).get("State"))
        if found is None or not state.get("Running"):
            _end(engine, spec, found)
            return
        amount = measure()
        # The total is an estimate of a catalogue: it must not say that all is there while bytes come.
        total = max(amount.total, amount.done + 1) if amount.total else None
        report(Position("download", amount.done, total, message=message))
        log = engine.logs(spec.name, READ_LINES)
        sign = last_sign(log)
        silent_s = time.time() - max(amount.grew, sign.timestamp() if sign else 0.0, _started(found))
        if silent_s > stall_s:
            engine.remove(spec.name)
            raise Failure(
                "download_stalled",
                f"The container {spec.name} downloaded nothing for {silent_s:.0f} s and was removed. Check the path to the weights' "
                f"registry (DNS, firewall, proxy), then run this again: what was downloaded is kept.",
                container=spec.name,
                last_logs=tail(log),
            )
        sleep(LOOK_EVERY_S)


def _begin(engine: Engine, spec: Spec) -> None:
    """Create and start it, unless one that does the same runs, or has ended well while nobody looked.

    One that ended otherwise is of a run that was killed: what it failed of may be gone by now (decision 0009).
    """
    found = engine.container(spec.name)
    require_ours(found, spec.name, spec.kind)
    state = object_of((found or {}).get("State"))
    is_good = state.get("Running") or (state.get("Status") == "exited" and state.get("ExitCode") == 0)
    if found and is_good and not differences(spec, found, engine.image(spec.image)):
        return
    if found:
        engine.remove(spec.name)
    try:
        engine.create(spec.name, spec.body())
        engine.start(spec.name)
    except BaseException:
        engine.remove(spec.name)
        raise


def _end(engine: Engine, spec: Spec, found: dict[str, Any] | None) -> None:
    if found is None:
        raise Failure(
            "container_gone",
            f"The container {spec.name} was removed by another process while it was working. Run this again.",
            container=spec.name,
        )
    state = object_of(found.get("State"))
    log = engine.logs(spec.name, READ_LINES)
    engine.remove(spec.name)
    if state.get("ExitCode") != 0:
        raise explain(spec.name, found, log, f"exited with code {state.get('ExitCode')} and was removed")


def _started(found: dict[str, Any]) -> float:
    started = parse_time(str(object_of(found.get("State")).get("StartedAt")))
    return started.timestamp() if started else time.time()
