#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uninstall_info
short_description: Tell what the playbook uninstall has to remove from a host, and what it keeps
version_added: 0.2.0
description:
  - Looks at the host once, for all roles that the playbook C(nemoclaw.local_inference.uninstall) runs, as
    M(nemoclaw.local_inference.inference_facts) does, and besides for what those facts do not tell.
  - Returns the roles that have something to remove, so that the playbook leaves the others out.
  - Reads only.
options:
  user:
    description:
      - Whose inference it is.
      - By default the user that the module runs as.
    type: str
  route_path:
    description:
      - The route record.
      - By default C(~/.nemoclaw/local-inference.json) of O(user).
    type: path
  ports:
    description: TCP ports whose listeners are wanted in C(nemoclaw_host).
    type: list
    elements: int
    default: [11434, 11435, 8000]
  ollama_port:
    description: Where an Ollama would listen.
    type: int
    default: 11434
  vllm_port:
    description: Where a vLLM would listen.
    type: int
    default: 8000
  folders:
    description: Where downloads may lie, C(~) for the home of O(user).
    type: list
    elements: str
    default: ["~/.cache/huggingface/hub", "~/.cache/nim", "~/.ollama"]
  removes_ollama:
    description: Whether Ollama itself is to be removed, and so is nothing that is kept.
    type: bool
    default: false
  settings:
    description:
      - Names of variables by which a role is told to remove more, or to look elsewhere. Where there is one, every role is named, and each
        looks at the host by itself.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes.read_only
attributes:
  action_group:
    description: Use C(group/nemoclaw.local_inference.all) in C(module_defaults) to set options for all modules of the collection.
    support: full
    membership:
      - nemoclaw.local_inference.all
seealso:
  - module: nemoclaw.local_inference.inference_facts
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Look what there is to remove
  nemoclaw.local_inference.uninstall_info:
  register: left

- name: Say it
  ansible.builtin.debug:
    msg: "{{ left.parts | join(', ') }}"
"""

RETURN = r"""
parts:
  description:
    - The roles that have something to remove, in the order in which they are to be run. Of a host where nothing is left there is none.
    - A container engine that does not answer, and a route record that cannot be read, count as something.
  returned: success
  type: list
  elements: str
  sample: [sandbox, ollama, endpoint]
is_shared:
  description: Whether the roles may take the facts of this look. They look by themselves where O(settings) names something.
  returned: success
  type: bool
  sample: true
kept:
  description: What stays, as parts of one sentence.
  returned: success
  type: list
  elements: str
  sample: ["Ollama (/usr/local/bin/ollama) with its models", "the packages that were installed"]
ansible_facts:
  description: What M(nemoclaw.local_inference.inference_facts) returns.
  returned: success
  type: dict
  contains:
    nemoclaw_host:
      description: See RV(nemoclaw.local_inference.inference_facts#module:ansible_facts.nemoclaw_host).
      returned: success
      type: dict
failure:
  description: Why the host could not be looked at, with C(code) and C(message).
  returned: on failure
  type: dict
  sample: {code: user_unknown, message: Looked up the user lab in the passwd database of this host and found none.}
"""

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.facts import gather
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.host.sockets import check_ports
from ..module_utils.uninstall import PARTS, kept, look, parts

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "user": {"type": "str"},
    "route_path": {"type": "path"},
    "ports": {"type": "list", "elements": "int", "default": [11434, 11435, 8000]},
    "ollama_port": {"type": "int", "default": 11434},
    "vllm_port": {"type": "int", "default": 8000},
    "folders": {
        "type": "list",
        "elements": "str",
        "default": ["~/.cache/huggingface/hub", "~/.cache/nim", "~/.ollama"],
    },
    "removes_ollama": {"type": "bool", "default": False},
    "settings": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Look at the host, or say in one sentence why that cannot be done."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    try:
        check_ports([*params["ports"], params["ollama_port"], params["vllm_port"]])
        machine, account = Machine(), find_account(params["user"])
        host = gather(
            machine, account, params["ports"], params["ollama_port"], params["route_path"], params["vllm_port"]
        )
        seen = look(machine, account, host, params["route_path"], params["folders"])
    except Failure as failure:
        fail(module, failure)
    module.exit_json(
        changed=False,
        parts=list(PARTS) if params["settings"] else parts(host, seen),
        is_shared=not params["settings"],
        kept=kept(host, seen, params["removes_ollama"]),
        ansible_facts={"nemoclaw_host": host},
    )


if __name__ == "__main__":
    main()
