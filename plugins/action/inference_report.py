# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Writes documents and report on the controller; see the documentation of the module."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.failure import Failure
from ..module_utils.status import document
from ..modules.inference_report import ARGUMENT_SPEC
from ..plugin_utils.report import fleet_of, lines_of
from ..plugin_utils.report_files import keep, merge, read_fleet, write_report
from ..plugin_utils.version import collection_version


class ActionModule(ActionBase):
    """See the documentation of the module."""

    _VALID_ARGS = frozenset(ARGUMENT_SPEC)
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the fleet in short."""
        super().run(tmp, task_vars)
        _result, options = self.validate_argument_spec(ARGUMENT_SPEC)
        folder = Path(options["path"]).expanduser().absolute()
        try:
            return self._report(folder, options["collected"], dict(task_vars or {}))
        except Failure as failure:
            return {"failed": True, "changed": False, "msg": failure.message, "failure": failure.as_result()}

    def _report(self, folder: Path, collected: str | None, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        check_mode = bool(self._task.check_mode)
        documents = self._documents(collected, task_vars) if collected else []
        if collected and not check_mode:
            keep(folder, documents, document.format_time(time.time()))
        fleet, problems = read_fleet(folder)
        if check_mode:
            fleet = fleet_of(merge(fleet["hosts"], documents), fleet["runs"])
        changed = write_report(folder, fleet, check_mode)
        return {
            "changed": changed,
            "exit_code": fleet["exit_code"],
            "counts": fleet["counts"],
            "hosts": [{name: one[name] for name in ("host", "state", "exit_code", "reason")} for one in fleet["hosts"]],
            "lines": [*problems, *lines_of(fleet)],
            "problems": problems,
            "path": str(folder),
        }

    def _documents(self, collected: str, task_vars: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the documents of the hosts of this play, of those as well that did not answer."""
        now, version = document.format_time(time.time()), collection_version()
        found = []
        for host in task_vars["ansible_play_hosts_all"]:
            result = task_vars["hostvars"].raw_get(host).get(collected) or {}
            if result.get("skipped"):
                # The condition with which somebody imported the playbook leaves it out.
                continue
            if "document" in result:
                found.append(result["document"])
            elif result.get("unreachable"):
                found.append(document.unreachable(host, now, version, str(result.get("msg") or "")))
            else:
                found.append(document.build(host, now, version, result))
        return found
