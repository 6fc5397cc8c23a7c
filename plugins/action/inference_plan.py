# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The controller's side of inference_plan: gathers the settings of a host, runs the look, and asks the acting modules for the rest."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.release import __version__

from ..module_utils.failure import Failure
from ..module_utils.plan import settings as known
from ..module_utils.plan import sources
from ..module_utils.plan.choice import Choice
from ..module_utils.plan.refusals import endpoint_api
from ..module_utils.status import document
from ..module_utils.transport.url import parse_base_url
from ..plugin_utils.outcome import outcome, remember, unreachable_failure
from ..plugin_utils.plan import (
    KEYS_TO_ASK_WITH,
    become_remedy,
    complete,
    explain_silence,
    refuse_core,
)
from ..plugin_utils.plan_lines import lines_of
from ..plugin_utils.tags import refuse_other_tags
from ..plugin_utils.vault import refuse_locked, why_locked
from ..plugin_utils.version import collection_version
from ..plugin_utils.watch_app import build

_MODULE = "nemoclaw.local_inference.inference_plan"
_MEMORY = "nemoclaw.local_inference.inference_outcome"
# Of the secrets that the look does not need, it has to know only whether they were given.
_GIVEN = "(given)"
# What the controller alone uses; it may hold a presigned query.
_LINKS = ("ollama_install_url", "ollama_install_jetpack_url")
# Providers that may mean a server of the user's own.
_OWN = (known.AUTO, "custom", "anthropicCompatible")
# What playbooks/switch_model.yml sets from the recorded route, which is known only after the look.
_OF_THE_RECORD = ("endpoint_url", "nemoclaw_local_inference_timeout", "nemoclaw_preferred_api")
# Providers that nothing of root's is compared for, without an auth proxy of their own.
_ROOTLESS = ("custom", "anthropicCompatible", "start-windows-ollama", "install-windows-ollama")


class ActionModule(ActionBase):
    """See the documentation of the module."""

    _VALID_ARGS = frozenset(
        ("settings", "default_provider", "keep_route", "proof", "fail_on_refusal", "show", "playbook", "collect")
    )
    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan."""
        super().run(tmp, task_vars)
        self._task_vars = dict(task_vars or {})
        _result, options = self.validate_argument_spec(
            {
                "settings": {"type": "dict", "default": {}},
                "default_provider": {"type": "str", "choices": [known.AUTO, "ollama"], "default": known.AUTO},
                "keep_route": {"type": "bool", "default": False},
                "proof": {"type": "str", "choices": ["ladder", "completion"]},
                "fail_on_refusal": {"type": "bool", "default": False},
                "show": {"type": "bool", "default": False},
                "playbook": {"type": "str"},
                "collect": {"type": "bool", "default": False},
            }
        )
        started = time.time()
        try:
            plan = self._plan(options)
        except AnsibleConnectionFailure as error:
            if not options["playbook"]:
                raise
            return self._unreachable(error, options["playbook"], started)
        if "refusals" not in plan:
            # The document is ours to make: a host that sent one would speak for any other.
            return {name: value for name, value in plan.items() if name != "document"}
        if options["collect"]:
            return {"changed": False, "document": self._document(plan)}
        plan["lines"] = lines_of(plan)
        if options["fail_on_refusal"] and plan["refusals"]:
            messages = list(dict.fromkeys(one["message"] for one in plan["refusals"]))
            # Ansible prints the whole of a failed result: what a user has to read is not to drown in facts.
            kept = {name: plan[name] for name in ("changed", "choice", "refusals", "converged", "drift", "steady")}
            kept.update(failed=True, failure=plan["refusals"][0], msg=" ".join([*messages, "Nothing was changed."]))
            return kept
        # Of a fleet, what is in order has its line in the table at the end.
        is_calm = (
            plan["converged"] and len(self._task_vars["ansible_play_hosts_all"]) > 1 and not self._display.verbosity
        )
        if options["show"] and not is_calm:
            # A task for it would cost a fleet a worker for each host.
            self._say(*plan["lines"])
        if options["playbook"]:
            self._finish(plan, options["playbook"], started)
        return plan

    def _plan(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the plan without its lines, or what a look returned that failed."""
        unwanted, skip = refuse_other_tags(self._task, self._task_vars, has_plan=True)
        if skip:
            return {"skipped": True, "changed": False, "converged": False, "proceed": False}
        variables = self._variables(options)
        self._unresolved: list[str] = []
        self._locked: dict[str, str] = {}
        values, origins = sources.collect(variables, os.environ, self._evaluate)
        self._secrets = [str(values[name]) for name, one in known.SETTINGS.items() if one.secret and name in values]
        sources.prefer(options["default_provider"], values, origins)
        settings = known.read(values, origins)
        self._owner = settings["preflight_user"]
        self._route_path = settings["preflight_route_path"]
        settings.problems += refuse_core(__version__)
        settings.problems += refuse_locked(self._locked)
        settings.problems += unwanted
        settings.problems += sources.unknown_names({*self._task_vars, *options["settings"]}, self._extra_names())
        settings.problems += self._check_url(settings)
        if settings.problems:
            plan = _refused(settings.problems)
        else:
            plan = self._look(settings, values, origins, options)
            if "refusals" not in plan:
                return explain_silence(plan) if "module_stderr" in plan and "failure" not in plan else plan
            plan = complete(plan, settings, options["keep_route"], self._ask)
        plan["fingerprint"] = _fingerprint(values)
        return plan

    def _finish(self, plan: dict[str, Any], playbook: str, started: float) -> None:
        """Add to the plan what it means for its playbook, and have the host remember or forget where the playbook ends here."""
        plan["started"] = started
        plan["proceed"] = not plan["converged"] and not plan["refusals"]
        plan["outcome"] = outcome(
            playbook, started=started, ended=time.time(), plan=plan, is_done=False, check_mode=self._task.check_mode
        )
        if not plan["proceed"] and not self._task.check_mode:
            last = (plan["host"] or {}).get("last_failure")
            path = {"path": self._route_path} if self._route_path else {}
            said = remember(plan["outcome"], last, lambda words: self._run(_MEMORY, {**words, **path}, as_root=False))
            if said:
                self._say(said)

    def _unreachable(self, error: AnsibleError, playbook: str, started: float) -> dict[str, Any]:
        """Return the result for a host that did not answer, which is no failure of this task: its playbook ends with one."""
        one = outcome(playbook, started=started, ended=time.time(), failure=unreachable_failure(str(error)))
        lines = [f"Unreachable: {one['message']} ({one['code']})"]
        self._say(*lines)
        found = {"changed": False, "converged": False, "steady": False, "proceed": False, "started": started}
        return {**found, "lines": lines, "msg": one["message"], "outcome": one}

    def _say(self, *lines: str) -> None:
        host = self._task_vars["inventory_hostname"]
        self._display.display("\n".join(f"[{host}] {line}" for line in lines))

    def _document(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a report keeps of the host."""
        host = str(self._task_vars["inventory_hostname"])
        return document.build(host, document.format_time(time.time()), collection_version(), plan, self._secrets)

    def _variables(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the variables of the host; for a switch without those that its play makes of the record."""
        variables = {**self._task_vars, **options["settings"]}
        if options["keep_route"]:
            own = self._task_vars["hostvars"].raw_get(self._task_vars["inventory_hostname"])
            for name in _OF_THE_RECORD:
                if name in own:
                    variables[name] = own[name]
                else:
                    variables.pop(name, None)
        return variables

    def _extra_names(self) -> list[str]:
        """Return the names, or patterns of names, that something else than this collection reads."""
        value = self._evaluate("nemoclaw_extra_names", self._task_vars.get("nemoclaw_extra_names"))
        return value.split(",") if isinstance(value, str) else [str(one) for one in value or []]

    def _evaluate(self, name: str, raw: Any) -> Any:
        try:
            return self._templar.template(raw)
        except AnsibleError as error:
            locked = why_locked(error)
            if locked:
                self._locked[name] = locked
            else:
                # It is made of something that another task tells: site will know it, this look does not.
                self._unresolved.append(name)
            return None

    def _check_url(self, settings: known.Settings) -> list[Failure]:
        """Refuse a URL that holds a password here, so that it travels nowhere and is shown nowhere."""
        url = settings["endpoint_url"]
        provider = settings["preflight_provider"]
        if not url or provider not in _OWN:
            return []
        try:
            parse_base_url(url, endpoint_api(settings, Choice(provider, "", "endpoint")))
        except Failure as failure:
            return [failure]
        return []

    def _look(
        self,
        settings: known.Settings,
        values: Mapping[str, Any],
        origins: Mapping[str, str],
        options: Mapping[str, Any],
    ) -> dict[str, Any]:
        secret = {name for name, one in known.SETTINGS.items() if one.secret}
        sent = {name: value for name, value in values.items() if name not in secret}
        if settings["preflight_provider"] not in _OWN:
            # Nobody asks it, so nobody has looked whether it holds a password.
            sent.pop("endpoint_url", None)
        sent.update({name: _GIVEN for name in values if name in secret and name not in (*KEYS_TO_ASK_WITH, *_LINKS)})
        apart = [name for name in sources.APART if self._is_apart(name, settings)]
        arguments = {
            "settings": sent,
            "secrets": {name: str(values[name]) for name in KEYS_TO_ASK_WITH if name in values},
            "origins": {name: origin for name, origin in origins.items() if name not in _LINKS},
            "keep_route": options["keep_route"],
            "proof": options["proof"] or self._proof(),
            "collect": options["collect"],
            "user": settings["preflight_user"] or None,
            "apart": [*apart, *self._unresolved],
            "watch": self._watch() if settings["watch_enabled"] else {},
        }
        as_root = self._needs_root(settings)
        try:
            plan = self._run(_MODULE, {**arguments, "by_sudo": self._is_by_sudo()}, as_root)
            if not as_root or "refusals" in plan or "failure" in plan:
                return plan
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as error:
            if not as_root:
                raise
            plan = {"msg": str(error)}
        return self._without_root(plan, arguments)

    def _without_root(self, failed: Mapping[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
        """Look as the user that the play connects as: the host may turn out to need no root, and says so where it does."""
        plan = self._run(_MODULE, arguments, as_root=False)
        if plan.get("choice") and plan["choice"]["role"] == "ollama" and not plan["refusals"]:
            said = str(failed.get("module_stderr") or failed.get("msg") or "no reason was given").strip().splitlines()
            reason = said[-1] if said else "no reason was given"
            plan["refusals"].append(
                {
                    "code": "root_needed",
                    "message": "Ollama and its auth proxy are services of the system, which only root may compare and change, and this "
                    f"play does not become root here: {reason.rstrip('.')}. {become_remedy(reason)}",
                }
            )
        return plan

    def _needs_root(self, settings: known.Settings) -> bool:
        provider = settings["preflight_provider"]
        if provider in _ROOTLESS or (provider == known.AUTO and settings["endpoint_url"]):
            return False
        if provider in ("vllm", "install-vllm"):
            return bool(settings["vllm_gate_port"])
        return provider != "nim" or bool(settings["nim_gate_port"])

    def _is_by_sudo(self) -> bool:
        """Tell whether the login user becomes another one, so that sudo and doas say who that user is."""
        return bool(self._connection.become) and self._get_remote_user() != self.get_become_option("become_user")

    def _is_apart(self, name: str, settings: known.Settings) -> bool:
        common = "preflight_user" if name.endswith("_user") else "preflight_route_path"
        value = self._evaluate(name, self._task_vars[name]) if name in self._task_vars else None
        return value not in (None, "", settings[common])

    def _watch(self) -> dict[str, str]:
        return {"checksum": build().checksum, "host": self._task_vars["inventory_hostname"]}

    def _proof(self) -> str:
        value = self._evaluate("plan_proof", self._task_vars.get("plan_proof"))
        return "completion" if str(value).strip().lower() == "completion" else "ladder"

    def _ask(self, name: str, arguments: dict[str, Any], as_root: bool) -> dict[str, Any]:
        """Run an acting module in its check mode."""
        before = self._task.check_mode
        self._task.check_mode = True
        try:
            return self._run(f"nemoclaw.local_inference.{name}", arguments, as_root)
        finally:
            self._task.check_mode = before

    def _run(self, name: str, arguments: dict[str, Any], as_root: bool) -> dict[str, Any]:
        """Run a module as root, where the task becomes that, else as the owner."""
        become = self._connection.become
        if not as_root and become:
            if self._owner:
                become.set_option("become_user", self._owner)
            else:
                self._connection.become = None
        try:
            return self._execute_module(module_name=name, module_args=arguments, task_vars=self._task_vars)
        finally:
            self._connection.become = become
            if become:
                become.set_option("become_user", self._task.become_user or "root")


def _fingerprint(values: Mapping[str, Any]) -> str:
    """Return a mark of the settings, by which a rollout knows them again; no secret is in it, and no link that may hold one."""
    open_ones = {
        name: value for name, value in values.items() if not known.SETTINGS[name].secret and name not in _LINKS
    }
    return hashlib.sha256(json.dumps(open_ones, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _refused(problems: list[Failure]) -> dict[str, Any]:
    """Return the plan of a host that was not looked at, since its settings are wrong."""
    return {
        "changed": False,
        "host": None,
        "choice": None,
        "steps": [],
        "refusals": [{"code": one.code, "message": one.message} for one in problems],
        "route": None,
        "recorded": None,
        "kept": {},
        "proof": None,
        "status": [],
        "checks": [],
        "consult": [],
        "converged": False,
        "drift": False,
        "steady": False,
        "download_bytes": 0,
        "download_unknown": False,
    }
