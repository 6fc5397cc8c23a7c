# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Begins, judges and ends a rollout on the controller; see the documentation of the module."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.failure import Failure
from ..modules.rollout import ARGUMENT_SPEC
from ..plugin_utils import rollout_state as states
from ..plugin_utils.outcome import UNPLANNED, UNTOUCHED, began_with, pick, remedy_of
from ..plugin_utils.rollout import (
    begin,
    claimed_outcome,
    first_outcome,
    is_over,
    judge,
    left_by,
    refuse_claimed,
    refuse_drift,
    refuse_names,
    summary,
)
from ..plugin_utils.rollout_waves import read_downloads, read_limit, read_seconds, read_waves


class ActionModule(ActionBase):
    """See the documentation of the module."""

    _VALID_ARGS = frozenset(ARGUMENT_SPEC)
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what comes next."""
        super().run(tmp, task_vars)
        self._task_vars = dict(task_vars or {})
        _result, options = self.validate_argument_spec(ARGUMENT_SPEC)
        self._playbook = options["playbook"]
        self._begun = began_with(self._playbook)
        step = {"started": self._start, "proved": self._prove, "judged": self._judge, "ended": self._end}[
            options["state"]
        ]
        try:
            self._soak = read_seconds("rollout_soak", options["soak"])
            self._limit = read_limit(options["max_failures"])
            path = Path(options["path"]) if options["path"] else self._default_path()
            return {"changed": False, "soak": self._soak, **step(path, options)}
        except Failure as failure:
            return {"failed": True, "changed": False, "msg": failure.message, "failure": failure.as_result()}

    def _start(self, path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        waves, canaries, by_memory = read_waves(options["waves"]), options["canary"], self._playbook in UNPLANNED
        begun = {host: self._variable(host, self._begun) for host in self._task_vars["ansible_play_hosts_all"]}
        # A playbook of the user's own imports ours, with a condition or for hosts that meet it; or runs with tags for other parts of it.
        begun = {host: one for host, one in begun.items() if not one.get("skipped")}
        if not begun:
            return {"skipped": True, "id": "", "hosts": [], "batches": [], "outcomes": {}, "stopped": "", "lines": []}
        for host in begun:
            read_downloads(self._task_vars["hostvars"][host].get("rollout_downloads", 0))
        there = set(self._task_vars["ansible_play_hosts"])
        refuse_names(begun, self._task_vars["groups"])
        claims = {host: self._variable(host, "rollout_claimed") for host in begun}
        outcomes = {
            host: claimed_outcome(first_outcome(self._playbook, one, host in there), claims[host])
            for host, one in begun.items()
        }
        marks = {host: self._mark(one) for host, one in begun.items()}
        try:
            if self._task.check_mode:
                start, interrupted = begin(outcomes, marks, None, waves, self._limit, canaries), []
            else:
                # A worker does this task, and the process of ansible-playbook is the one that goes on.
                by = states.myself(os.getppid())
                with states.locked(path):
                    before = states.load(path)
                    self._refuse_second(before, by, path, options["take_over"])
                    refuse_claimed(claims)
                    others = {*self._task_vars["groups"]["all"]} - {*begun}
                    start = begin(outcomes, marks, before, waves, self._limit, canaries, by_memory, others)
                    interrupted = [host for host in left_by(before) if host in begun]
                    start.state.by = by
                    states.save(path, start.state)
        except Failure as failure:
            # No failure of a host: what is true of each is still to be told.
            return {**_not_begun(failure, outcomes), "path": str(path), "max_failures": str(self._limit)}
        self._display.display("\n".join(start.lines))
        reached = [] if start.state.stopped else start.waves
        return {
            "id": start.state.id,
            "resumed": start.resumed,
            # What comes later is done on other hosts, which may have other variables.
            "path": str(path),
            "max_failures": str(self._limit),
            "hosts": [host for wave in reached for host in wave],
            "batches": [len(wave) for wave in reached],
            "outcomes": start.outcomes,
            "interrupted": interrupted,
            "stopped": start.state.stopped,
            "lines": start.lines,
        }

    def _prove(self, _path: Path, _options: Mapping[str, Any]) -> dict[str, Any]:
        refuse_drift(self._task_vars["rollout_proof_plan"])
        return {"stopped": "", "lines": []}

    def _judge(self, path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        if self._task.check_mode:
            return {"stopped": "", "lines": []}
        try:
            state = self._mine(path)
            judge(state, self._outcomes(self._batch()), self._limit, options["proof"], self._now()["hosts"])
            states.save(path, state)
        except Failure as failure:
            # No failure of a host: what was done is still to be told.
            return {"stopped": failure.message, "lines": [failure.message]}
        return {"id": state.id, "stopped": state.stopped, "lines": summary(state) if state.stopped else []}

    def _end(self, path: Path, _options: Mapping[str, Any]) -> dict[str, Any]:
        now = self._now()
        if not now["id"] and now["stopped"]:
            self._display.display(now["stopped"])
        if self._task.check_mode or not now["id"]:
            return {"stopped": now["stopped"], "lines": []}
        try:
            state = self._mine(path)
            state.by = None
            hosts = self._task_vars["ansible_play_hosts_all"]
            state.finished = states.now() if is_over(state, hosts) else ""
            states.save(path, state)
        except Failure as failure:
            self._display.display(failure.message)
            return {"stopped": failure.message, "lines": [failure.message]}
        lines = summary(state, hosts)
        self._display.display("\n".join(lines))
        return {"id": state.id, "stopped": state.stopped, "lines": lines}

    def _refuse_second(self, before: states.State | None, by: Mapping[str, Any], path: Path, take_over: bool) -> None:
        other = before.by if before else None
        if not other or take_over or (other["pid"], other["process_started"]) == (by["pid"], by["process_started"]):
            return
        if states.is_alive(other):
            raise states.refuse_second(other, path)

    def _mine(self, path: Path) -> states.State:
        """Return the state, unless somebody has taken the rollout over."""
        state = states.load(path)
        if state is None or not state.by or (state.id, state.by["pid"]) != (self._now()["id"], os.getppid()):
            raise Failure(
                "rollout_taken_over",
                f"The rollout in {path} is no longer this run's: it was taken over, or its file was removed. This run ends here, and "
                "changes no further host. Look at the other run.",
            )
        return state

    def _now(self) -> dict[str, Any]:
        """Return what plays/rollout_begin.yml kept of the start."""
        found: dict[str, Any] = self._task_vars["hostvars"]["localhost"]["rollout_now"]
        return found

    def _batch(self) -> list[str]:
        """Return the hosts of this batch, those included that no longer answer: the waves are the batches."""
        now, start = self._now(), 0
        hosts = now["hosts"]
        for size in now["batches"]:
            batch = list(hosts[start : start + size])
            if self._task_vars["inventory_hostname"] in batch:
                return batch
            start += size
        return []

    def _outcomes(self, hosts: list[str]) -> dict[str, dict[str, Any]]:
        """Return what became of each host, as the table of the results will have it."""
        there = set(self._task_vars["ansible_play_hosts"])
        return {
            host: pick(
                self._playbook, self._variable(host, self._begun), self._variable(host, "nemoclaw_ended"), host in there
            )
            for host in hosts
        }

    def _mark(self, begun: Mapping[str, Any]) -> str:
        """Return what a host is to be, as a mark; for a new token it is the same on every host."""
        return self._playbook if self._playbook in UNPLANNED else str(begun.get("fingerprint") or "")

    def _variable(self, host: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._task_vars["hostvars"].raw_get(host).get(name) or {}
        return found

    def _default_path(self) -> Path:
        return states.default_path(self._task_vars.get("ansible_inventory_sources") or [], os.environ)


def _not_begun(failure: Failure, outcomes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the start of a rollout that does not begin: no waves, and on each host that was to be changed the reason."""
    why = {"code": failure.code, "message": failure.message, "remedy": remedy_of(failure.message)}
    told = {host: {**one, **why} if one["state"] == UNTOUCHED else one for host, one in outcomes.items()}
    lines = [failure.message]
    return {
        "id": "",
        "resumed": False,
        "hosts": [],
        "batches": [],
        "outcomes": told,
        "stopped": failure.message,
        "lines": lines,
    }
