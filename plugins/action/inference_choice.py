# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Chooses on the controller, from the facts of the play; see the documentation of the module."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils.failure import Failure
from ..module_utils.plan import settings as known
from ..module_utils.plan import sources
from ..module_utils.plan.choice import ROLES, choose
from ..module_utils.plan.refusals import (
    foresee_host,
    missing_libraries,
    refuse_libraries,
)
from ..modules.inference_choice import ARGUMENT_SPEC
from ..plugin_utils.ollama import decide_ollama, refuse


class ActionModule(ActionBase):
    """See the documentation of the module."""

    _VALID_ARGS = frozenset(ARGUMENT_SPEC)
    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the choice."""
        super().run(tmp, task_vars)
        self._task_vars = dict(task_vars or {})
        _result, options = self.validate_argument_spec(ARGUMENT_SPEC)
        try:
            return {"changed": False, **self._choose(options)}
        except Failure as failure:
            return {"failed": True, "changed": False, "msg": failure.message, "failure": failure.as_result()}

    def _choose(self, options: Mapping[str, Any]) -> dict[str, Any]:
        host = self._task_vars["ansible_facts"]["nemoclaw_host"]
        settings = self._settings(options)
        refuse(settings.problems)
        if options["role"] == "ollama":
            if ROLES.get(settings["preflight_provider"]) != "ollama":
                settings.values["preflight_provider"] = "ollama"
            return {"ollama": decide_ollama(host, settings, self._task.check_mode, self._ask)}
        choice = choose(host, settings, options["keep_route"])
        if options["reason"] and settings["preflight_provider"] != known.AUTO:
            choice = replace(choice, reason=options["reason"])
        missing = missing_libraries(host, settings, choice, options["libraries"])
        refuse([*foresee_host(host, settings, choice, options["keep_route"]), *refuse_libraries(host, missing)])
        return {"choice": choice.as_result(), "packages": _package_names(host, missing)}

    def _settings(self, options: Mapping[str, Any]) -> known.Settings:
        return known.read(*sources.collect({**self._task_vars, **options["settings"]}, os.environ, self._evaluate))

    def _evaluate(self, _name: str, raw: Any) -> Any:
        try:
            return self._templar.template(raw)
        except AnsibleError:
            return None  # it is made of something that another task tells

    def _ask(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run an acting module in its check mode."""
        before = self._task.check_mode
        self._task.check_mode = True
        try:
            return self._execute_module(
                module_name=f"nemoclaw.local_inference.{name}", module_args=arguments, task_vars=self._task_vars
            )
        finally:
            self._task.check_mode = before


def _package_names(host: Mapping[str, Any], libraries: Iterable[str]) -> list[str]:
    """Return how the package manager of the host calls Python libraries."""
    prefix = {"pacman": "python-", "apk": "py3-"}.get(host["package_manager"] or "", "python3-")
    return [prefix + one for one in libraries]
