#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inference_route
version_added: "0.1.0"
short_description: Record the inference route of a host
description:
  - Works out the route from what was proved, and stores it in C(~/.nemoclaw/local-inference.json), where status, switch, report and
    uninstall read it.
  - The file has mode 0600 in a directory with mode 0700, is replaced in one step, and holds no secret.
  - For the sandbox, the address of a loopback server is written with the host's name inside the sandbox, because C(localhost) there is the
    sandbox itself.
options:
  state:
    description:
      - V(present) records the route, V(absent) removes the record.
      - When the route changes to another server, C(to_free) of the record lists servers that still hold a GPU. V(freed) removes the one of
        O(container) from it, or Ollama if none is named, once it has been freed.
    type: str
    choices: [present, absent, freed]
    default: present
  path:
    description:
      - The route record.
      - By default C(~/.nemoclaw/local-inference.json) of O(user).
    type: path
  user:
    description:
      - The owner of the record, in whose home it is. When run as root, the module reads and writes it with the rights of this user, unless
        only root can change O(path) and all folders above it.
      - By default the user that the module runs as.
    type: str
  provider:
    description:
      - The provider of the wizard, for example V(custom) or V(anthropicCompatible); case does not matter.
      - Required for O(state=present).
    type: str
  base_url:
    description:
      - Base URL of the server as the host reaches it.
      - Required for O(state=present).
    type: str
  base_url_sandbox:
    description: Base URL of the server as the sandbox reaches it. Derived from O(base_url) by default.
    type: str
  sandbox_host:
    description: The name that replaces a loopback host inside the sandbox.
    type: str
    default: host.openshell.internal
  model:
    description:
      - The model's ID as the server lists it.
      - Required for O(state=present).
    type: str
  api:
    description: The API that was proved.
    type: str
    choices: [openai-completions, openai-responses, anthropic-messages]
    default: openai-completions
  timeout:
    description: Time limit in seconds for each request of the agent.
    type: int
    default: 180
  context_window:
    description: Context window in tokens, if known.
    type: int
  container:
    description: Name of the managed container that serves, if one does.
    type: str
  origin:
    description: V(external) for a server that this collection does not run, V(managed) for one that it runs.
    type: str
    choices: [external, managed]
    default: external
  gateway:
    description:
      - The gateway of OpenShell that has the route, by the name that it is registered under.
      - By default none, for a host without routed sandboxes.
    type: str
  sandbox:
    description: The sandbox that the route is for. It does not count as another sandbox when the route changes.
    type: str
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
seealso:
  - module: nemoclaw.local_inference.endpoint_validate
  - module: nemoclaw.local_inference.inference_status
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Record what was proved
  nemoclaw.local_inference.inference_route:
    provider: custom
    base_url: "{{ proof.base_url }}"
    model: "{{ proof.model }}"
    api: "{{ proof.api }}"
    context_window: "{{ proof.context_window }}"

- name: Forget the route
  nemoclaw.local_inference.inference_route:
    state: absent
"""

RETURN = r"""
ansible_facts:
  description: The route as a fact, for the roles that follow.
  returned: unless O(state=freed)
  type: dict
  contains:
    nemoclaw_route:
      description: As RV(route).
      type: dict
      returned: always
route:
  description: The route, null for O(state=absent), and for O(state=freed) if none is recorded.
  returned: always
  type: dict
  sample:
    provider: custom
    label: Other OpenAI-compatible endpoint
    provider_name: compatible-endpoint
    provider_type: openai
    credential_env: COMPATIBLE_API_KEY
    base_url_host: http://127.0.0.1:8080/v1
    base_url_sandbox: http://host.openshell.internal:8080/v1
    model: qwen3.6-27b
    api: openai-completions
    timeout: 180
    context_window: 32768
    container: null
    origin: external
    gateway: nemoclaw
    sandbox: my-assistant
    way: route
path:
  description: Path of the record.
  returned: always
  type: str
  sample: /home/lab/.nemoclaw/local-inference.json
failure:
  description: What stopped it, with C(code) and C(message); the previous record is then untouched.
  returned: on failure
  type: dict
"""

from typing import Any

from ..module_utils.base import LINK_OPTION, create_module, fail
from ..module_utils.endpoint.validate import DEFAULT_TIMEOUT, DIALECTS
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Account, find_account, working_on
from ..module_utils.route import record, write
from ..module_utils.route.route import SANDBOX_HOST, build_route

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent", "freed"], "default": "present"},
    "path": {"type": "path"},
    "user": {"type": "str"},
    "provider": {"type": "str"},
    "base_url": LINK_OPTION,
    "base_url_sandbox": LINK_OPTION,
    "sandbox_host": {"type": "str", "default": SANDBOX_HOST},
    "model": {"type": "str"},
    "api": {"type": "str", "choices": list(DIALECTS), "default": "openai-completions"},
    "timeout": {"type": "int", "default": DEFAULT_TIMEOUT},
    "context_window": {"type": "int"},
    "container": {"type": "str"},
    "origin": {"type": "str", "choices": ["external", "managed"], "default": "external"},
    "gateway": {"type": "str"},
    "sandbox": {"type": "str"},
}

# Options that say what to do with the record, not what stands in it.
_HANDLING = ("state", "path", "user")


def converge(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return the result, after making the record what it should be unless only checking."""
    owner = find_account(params["user"])
    path = params["path"] or record.record_path(owner.home)
    state, wanted = params["state"], None
    if state == "present":
        wanted = build_route(**{name: value for name, value in params.items() if name not in _HANDLING})
    elif state == "freed":
        wanted = _freed(path, owner, params["container"] or None)
    change = write.bring(path, owner, wanted, check_mode, is_freed=state == "freed")
    return {
        "changed": change.changed,
        "route": wanted,
        "path": path,
        "diff": change.diff,
        **({} if state == "freed" else {"ansible_facts": {"nemoclaw_route": wanted}}),
    }


def _freed(path: str, owner: Account, container: str | None) -> dict[str, Any] | None:
    """Return the recorded route without that of the container, or without Ollama, in what is still to be freed; None without a record."""
    with working_on(path, owner):
        found = record.read_record(path)
    if found is None:
        return None
    left = [one for one in found.pop(record.TO_FREE, ()) if (one.get("container") or None) != container]
    return {**found, record.TO_FREE: left} if left else found


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC, required_if=[("state", "present", ["provider", "base_url", "model"])])
    try:
        result = converge(module.params, module.check_mode)
    except Failure as failure:
        fail(module, failure)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
