# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Keeps and tells what came of a playbook on one host; see the documentation of the module."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleAction, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils.failure import Failure, mask
from ..module_utils.plan import sources
from ..module_utils.plan.settings import SETTINGS
from ..modules.inference_outcome import ARGUMENT_SPEC, REQUIRED_IF
from ..plugin_utils import outcome as made
from ..plugin_utils.plan import KEYS_TO_ASK_WITH, explain_silence
from ..plugin_utils.tags import refuse_other_tags
from ..plugin_utils.vault import refuse_locked, why_locked

_MODULE = "nemoclaw.local_inference.inference_outcome"
# Shorter ones are in ordinary words as well.
_LEAST_SECRET = 6
# Playbooks without a plan that ask the route (tasks/status.yml).
_ASKING = ("status", "rotate_token")


class ActionModule(ActionBase):
    """See the documentation of the module."""

    _VALID_ARGS = frozenset(ARGUMENT_SPEC)
    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the outcome, or what the host said at the beginning."""
        super().run(tmp, task_vars)
        self._task_vars = dict(task_vars or {})
        _result, self._options = self.validate_argument_spec(ARGUMENT_SPEC, required_if=REQUIRED_IF)
        return {"begun": self._begin, "judged": self._judge, "raised": self._raise}.get(
            self._options["state"], self._end
        )()

    def _begin(self) -> dict[str, Any]:
        """Connect to the host, and return what it remembers; one that does not answer is no failure of this task."""
        started = time.time()
        found: dict[str, Any] = {"changed": False, "started": started, "last": None, "outcome": None}
        problems, skip = refuse_other_tags(self._task, self._task_vars)
        if skip:
            return {**found, "skipped": True, "proceed": False}
        problems += self._refuse_locked()
        failure: dict[str, Any] | None = None
        if problems:
            failure = {"code": problems[0].code, "message": problems[0].message, "refused": True}
        else:
            try:
                seen = self._ask({"state": "begun", "playbook": self._options["playbook"]})
                if seen.get("failed"):
                    silent = "module_stderr" in seen and "failure" not in seen
                    return {**found, "proceed": False, **(explain_silence(seen) if silent else seen)}
                found.update(last=seen["last"], route=seen["route"], auth_proxy=seen["auth_proxy"])
            except AnsibleConnectionFailure as error:
                failure = made.unreachable_failure(str(error))
        if failure:
            one = made.outcome(self._options["playbook"], started=started, ended=time.time(), failure=failure)
            self._say(f"{one['state'].capitalize()}: {one['message']} ({one['code']})")
            found["outcome"] = one
        return {**found, "proceed": failure is None}

    def _end(self) -> dict[str, Any]:
        """Return the outcome, after the host was told to remember it where it is a failure, or to forget an older one."""
        options, playbook = self._options, self._options["playbook"]
        is_planned = playbook not in made.UNPLANNED
        begin = self._task_vars.get("inference_plan" if is_planned else "nemoclaw_begun") or {}
        status = self._task_vars.get("inference_status") if options["status"] else None
        failure = None
        if options["state"] == "failed":
            failure = self._failure()
            if failure["code"] == made.BECOME_FAILED:
                # Ansible has printed that it could not parse an answer, and the table has room for the beginning of a remedy.
                self._say(f"Failed: {failure['message']} ({failure['code']})")
            status = None
        result = made.outcome(
            playbook,
            started=begin.get("started") or time.time(),
            ended=time.time(),
            plan=begin if is_planned else None,
            failure=failure,
            status=status,
            route=begin.get("route"),
            changed=options["changed"],
            check_mode=self._task.check_mode,
        )
        last = begin.get("last") if not is_planned else (begin.get("host") or {}).get("last_failure")
        said = None if self._task.check_mode else made.remember(result, last, self._ask)
        if said:
            self._say(said)
        return {"outcome": result, "changed": False}

    def _judge(self) -> dict[str, Any]:
        """Fail where the host ended badly; the message stands above, and Ansible prints an error that several hosts share once."""
        one = self._task_vars["nemoclaw_results"]["hosts"][self._task_vars["inventory_hostname"]]
        wrong = "unreachable" if one["state"] == made.UNREACHABLE else "failed"
        found = {"changed": False, wrong: True, "msg": "See the table above for this host."}
        return {**found, "state": one["state"], "code": one["code"]}

    def _raise(self) -> dict[str, Any]:
        """Fail with the failure of this rescue section, and with what was done about it.

        The task that failed has printed the failure: Ansible's own line of this one is what was done.
        """
        failure = self._failure()
        done = " ".join((self._options["reason"] or "").split())
        failure["message"] = f"{failure['message'].rstrip('.')}. {done}".rstrip()
        raise AnsibleAction(done, result={"changed": False, "msg": failure["message"], "failure": failure})

    def _failure(self) -> dict[str, Any]:
        """Return why this rescue section runs."""
        failure = made.failure_of(self._task_vars["ansible_failed_result"], self._task_vars["ansible_failed_task"])
        return {**failure, "message": self._masked(failure["message"])}

    def _ask(self, arguments: dict[str, Any]) -> dict[str, Any]:
        path = self._options["path"]
        more = {"path": path} if path else {}
        found: dict[str, Any] = self._execute_module(
            module_name=_MODULE, module_args={**arguments, **more}, task_vars=self._task_vars
        )
        return found

    def _masked(self, text: str) -> str:
        """Return what a task said without the secrets that the settings hold: it may quote one."""
        secret = {name for name, one in SETTINGS.items() if one.secret}
        values, _origins = sources.collect(self._task_vars, os.environ, self._evaluate)
        for name in secret & values.keys():
            value = str(values[name]).strip()
            if len(value) >= _LEAST_SECRET:
                text = mask(text, value)
        return text

    def _refuse_locked(self) -> list[Failure]:
        """Refuse a key that cannot be decrypted here: later it would fail between a change and its proof."""
        locked: dict[str, str] = {}

        def evaluate(name: str, raw: Any) -> Any:
            try:
                return self._templar.template(raw)
            except AnsibleError as error:
                if why := why_locked(error):
                    locked[name] = why
                return None

        if self._options["playbook"] in _ASKING:
            for name in KEYS_TO_ASK_WITH:
                sources.find(SETTINGS[name], self._task_vars, os.environ, evaluate)
        return refuse_locked(locked)

    def _evaluate(self, _name: str, raw: Any) -> Any:
        try:
            return self._templar.template(raw)
        except AnsibleError:
            return None  # it is made of something that another task tells

    def _say(self, line: str) -> None:
        self._display.display(f"[{self._task_vars['inventory_hostname']}] {line}")
