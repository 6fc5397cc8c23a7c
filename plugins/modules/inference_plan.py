#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Account, Machine, find_account
from ..module_utils.plan.make import make_plan
from ..module_utils.plan.settings import read

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "settings": {"type": "dict", "default": {}},
    "default_provider": {"type": "str", "choices": ["auto", "ollama"], "default": "auto"},
    "keep_route": {"type": "bool", "default": False},
    "proof": {"type": "str", "choices": ["ladder", "completion"], "default": "ladder"},
    "fail_on_refusal": {"type": "bool", "default": False},
    "show": {"type": "bool", "default": False},
    "playbook": {"type": "str"},
    "collect": {"type": "bool", "default": False},
    "user": {"type": "str"},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "origins": {"type": "dict", "default": {}},
    "apart": {"type": "list", "elements": "str", "default": []},
    "watch": {"type": "dict", "default": {}},
    "by_sudo": {"type": "bool", "default": False},
}


def owner(params: dict[str, Any], environ: dict[str, str]) -> Account:
    """Return whose inference it is: the user that is named, else whoever the play connects as, also under become."""
    login = environ.get("SUDO_USER") or environ.get("DOAS_USER") if params["by_sudo"] else None
    return find_account(params["user"] or login)


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    machine = Machine()
    try:
        account = owner(params, machine.environ)
        settings = read({**params["settings"], **params["secrets"]}, params["origins"])
        plan = make_plan(
            machine,
            account,
            settings,
            keep_route=params["keep_route"],
            proof=params["proof"],
            apart=params["apart"],
            watch=params["watch"],
        )
        if params["collect"]:
            # Here, because a module is compiled anew on each call: a host that is refused is asked nothing.
            from ..module_utils.plan.prove import ask_route

            plan["asked"] = ask_route(machine, account, settings, plan)
    except Failure as failure:
        fail(module, failure)
    module.exit_json(changed=False, **plan)


if __name__ == "__main__":
    main()
