# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The controller's side of rollout_claim: says who claims the host, and whether another claim still holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ..modules.rollout_claim import ARGUMENT_SPEC
from ..plugin_utils import rollout_state as states
from ..plugin_utils.outcome import UNTOUCHED, began_with, unreachable_failure
from ..plugin_utils.rollout import first_outcome

_MODULE = "nemoclaw.local_inference.rollout_claim"
_NOTHING: dict[str, Any] = {"changed": False, "claimed": False, "by": None, "lost": None}


class ActionModule(ActionBase):
    """See the documentation of the module."""

    _VALID_ARGS = frozenset(ARGUMENT_SPEC)
    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return whose the host is."""
        super().run(tmp, task_vars)
        self._task_vars = dict(task_vars or {})
        _result, options = self.validate_argument_spec(ARGUMENT_SPEC)
        if self._task.check_mode or not self._is_wanted(options):
            return dict(_NOTHING)
        # A worker does this task, and the process of ansible-playbook is the one that goes on.
        self._asked = {"by": states.myself(os.getppid())}
        if options["path"]:
            self._asked["path"] = options["path"]
        try:
            found = {"claimed": True} if self._is_claimed() else self._take(options["take_over"])
            if options["state"] == "released" and found.get("claimed"):
                found = self._ask(state="released")
        except AnsibleConnectionFailure as error:
            return {**_NOTHING, "lost": unreachable_failure(str(error))}
        if found.get("failed"):
            # What keeps it from being written, keeps the wave from it as well, and is told there.
            return {**_NOTHING, "failure": found.get("failure")}
        return {**_NOTHING, "claimed": bool(found.get("claimed")), "by": found.get("by")}

    def _take(self, take_over: bool) -> dict[str, Any]:
        """Claim the host, in place of a run that has ended here without giving it up."""
        found = self._ask(state="taken")
        other = found.get("by")
        if other and (take_over or not states.is_alive(other)):
            found = self._ask(state="taken", instead_of=other)
        return found

    def _is_wanted(self, options: Mapping[str, Any]) -> bool:
        """Tell whether this run has to do with the host."""
        if options["state"] == "released":
            # Of a run that was killed, hosts that it had done may have its claim.
            left = (self._task_vars.get("rollout_started") or {}).get("interrupted") or []
            return self._is_claimed() or self._task_vars["inventory_hostname"] in left
        begun = self._task_vars.get(began_with(options["playbook"])) or {}
        return bool(begun.get("proceed")) and first_outcome(options["playbook"], begun)["state"] == UNTOUCHED

    def _is_claimed(self) -> bool:
        """Tell whether this run has claimed the host."""
        return bool((self._task_vars.get("rollout_claimed") or {}).get("claimed"))

    def _ask(self, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(
            module_name=_MODULE, module_args={**self._asked, **more}, task_vars=self._task_vars
        )
        return found
