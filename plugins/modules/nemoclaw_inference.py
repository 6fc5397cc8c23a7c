#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nemoclaw_inference
version_added: "0.1.0"
short_description: Route a NemoClaw sandbox to another model, provider or API
description:
  - Runs C(nemoclaw inference set) if NemoClaw has recorded another provider, model or API for the sandbox. NemoClaw then routes its gateway
    there, and updates the settings of the agent in the sandbox and its own records. The sandbox stays; onboarding it again would create it
    anew.
  - NemoClaw sets the route without its timeout, which falls back to 60 seconds. The module sets it again.
  - The provider must already exist, with the right address and key; see M(nemoclaw.local_inference.openshell_provider).
  - NemoClaw from 0.0.66 on queries a local server itself, without a key, before it accepts C(ollama-local) or C(vllm-local). Use
    C(compatible-endpoint) there, with which M(nemoclaw.local_inference.nemoclaw_onboard) onboards; C(ollama-local) is refused unless
    NemoClaw runs its own proxy.
  - After a failure the gateway has the route that it had before.
options:
  sandbox:
    description: The sandbox, as C(nemoclaw list) has it.
    type: str
    default: my-assistant
  provider:
    description: OpenShell's name of the provider.
    type: str
    required: true
  model:
    description: The model.
    type: str
    required: true
  timeout:
    description:
      - The route's timeout in seconds. It limits requests that OpenShell answers in one piece, such as a list of models or embeddings.
      - Chat is forwarded piece by piece and is not limited by it; the agent's own timeout limits that.
    type: int
    default: 180
  base_url:
    description:
      - The server as the sandbox reaches it. NemoClaw from 0.0.69 on needs it for a switch to C(compatible-endpoint) or
        C(compatible-anthropic-endpoint) and for another O(api).
      - For C(vllm-local) its port is where NemoClaw from 0.0.66 on looks for the server.
    type: str
  api:
    description:
      - The API that the agent in the sandbox is configured for. Without it the one that NemoClaw has recorded stays.
      - NemoClaw from 0.0.69 on changes it in a running sandbox. For older releases see
        O(nemoclaw.local_inference.nemoclaw_onboard#module:recreate).
    type: str
    choices: [openai-completions, openai-responses, anthropic-messages]
  credential:
    description: The server's key, which NemoClaw from 0.0.69 on receives together with O(base_url). Without it C(dummy).
    type: str
  shared:
    description:
      - What to do if other sandboxes use the gateway's route.
      - V(refuse) changes nothing and fails, V(warn) and V(allow) change it.
    type: str
    choices: [warn, allow, refuse]
    default: refuse
  gateway:
    description: The name of NemoClaw's gateway.
    type: str
    default: nemoclaw
  executable:
    description: The program, by default C(nemoclaw) on the C(PATH) or in C(~/.local/bin).
    type: path
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
requirements:
  - NemoClaw on the target, installed for the user that the module runs as
seealso:
  - module: nemoclaw.local_inference.nemoclaw_onboard
  - module: nemoclaw.local_inference.openshell_inference
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Route the sandbox to another model of Ollama
  nemoclaw.local_inference.nemoclaw_inference:
    sandbox: my-assistant
    provider: ollama-local
    model: qwen2.5:14b

- name: Switch the agent to the Responses API
  nemoclaw.local_inference.nemoclaw_inference:
    sandbox: my-assistant
    provider: compatible-endpoint
    model: qwen2.5:14b
    base_url: http://host.openshell.internal:8000/v1
    api: openai-responses
    credential: "{{ server_key }}"
"""

RETURN = r"""
recorded:
  description: What NemoClaw has recorded of the sandbox after the run.
  returned: success
  type: dict
  contains: &recorded
    provider:
      description: OpenShell's name of the provider.
      returned: always
      type: str
      sample: ollama-local
    model:
      description: The model.
      returned: always
      type: str
      sample: qwen2.5:14b
previous:
  description: What NemoClaw had recorded before.
  returned: success
  type: dict
  contains: *recorded
failure:
  description: What stopped it. The gateway has the previous route unless C(message) says otherwise.
  returned: on failure
  type: dict
  contains:
    code:
      description: Stable name, listed in C(docs/failure-codes.md).
      type: str
      returned: always
      sample: nemoclaw_set_failed
    message:
      description: The sentence, the same as C(msg).
      type: str
      returned: always
    exit_code:
      description: NemoClaw's exit status, null where it was stopped.
      type: int
      returned: when NemoClaw was run
    last_logs:
      description: Its last lines.
      type: list
      elements: str
      returned: when NemoClaw was run
    needed:
      description: The first release that can do it.
      type: str
      returned: for RV(failure.code=nemoclaw_too_old)
      sample: 0.0.69
    release:
      description: The release that is there.
      type: str
      returned: for RV(failure.code=nemoclaw_too_old)
      sample: 0.0.58
"""

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure, clean_key
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.nemoclaw.desired import DEFAULT_SANDBOX
from ..module_utils.nemoclaw.inference import Desired, have
from ..module_utils.nemoclaw.records import GATEWAY, find_nemoclaw
from ..module_utils.openshell.cli import find_openshell

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "sandbox": {"type": "str", "default": DEFAULT_SANDBOX},
    "provider": {"type": "str", "required": True},
    "model": {"type": "str", "required": True},
    "timeout": {"type": "int", "default": 180},
    "base_url": {"type": "str"},
    "api": {"type": "str", "choices": ["openai-completions", "openai-responses", "anthropic-messages"]},
    "credential": {"type": "str", "no_log": True},
    "shared": {"type": "str", "choices": ["warn", "allow", "refuse"], "default": "refuse"},
    "gateway": {"type": "str", "default": GATEWAY},
    "executable": {"type": "path"},
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    machine = Machine()
    try:
        account = find_account()
        nemoclaw = find_nemoclaw(machine, account, params["executable"])
        cli = find_openshell(machine, account, gateway=params["gateway"])
        names = ("sandbox", "provider", "model", "timeout", "shared", "base_url", "api")
        desired = Desired(**{name: params[name] for name in names}, credential=clean_key(params["credential"]))
        result = have(nemoclaw, cli, desired, module.check_mode)
    except Failure as failure:
        fail(module, failure)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
