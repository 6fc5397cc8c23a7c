# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""A managed container: from what is there to what is wanted, without losing a server that works.

How to use it (vllm/lifecycle.py is the example; a Job runs what changes something, so that a play can watch it)::

    todo = plan.make_plan(engine, spec)         # looks only; raises container_foreign
    if todo.needs_container: ...                # check ports and GPUs, pull, download: the old one still serves
    if not check_mode:
        apply(engine, todo)                     # create beside -> stop the old -> take its name -> start; undone on failure
        look, actions = follow(engine, spec, server, report)  # until it is ready; rolled back on failure
    stop(engine, name, kind, check_mode); remove(...); restore(...)

What happened lies with the engine alone, so any call may be the one that goes on:

- C(NAME) with the restart policy C(on-failure:3) has not proved itself yet. When it is ready it gets C(unless-stopped), which
  also tells the next run what is left to do where this one was killed. When it fails, it is removed.
- C(NAME-previous) is the container that worked before. It is removed when its successor is ready; a caller who proves more than that
  keeps it until then. It takes its name back when the successor fails. GPU memory seldom holds two models, so it has to stop before the
  new one starts; everything that can go wrong without a GPU (settings, image, weights, ports) goes wrong before that.
- C(NAME-next) is a leftover of a run that was killed, and is removed.
- C(spec.instead_of) is another container of ours, of whichever kind, that gives way: where it has the port or a GPU that the new one
  wants, it is stopped just before that one starts.
- The policy C(no) is what a container of ours gets that served and is stopped for another: when that one fails, it is started again. One
  that somebody stopped has its own policy still, and stays stopped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Callable

from ..failure import Failure
from ..jobs.progress import Report, silent
from ..untrusted import object_of
from . import readiness
from .engine import Engine
from .plan import (
    MADE_WAY_POLICY,
    NEXT,
    PREVIOUS,
    UNPROVED_POLICY,
    Plan,
    has_made_way,
    is_unproved,
    kind_of,
    model_of,
    name_of,
    ours,
    port_of,
    require_ours,
    waiting,
)
from .spec import RESTART_POLICY, Spec

LOOK_EVERY_S = 1.0
# What a run does to a container that must not hold a GPU where it does not prove itself; C(wait): it was left unproved.
_OF_THIS_RUN = ("create", "replace", "start", "keep", "wait")


def apply(engine: Engine, plan: Plan, server: readiness.Server | None = None, report: Report = silent) -> None:
    """Do the step; what it replaces is back in its place where the engine refuses a part of it.

    Raises:
        Failure: What the engine refused.

    """
    name = plan.spec.name
    _remove_leftover(engine, plan.spec)
    if plan.current is not None and name_of(plan.current) != name:
        engine.rename(name_of(plan.current), name)
    if plan.step in ("start", "create", "replace") and not (plan.current and is_unproved(plan.current)):
        # What made way for an earlier step, which was a success, is none of this one's.
        _settle(engine, plan.spec.instead_of)
    if plan.step == "start":
        engine.set_restart_policy(name, UNPROVED_POLICY, readiness.MAX_RESTARTS)
        _start(engine, plan, server, report)
    elif plan.step == "update":
        engine.set_restart_policy(name, plan.spec.restart_policy)
    elif plan.needs_container:
        _make(engine, plan, server, report)


def follow(
    engine: Engine,
    spec: Spec,
    server: readiness.Server,
    report: Report = silent,
    sleep: Callable[[float], None] = time.sleep,
    keep_previous: bool = False,
) -> tuple[readiness.Look, list[str]]:
    """Look until the server is ready, and return the last look and what was done then to keep it.

    C(keep_previous): leave its predecessor there, for restore().

    Raises:
        Failure: Of readiness.look(), after rolling back; C(restored) names the container that serves again, None where there was none.

    """
    try:
        seen = _await(engine, server, report, sleep)
    except Failure as failure:
        raise roll_back(engine, spec, failure, server, report, sleep) from None
    return seen, _prove(engine, spec, seen, keep_previous)


def _await(engine: Engine, server: readiness.Server, report: Report, sleep: Callable[[float], None]) -> readiness.Look:
    memory = readiness.Memory()
    while True:
        seen = readiness.look(engine, server, memory)
        report(seen.position(server.name))
        if seen.ready:
            return seen
        sleep(LOOK_EVERY_S)


def roll_back(
    engine: Engine,
    spec: Spec,
    failure: Failure,
    server: readiness.Server | None = None,
    report: Report = silent,
    sleep: Callable[[float], None] = time.sleep,
) -> Failure:
    """Remove a container that did not prove itself, restore the previous one, and return the failure with what was done.

    Args:
        engine: Who runs them.
        spec: What failed.
        failure: How.
        server: How to wait until the previous one answers again; None only starts it.
        report: Gets the progress of that.
        sleep: How to wait.

    """
    try:
        if not _undo(engine, spec):
            return failure
        before = engine.container(spec.name)
        own = spec.name if before and (has_made_way(before) or object_of(before.get("State")).get("Running")) else ""
        back = [name for name in dict.fromkeys((own, waiting(engine, spec.instead_of))) if name]
    except Failure as second:
        said = f"{failure.message} The previous state could not be restored: {second.message}"
        return Failure(failure.code, said, **{**failure.details, "restored": None})
    restored, outcome = [], []
    for name in back:
        described = _describe(engine, spec, name)
        try:
            _bring_back(engine, name, server, report, sleep)
        except Failure as second:
            outcome.append(f"{described} did not come back: {second.message.rstrip('.')}")
        else:
            restored.append(name)
            outcome.append(f"{described} {'answers' if server else 'runs'} again")
    if not back:
        outcome = ["the previous one is restored, stopped as before" if before else "image and weights are kept"]
    said = f"{failure.message} The new container was removed; {', and '.join(outcome)}."
    return Failure(failure.code, said, **{**failure.details, "restored": restored[0] if restored else None})


def _undo(engine: Engine, spec: Spec) -> bool:
    """Remove what did not prove itself, and give the previous one its name back; False where what has the name proved itself."""
    current, fallback = ours(engine, spec.name, spec.kind)
    _remove_leftover(engine, spec)
    if current is not None and not is_unproved(current):
        return False
    if current is not None:
        engine.remove(spec.name)
    if fallback is not None:
        engine.rename(spec.name + PREVIOUS, spec.name)
    return True


def _remove_leftover(engine: Engine, spec: Spec) -> None:
    """Remove what was made and did not get as far as to its name."""
    leftover = engine.container(spec.name + NEXT)
    if leftover is not None and kind_of(leftover) == spec.kind:
        engine.remove(spec.name + NEXT)


def _bring_back(
    engine: Engine, name: str, server: readiness.Server | None, report: Report, sleep: Callable[[float], None]
) -> None:
    """Start a container that worked before, and wait until it answers; C(server) is how to ask the one that failed."""
    _serve_again(engine, name)
    if server is None:
        return
    port = port_of(engine.container(name) or {}) or server.port
    before = readiness.Server(name, port, (), stall_s=server.stall_s)
    _await(engine, replace(server, port=port, model="") if name == server.name else before, report, sleep)


def _make_way(engine: Engine, name: str) -> None:
    """Stop a container that serves, after noting that it is to serve again where the other one fails."""
    engine.set_restart_policy(name, MADE_WAY_POLICY)
    engine.stop(name)


def _serve_again(engine: Engine, name: str) -> None:
    """Start a container that has made way; it counts as one until it runs."""
    engine.start(name)
    _settle(engine, name)


def _settle(engine: Engine, name: str) -> None:
    """Take the note back that a container of ours has made way."""
    if waiting(engine, name):
        engine.set_restart_policy(name, RESTART_POLICY)


def _describe(engine: Engine, spec: Spec, name: str) -> str:
    model = model_of(engine.container(name) or {})
    return (name if name != spec.name else "the previous one") + (f" ({model})" if model else "")


def stop(engine: Engine, name: str, kind: str, check_mode: bool) -> list[str]:
    """Stop it, which frees its GPU, and return what was done. It stays stopped over a reboot."""
    found = [one for one in (*ours(engine, name, kind), engine.container(name + NEXT)) if one]
    running = [name_of(one) for one in found if object_of(one.get("State")).get("Running")]
    noted = [name_of(one) for one in found if has_made_way(one)]
    if not check_mode:
        for one in running:
            engine.stop(one)
        for one in noted:
            _settle(engine, one)
    return [*(f"stop {one}" for one in running), *(f"keep {one} stopped" for one in noted if one not in running)]


def restore(engine: Engine, name: str, kind: str, check_mode: bool, instead_of: str = "") -> list[str]:
    """Undo a step whose container became ready, and return what was done. What serves again is not waited for.

    Args:
        engine: Who runs them.
        name: The container. Its predecessor takes its place; without one it is stopped.
        kind: Of which kind it has to be.
        check_mode: Only say what would be done.
        instead_of: Another of ours, which is started again where it was stopped for it.

    """
    fallback, back = ours(engine, name, kind)[1], [waiting(engine, instead_of)]
    if fallback is None:
        actions = stop(engine, name, kind, check_mode)
    else:
        actions = [*_remove(engine, [name], kind, check_mode), f"rename {name + PREVIOUS}"]
        if not check_mode:
            engine.rename(name + PREVIOUS, name)
        back.insert(0, name if has_made_way(fallback) else "")
    back = [one for one in back if one]
    if not check_mode:
        for one in back:
            _serve_again(engine, one)
    return [*actions, *(f"start {one}" for one in back)]


def outcome_of(name: str, actions: Sequence[str]) -> str:
    """Return what became of a server that did not prove itself, by what restore() did, as a sentence."""
    back = [one.split(" ", 1)[1] for one in actions if one.startswith("start ")]
    had_previous = any(one.startswith("rename ") for one in actions)
    if back:
        said = f"{' and '.join(back)} serves again as before once its model is loaded."
        return said if had_previous else f"{said} {name} is stopped and left in place."
    if had_previous:
        return f"{name} is the previous one again, stopped as before."
    return f"{name} is stopped, which frees its GPU, and left in place: once the cause is fixed, it only needs to load."


def is_provisional(actions: Sequence[str], previous: str | None, instead_of: str) -> bool:
    """Tell whether a caller who proves more has something to undo: a server of this run, or one that made way for it."""
    return bool(previous or instead_of or any(one.split(" ", 1)[0] in _OF_THIS_RUN for one in actions))


def remove(engine: Engine, name: str, kind: str, check_mode: bool, more: Sequence[str] = ()) -> list[str]:
    """Remove it and whatever a run that was killed left of it; return what was done. C(more): further names of this kind."""
    return _remove(engine, [name, name + PREVIOUS, name + NEXT, *more], kind, check_mode)


def _remove(engine: Engine, names: Sequence[str], kind: str, check_mode: bool) -> list[str]:
    found = [(one, engine.container(one)) for one in names]
    for one, container in found:
        require_ours(container, one, kind)
    present = [one for one, container in found if container]
    if not check_mode:
        for one in present:
            engine.remove(one)
    return [f"remove {one}" for one in present]


def _make(engine: Engine, plan: Plan, server: readiness.Server | None, report: Report) -> None:
    name, spec = plan.spec.name, plan.spec
    require_ours(engine.container(name + NEXT), name + NEXT, spec.kind)
    body = spec.body()
    if spec.restart:
        body["HostConfig"]["RestartPolicy"] = {
            "Name": UNPROVED_POLICY,
            "MaximumRetryCount": readiness.MAX_RESTARTS,
        }
    engine.create(name + NEXT, body)
    try:
        if plan.current is not None:
            _park(engine, plan)
        engine.rename(name + NEXT, name)
    except Failure as failure:
        raise roll_back(engine, spec, failure, server, report) from None
    _start(engine, plan, server, report)


def _park(engine: Engine, plan: Plan) -> None:
    """Put the container that is replaced aside where it proved itself, and out of the way where it did not, or less than its own."""
    name = plan.spec.name
    current = plan.current or {}
    if plan.fallback is not None or is_unproved(current):
        engine.remove(name)
        return
    # First the name: so whoever comes after a run that was killed knows it for what to go back to.
    engine.rename(name, name + PREVIOUS)
    if object_of(current.get("State")).get("Running") or has_made_way(current):
        _make_way(engine, name + PREVIOUS)


def _start(engine: Engine, plan: Plan, server: readiness.Server | None, report: Report) -> None:
    try:
        if plan.yielding:
            _make_way(engine, name_of(plan.yielding))
        engine.start(plan.spec.name)
    except Failure as failure:
        raise roll_back(engine, plan.spec, failure, server, report) from None


def _prove(engine: Engine, spec: Spec, seen: readiness.Look, keep_previous: bool) -> list[str]:
    """Let a container that is ready stay: over crashes, reboots, and without its predecessor unless that is kept."""
    actions = []
    if is_unproved(seen.found):
        engine.set_restart_policy(spec.name, spec.restart_policy)
        actions.append(f"keep {spec.name} (restart policy {spec.restart_policy})")
    if engine.container(spec.name + PREVIOUS) and not keep_previous:
        engine.remove(spec.name + PREVIOUS)
        actions.append(f"remove {spec.name + PREVIOUS}")
    return actions
