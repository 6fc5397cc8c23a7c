#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.facts import gather
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.host.sockets import check_ports

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "user": {"type": "str"},
    "route_path": {"type": "path"},
    "ports": {"type": "list", "elements": "int", "default": [11434, 11435, 8000, 8080]},
    "ollama_port": {"type": "int", "default": 11434},
    "vllm_port": {"type": "int", "default": 8000},
}


def main() -> None:
    """Gather the facts, or say in one sentence why that cannot be done."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    try:
        check_ports([*params["ports"], params["ollama_port"], params["vllm_port"]])
        account = find_account(params["user"])
        facts = gather(
            Machine(), account, params["ports"], params["ollama_port"], params["route_path"], params["vllm_port"]
        )
    except Failure as failure:
        fail(module, failure)
    module.exit_json(changed=False, ansible_facts={"nemoclaw_host": facts})


if __name__ == "__main__":
    main()
