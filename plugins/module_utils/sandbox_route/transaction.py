# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The change of a route as one transaction (decision 0022).

look -> plan -> path -> stage -> route -> prove -> adopt -> record -> commit; what fails up to the record restores the previous route. Until
the record is written a note beside it has the previous route, so a run that is killed anywhere is completed by the next one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ..failure import Failure
from ..host.machine import Account, Machine
from ..jobs.progress import Position as Progress
from ..jobs.progress import Report, silent
from ..openshell.gateway_route import Backend, Proof
from ..openshell.probe import BLOCKED, DEFAULT_IMAGE, UNAVAILABLE, probe
from ..openshell.probe import Desired as DesiredProbe
from ..openshell.route import DONE, NEEDED, Desired, Plan, Position
from ..route import write
from ..route.record import Note
from ..route.route import build_route
from ..route.write import Journal
from ..transport.url import parse_base_url

_NEEDED = ("provider", "base_url_host", "base_url_sandbox", "model", "api", "timeout")
# Steps that change something, with what a progress line says of them.
_STEPS = {
    "stage": "Staging the provider",
    "route": "Setting the route",
    "prove": "Validating the route from inside a sandbox",
    "adopt": "Adopting the route",
}


def check_route(route: Mapping[str, Any]) -> dict[str, Any]:
    """Return a route that was built before and went through a user's hands.

    Raises:
        Failure: C(route_incomplete), or one of build_route.

    """
    missing = [name for name in _NEEDED if not route.get(name)]
    if missing:
        raise Failure(
            "route_incomplete",
            f"The route for the sandboxes lacks {', '.join(missing)}. Run a provider's role first, which provides it, or pass what "
            f"inference_route returns as route (sandbox_route).",
        )
    texts = [name for name in _NEEDED if name != "timeout" and not isinstance(route[name], str)]
    if texts:
        raise Failure(
            "route_incomplete",
            f"The route for the sandboxes has {', '.join(texts)} in a form other than text: quote it.",
        )
    optional = {name: route[name] for name in ("container", "origin") if route.get(name)}
    optional.update({name: _whole(name, route[name]) for name in ("context_window",) if route.get(name)})
    return build_route(
        provider=route["provider"],
        base_url=route["base_url_host"],
        base_url_sandbox=route["base_url_sandbox"],
        model=route["model"],
        api=route["api"],
        timeout=_whole("timeout", route["timeout"]),
        **optional,
    )


def _whole(name: str, value: Any) -> int:
    """Return a number that templates and C(-e) may have made a text of."""
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Failure(
            "route_incomplete", f"The route for the sandboxes has {name} {value!r}, which is not a whole number."
        ) from None


@dataclass(frozen=True)
class PathProbe:
    """From where the path to this host is opened: see sandbox_probe."""

    machine: Machine
    account: Account
    network: str | None = None
    image: str = DEFAULT_IMAGE


class Transaction:
    """One change of the route.

    Args:
        backend: The path by which sandboxes get it; None where no sandbox is routed, so that the route is only recorded.
        desired: What is wanted.
        path: Of the record.
        owner: Whose record it is.
        probe_from: How the path from the sandboxes' network to this host is probed, None for not at all.
        at: Is told of each step before it and after it, by C(stage) and C(staged) and the like. Tests break runs off there.

    """

    def __init__(
        self,
        backend: Backend | None,
        desired: Desired,
        path: str,
        owner: Account,
        probe_from: PathProbe | None = None,
        at: Callable[[str], None] = lambda _step: None,
    ) -> None:
        self._backend, self._desired, self._at = backend, desired, at
        self._path, self._owner, self._probe_from = path, owner, probe_from
        self._journal = Journal(path, owner)
        self._previous: Position | None = None
        self._plan = Plan()
        self._proof = Proof(reason="")

    def plan(self, check_mode: bool) -> dict[str, Any] | None:
        """Return the result where nothing is left to do, or nothing may be done; None where work() has to be called.

        Raises:
            Failure: By which nothing may be done; nothing was changed.

        """
        backend = self._backend
        if backend is not None:
            backend.look()
            self._previous = self._find_previous(backend)
            self._plan = backend.plan(self._previous)
            self._probe_path(check_mode)
        if check_mode:
            return self._result(write.bring(self._path, self._owner, self._route(), True))
        return None if self._plan.actions else self.work(silent)

    def work(self, report: Report) -> dict[str, Any]:
        """Do what was planned.

        Raises:
            Failure: Of a step, with what became of the previous route. Up to the record nothing is recorded, and it is in force again as
                far as the sentence does not say otherwise.

        """
        try:
            if self._backend is not None:
                self._change(self._backend, report)
            self._at("record")
            change = write.bring(self._path, self._owner, self._route(), False)
            self._at("recorded")
        except Failure as failure:
            raise self._returned(failure) from failure
        except BaseException:
            self._restore()
            raise
        if self._backend is not None:
            self._journal.remove()
            self._at("commit")
            if self._plan.actions:
                self._backend.commit()
            self._at("committed")
        return self._result(change)

    def _change(self, backend: Backend, report: Report) -> None:
        if self._plan.actions:
            # Where a run that was broken off led them was not proved. If this one is killed before it leads them on, they still are there.
            now = backend.position()
            unproved = [now] if now is not None and now != self._previous else []
            self._journal.write(Note(self._previous, [*self._plan.positions, *unproved]))
        for step, words in _STEPS.items():
            self._at(step)
            report(Progress(step, message=words))
            if step == "stage":
                backend.stage(report)
            elif step == "prove":
                self._proof = backend.prove()
            else:
                getattr(backend, step)()
            self._at(f"{step}d")

    def _find_previous(self, backend: Backend) -> Position | None:
        """Return where the sandboxes were routed before this run, and before one that was interrupted and routed them where they are."""
        now, note = backend.position(), self._journal.read()
        return note.previous if note is not None and note.explains(now) else now

    def _returned(self, failure: Failure) -> Failure:
        """Restore the previous route, and return the failure with what became of them."""
        words = " ".join([failure.message, "Nothing was recorded.", *self._restore()])
        return Failure(failure.code, words, **failure.details)

    def _restore(self) -> list[str]:
        """Restore the previous route; where it is in force, the note is of no use any more, else the next run needs it."""
        backend = self._backend
        if backend is None:
            return []
        said = backend.restore(self._previous)
        with contextlib.suppress(Failure):
            backend.look()
            if backend.position() == self._previous:
                self._journal.remove()
        return said

    def _probe_path(self, check_mode: bool) -> None:
        """Stop where the sandboxes' network does not reach this host.

        Only where the sandbox calls this host by another name than the host itself: then the path goes through its firewall.
        """
        route = self._desired.route
        inside = parse_base_url(route["base_url_sandbox"], route["api"], for_sandbox=True)
        outside = parse_base_url(route["base_url_host"], route["api"])
        if self._probe_from is None or inside.host == outside.host:
            return
        at = self._probe_from
        spec = DesiredProbe(inside.host, inside.port, network=at.network, image=at.image)
        found = probe(at.machine, at.account, spec, check_mode)
        if found["changed"]:
            self._plan.actions.append(f"add the image {found['image']} to probe the path from")
        if found["outcome"] == UNAVAILABLE:
            self._plan.warnings.append(found["hint"])
        # In check mode nothing may listen yet, because nothing was started.
        if found["outcome"] == BLOCKED and not check_mode:
            known = found["firewall"] in ("ufw", "firewalld")
            offer = " With sandbox_open_firewall=true, the play runs that command itself." if known else ""
            raise Failure(
                "sandbox_path_blocked",
                f"{found['hint']} Nothing was saved, and the previous route stays in force.{offer}",
                **{
                    name: found[name]
                    for name in ("reason", "firewall", "command", "close_command", "network", "host", "port")
                },
            )

    def _route(self) -> dict[str, Any]:
        """Return what is recorded."""
        backend = self._backend
        if backend is None:
            return {**self._desired.route, "gateway": None, "sandbox": None}
        return {**self._desired.route, "gateway": backend.gateway, "sandbox": backend.sandbox, "way": backend.way}

    def _result(self, change: write.Change) -> dict[str, Any]:
        proof, backend, route = self._proof, self._backend, self._route()
        return {
            "changed": bool(self._plan.actions) or change.changed,
            "actions": self._plan.actions,
            "previous": self._previous,
            "route": route,
            "path": self._path,
            "gateway": route["gateway"],
            "sandbox": route["sandbox"],
            "sandboxes": backend.others if backend is not None else [],
            "way": route["way"],
            "environment": backend.environment if backend is not None else {},
            "restart_needed": backend is not None and backend.restart == NEEDED,
            "restarted": backend is not None and backend.restart == DONE,
            "proved": proof.reason is None,
            "proof": {"sandbox": proof.sandbox, "tool_calling": proof.tool_calling, "reason": proof.reason or None},
            "warnings": [*self._plan.warnings, *([proof.reason] if proof.reason else [])],
            "diff": self._diff(change),
            "ansible_facts": {"nemoclaw_route": route},
        }

    def _diff(self, change: write.Change) -> list[dict[str, str]]:
        before, backend = self._previous, self._backend
        leads = f"{backend.in_words(before)}\n" if before and backend is not None else ""
        done = "".join(f"{action}\n" for action in self._plan.actions)
        gateway = {"before": leads, "after": leads + done, "before_header": "gateway", "after_header": "gateway"}
        return [*([gateway] if done else []), *([change.diff] if change.changed else [])]
