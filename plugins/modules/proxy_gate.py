#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_gate
version_added: "0.1.0"
short_description: Make the ports of the token gate free, compare it, or prove that it serves
description:
  - O(state=free) looks who holds the ports of the gate before it is started. The gate itself is fine. A proxy of NemoClaw's own
    (C(ollama-auth-proxy.js), a Node process of O(user)) is stopped, since the gate takes its place with the same token file.
    Anybody else is named and left alone, and the module fails.
  - O(state=loopback) judges by the sockets of the host whether the servers behind the gates can be reached past them. An Ollama that
    can be is brought back to loopback, as M(nemoclaw.local_inference.ollama_service) does it. Another server is named with the reason,
    and the module fails.
  - O(state=compared) tells in one look whether everything is as it has to be, so that a converged host needs no task for each
    file and service. It changes nothing, and what is wrong is an answer.
  - O(state=serving) asks each gate without a token, with a wrong one and with the right one, and tells apart a gate that serves,
    one before a server that is down, a refused token, a port where nothing listens, and a port that somebody else holds.
options:
  state:
    description: What to see to.
    type: str
    choices: [free, loopback, compared, serving]
    default: serving
  files:
    description: What O(state=compared) compares, the files of root with mode 0644 that make the gate.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      content:
        description: What it has to hold; white space at the end does not matter.
        type: str
        required: true
  gates:
    description: The gates of the host.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What it is called in messages, for example C(ollama).
        type: str
        required: true
      port:
        description: Port that it listens on.
        type: int
        required: true
      probe_path:
        description: What is asked for with O(state=serving).
        type: str
        default: /v1/models
      serving:
        description:
          - Whether the server behind the gate has to answer it with 2xx, through the gate and with the token.
          - For a server that was just proved without the gate. Where it is false, any answer proves the gate, and a server that is
            down is a warning.
        type: bool
        default: false
      upstream_port:
        description: Port of the server behind the gate, which O(state=loopback) and O(state=compared) look at.
        type: int
  path:
    description:
      - The token file.
      - By default C(~/.nemoclaw/ollama-proxy-token) of O(user).
    type: path
  user:
    description:
      - Whose token and whose NemoClaw it is.
      - By default the user that the module runs as.
    type: str
  gate_user:
    description: The account that the gate runs as; it tells the gate's own sockets from others.
    type: str
    default: nemoclaw-proxy
  unit:
    description: The unit of the gate, whose log is shown where it does not listen.
    type: str
    default: nemoclaw-ollama-proxy.service
  timeout:
    description: Seconds for which a gate may take to start, or to read its tokens again.
    type: int
    default: 15
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode O(state=free) stops nothing, and O(state=loopback) restarts nothing. The other states only read.
  diff_mode:
    support: none
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
notes:
  - Without root, the owners of other users' sockets cannot be seen, and the module names no more than the user.
  - A server that is down behind a gate is no failure of this module, except with O(gates[].serving). RV(gates[].outcome) tells.
seealso:
  - module: nemoclaw.local_inference.proxy_token
  - module: nemoclaw.local_inference.inference_status
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Make the port free
  nemoclaw.local_inference.proxy_gate:
    state: free
    user: lab
    gates:
      - { name: ollama, port: 11435 }
  become: true

- name: Prove that the gate serves
  nemoclaw.local_inference.proxy_gate:
    user: lab
    gates:
      - { name: ollama, port: 11435 }
  become: true
"""

RETURN = r"""
actions:
  description: What was done to bring a server back to loopback, or would be in check mode.
  returned: with O(state=loopback)
  type: list
  elements: str
  sample: []
stopped:
  description: Process ids of the NemoClaw proxies that were stopped, or would be in check mode.
  returned: with O(state=free)
  type: list
  elements: int
  sample: []
converged:
  description: Whether the files are as they have to be, the service runs and is enabled, and the gates serve.
  returned: with O(state=compared)
  type: bool
  sample: true
reasons:
  description: Why it is not converged, as sentences.
  returned: with O(state=compared)
  type: list
  elements: str
  sample: []
restart_needed:
  description: Whether the unit was changed and systemd has not read it.
  returned: with O(state=compared)
  type: bool
  sample: false
found:
  description: What O(files) hold now, so that it can be put back.
  returned: with O(state=compared)
  type: list
  elements: dict
  contains:
    path:
      description: As in O(files[].path).
      type: str
      returned: always
      sample: /etc/nemoclaw-ollama-proxy.conf
    content:
      description: What it holds, null where it is not there or no text.
      type: str
      returned: always
exposed:
  description: The listeners by which others than this host reach a server behind a gate, past it. As C(nemoclaw_host.listeners).
  returned: with O(state=compared)
  type: list
  elements: dict
  sample: []
gates:
  description: What was seen of each gate. With O(state=compared), empty unless it is converged.
  returned: with O(state=serving) and O(state=compared)
  type: list
  elements: dict
  contains:
    name:
      description: As in O(gates[].name).
      type: str
      returned: always
      sample: ollama
    port:
      description: As in O(gates[].port).
      type: int
      returned: always
      sample: 11435
    url:
      description: Where it was asked.
      type: str
      returned: always
      sample: http://127.0.0.1:11435/v1/models
    outcome:
      description:
        - V(serving), V(backend_down) (the server behind the gate does not answer) or V(backend_refuses) (it wants a key of its own).
        - With any other the module fails. See C(failure.code).
      type: str
      returned: always
      sample: serving
    status:
      description: HTTP status with the token.
      type: int
      returned: always
      sample: 200
    detail:
      description: The outcome in words.
      type: str
      returned: always
failure:
  description:
    - What stopped it, with C(code) and C(message).
    - The code is C(port_taken), C(proxy_refused) (nothing listens), C(proxy_silent), C(proxy_open) (no token is asked for),
      C(proxy_foreign) (somebody else's server),
      C(proxy_impostor) (another user's process that answers as the gate does) or C(token_rejected), besides
      those of M(nemoclaw.local_inference.proxy_token).
    - With O(gates[].serving) also C(backend_down), C(backend_refuses) or C(backend_unproved).
    - With O(state=loopback) C(engine_exposed), and those of M(nemoclaw.local_inference.ollama_service).
  returned: on failure
  type: dict
"""

from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.edge import create_module, fail
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.behind import bring_to_loopback
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.gate import (
    Gate,
    compare_gates,
    free_ports,
    prove_gates,
    upstream_ports,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.names import GATE_USER, UNIT
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.probe import (
    DEFAULT_PATH,
    GATE_WORKS,
    SERVING,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.token import token_path

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["free", "loopback", "compared", "serving"], "default": "serving"},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "path", "required": True}, "content": {"type": "str", "required": True}},
    },
    "gates": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "probe_path": {"type": "str", "default": DEFAULT_PATH},
            "serving": {"type": "bool", "default": False},
            "upstream_port": {"type": "int"},
        },
    },
    "path": {"type": "path"},
    "user": {"type": "str"},
    "gate_user": {"type": "str", "default": GATE_USER},
    "unit": {"type": "str", "default": UNIT},
    "timeout": {"type": "int", "default": 15},
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    gates = [Gate(**gate) for gate in params["gates"]]
    try:
        account = find_account(params["user"])
        if params["state"] == "free":
            stopped = free_ports(gates, account, params["gate_user"], module.check_mode)
            module.exit_json(changed=bool(stopped), stopped=stopped)
        if params["state"] == "loopback":
            actions = bring_to_loopback(Machine(), account, upstream_ports(gates), module.check_mode)
            module.exit_json(changed=bool(actions), actions=actions)
        path = params["path"] or token_path(account.home)
        known = (gates, account, path, params["gate_user"], params["unit"])
        if params["state"] == "compared":
            result = compare_gates(*known, params["files"])
        else:
            result = {"gates": prove_gates(*known, params["timeout"])}
    except Failure as failure:
        fail(module, failure)
    for row in result["gates"]:
        if row["outcome"] in GATE_WORKS and row["outcome"] != SERVING:
            module.warn(f"The gate {row['name']} at {row['url']}: {row['detail']}.")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
