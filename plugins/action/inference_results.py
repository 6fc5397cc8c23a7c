# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Prints the results of all hosts once, and writes them for programs; see the documentation of the module."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.host.replace import replace_file
from ..modules.inference_results import ARGUMENT_SPEC
from ..plugin_utils import outcome as made
from ..plugin_utils import results
from ..plugin_utils.plan_lines import table


class ActionModule(ActionBase):
    """See the documentation of the module."""

    _VALID_ARGS = frozenset(ARGUMENT_SPEC)
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the outcomes, and the hosts that end with an error."""
        super().run(tmp, task_vars)
        self._task_vars = dict(task_vars or {})
        _result, options = self.validate_argument_spec(ARGUMENT_SPEC)
        playbook = options["playbook"]
        begun, outcomes = self._gather(playbook)
        found: dict[str, Any] = {"changed": False, "hosts": outcomes, "bad": [], "exit_code": 0}
        if not outcomes:
            return {**found, "skipped": True}
        bad = results.bad_hosts(outcomes, options["fail_on_change"])
        found.update(bad=bad, exit_code=results.exit_code(outcomes, bad))
        lines = table(begun, outcomes) if playbook == "plan" else results.results_table(outcomes)
        self._display.display("\n".join(lines))
        if options["path"]:
            ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            content = results.document(playbook, outcomes, bad, self._task.check_mode, ended)
            found.update(_write(options["path"], content))
        return found

    def _gather(self, playbook: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what each host began with, and its outcome; nothing where the playbook was passed over on all of them."""
        name = made.began_with(playbook)
        there = set(self._task_vars["ansible_play_hosts"])
        begun, outcomes, is_asked = {}, {}, False
        for host in self._task_vars["ansible_play_hosts_all"]:
            of_host = self._task_vars["hostvars"].raw_get(host)
            begin, end = of_host.get(name) or {}, of_host.get("nemoclaw_ended") or {}
            begun[host] = begin
            if begin.get("skipped") and (end.get("outcome") or {}).get("playbook") != playbook:
                outcomes[host] = made.passed_over(playbook)
            else:
                outcomes[host], is_asked = made.pick(playbook, begin, end, host in there), True
        return (begun, outcomes) if is_asked else ({}, {})


def _write(path: str, content: dict[str, Any]) -> dict[str, Any]:
    """Write the document on the controller, and return what became of that."""
    place = Path(path).expanduser().absolute()
    try:
        replace_file(str(place), json.dumps(content, indent=2) + "\n", 0o600)
    except OSError as error:
        message = f"The results cannot be written to {place} on the controller: {error}. Correct nemoclaw_results_path."
        return {"failed": True, "msg": message, "failure": {"code": "results_unwritable", "message": message}}
    return {"path": str(place)}
