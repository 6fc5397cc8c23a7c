# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The controller's side of inference_watch: makes the program, and brings it to a host that has another one or none."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase

from ..modules.inference_watch import ARGUMENT_SPEC
from ..plugin_utils.watch_app import build

_MODULE = "nemoclaw.local_inference.inference_watch"


class ActionModule(ActionBase):
    """See the documentation of the module."""

    _VALID_ARGS = frozenset(ARGUMENT_SPEC)
    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, a second time with the program where it is needed."""
        super().run(tmp, task_vars)
        variables = dict(task_vars or {})
        arguments = dict(self._task.args)
        if arguments.get("state") == "absent":
            return self._execute_module(module_name=_MODULE, module_args=arguments, task_vars=variables)
        app = build()
        arguments["checksum"] = app.checksum
        arguments.setdefault("host", variables["inventory_hostname"])
        result = self._execute_module(module_name=_MODULE, module_args=arguments, task_vars=variables)
        if result.get("failed") or not result.get("program_needed") or self._task.check_mode:
            return result
        folder = self._make_tmp_path()
        try:
            with tempfile.NamedTemporaryFile(dir=constants.DEFAULT_LOCAL_TMP) as file:
                file.write(app.content)
                file.flush()
                brought = self._transfer_file(file.name, self._connection._shell.join_path(folder, "watch.pyz"))
            self._fixup_perms2((folder, brought))
            return self._execute_module(
                module_name=_MODULE, module_args={**arguments, "src": brought}, task_vars=variables
            )
        finally:
            self._remove_tmp_path(folder)
