#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nemoclaw_onboard
version_added: "0.1.0"
short_description: Onboard a sandbox with NemoClaw, on a proved route
description:
  - Runs C(nemoclaw onboard --non-interactive) if NemoClaw has no such sandbox, with the proved server as its endpoint. A sandbox that
    NemoClaw has and OpenShell reports as ready is left as it is; M(nemoclaw.local_inference.nemoclaw_inference) routes it elsewhere. An
    entry that a failed onboarding left in NemoClaw's list, without a sandbox, does not count.
  - NemoClaw is given an endpoint, whatever serves it. Its own choices for Ollama and vLLM would set up the server again, and a second proxy
    on the port of the existing one.
  - The key is passed only in its environment. Other keys and settings in the environment of this process are not passed on, except those in
    the notes.
  - A gateway that NemoClaw already has is inspected first. If other sandboxes use its route, nothing is changed, and if NemoClaw fails, the
    gateway's previous route is restored.
options:
  name:
    description: The sandbox's name. At most 63 lower-case letters, digits and hyphens.
    type: str
    default: my-assistant
  route:
    description: The route, as RV(nemoclaw.local_inference.inference_route#module:route).
    type: dict
    required: true
  credential:
    description: The server's key. Without it NemoClaw gets C(dummy), since it requires a key for every server.
    type: str
  accept_third_party_software:
    description:
      - Whether the third-party software that comes with NemoClaw is accepted. Without it nothing is onboarded.
      - C(nemoclaw onboard) shows the terms.
    type: bool
    default: false
  ready_timeout:
    description: Seconds that NemoClaw waits for the sandbox to be ready.
    type: int
    default: 180
  stall_timeout:
    description:
      - Seconds without progress of NemoClaw, in addition to O(ready_timeout), after which it is stopped together with everything that it
        started.
      - Still waiting for the same thing is no progress. While it hands an image to the gateway, it has 20 minutes more.
      - The total time is not limited, because building an image over a slow connection may take long.
    type: int
    default: 300
  recreate:
    description:
      - Whether a sandbox may be created again, losing everything in it, if the route has another C(api) than its agent is configured for.
      - Only releases of NemoClaw before 0.0.69 need that. Later ones change the API of a running sandbox, with
        M(nemoclaw.local_inference.nemoclaw_inference).
    type: bool
    default: false
  shared:
    description:
      - What to do if other sandboxes use the gateway's route, which onboarding changes.
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
  - nemoclaw.local_inference.wait
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
    details:
      - Reports whether NemoClaw would be run, after the same checks.
  diff_mode:
    support: full
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
requirements:
  - NemoClaw on the target, installed for the user that the module runs as
notes:
  - These settings of NemoClaw reach it from the task's own environment (keyword C(environment)), E(NEMOCLAW_AGENT_HEARTBEAT_EVERY),
    E(NEMOCLAW_AGENT_TIMEOUT), E(NEMOCLAW_COMPATIBLE_AUTH_MODE), E(NEMOCLAW_CORPORATE_CA_BUNDLE), E(NEMOCLAW_DASHBOARD_BIND),
    E(NEMOCLAW_DASHBOARD_PORT), E(NEMOCLAW_DOCKER_GPU_PATCH), E(NEMOCLAW_FROM_DOCKERFILE), E(NEMOCLAW_GATEWAY_BIND_ADDRESS),
    E(NEMOCLAW_GATEWAY_PORT), E(NEMOCLAW_GATEWAY_RECOVERY_WAIT_SECONDS), E(NEMOCLAW_INFERENCE_INPUTS), E(NEMOCLAW_MAX_TOKENS),
    E(NEMOCLAW_OLLAMA_PORT), E(NEMOCLAW_OLLAMA_PROXY_PORT), E(NEMOCLAW_OPENSHELL_BIN), E(NEMOCLAW_POLICY_MODE), E(NEMOCLAW_POLICY_PRESETS),
    E(NEMOCLAW_POLICY_TIER), E(NEMOCLAW_PROXY_HOST), E(NEMOCLAW_PROXY_PORT), E(NEMOCLAW_REASONING), E(NEMOCLAW_REASONING_EFFORT),
    E(NEMOCLAW_SANDBOX_BASE_IMAGE_REF), E(NEMOCLAW_SANDBOX_GPU), E(NEMOCLAW_TOOL_DISCLOSURE), E(NEMOCLAW_TRUSTED_PRIVATE_HOSTS),
    E(NEMOCLAW_TRUSTED_PRIVATE_INFERENCE_HOSTS), E(NEMOCLAW_VLLM_PORT) and E(NEMOCLAW_WEB_SEARCH_PROVIDER). A release that does not know one
    ignores it.
  - NemoClaw from 0.0.78 on accepts a server at a private address only if E(NEMOCLAW_TRUSTED_PRIVATE_HOSTS) names it. The module adds the
    host of the route to those that are named, where it is private, and no other.
  - NemoClaw of June 2026 queries a server outside of this host with C(curl), with the key among its arguments.
seealso:
  - module: nemoclaw.local_inference.nemoclaw_inference
  - module: nemoclaw.local_inference.openshell_sandbox
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Create a sandbox by NemoClaw
  nemoclaw.local_inference.nemoclaw_onboard:
    name: my-assistant
    route: "{{ ansible_facts.nemoclaw_route }}"
    credential: "{{ server_key }}"
    accept_third_party_software: true
"""

RETURN = r"""
finished:
  description:
    - Whether the work is finished. It may be false only with O(wait=0), and then there are only RV(finished), RV(progress) and C(changed).
  returned: success
  type: bool
progress:
  description: The progress, with the step out of NemoClaw's eight in C(message).
  returned: while it is not finished
  type: dict
  sample: {"phase": "onboard", "completed": 5, "total": 8, "unit": "steps", "message": "Onboarding my-assistant, Creating sandbox"}
sandbox:
  description: The sandbox's name.
  returned: when finished
  type: str
  sample: my-assistant
phase:
  description: V(Ready), in check mode null if there is none yet.
  returned: when finished
  type: str
  sample: Ready
recorded:
  description: What NemoClaw has recorded of it, null if there is none yet.
  returned: when finished
  type: dict
  contains:
    provider:
      description: OpenShell's name of the provider.
      returned: always
      type: str
      sample: compatible-endpoint
    model:
      description: The model.
      returned: always
      type: str
      sample: qwen2.5:7b
endpoint:
  description: OpenShell's name for the provider that NemoClaw creates for this route.
  returned: when finished
  type: str
  sample: compatible-endpoint
previous:
  description: The gateway's previous route, null if NemoClaw was not run or the gateway had no route.
  returned: when finished
  type: dict
  sample: {"provider": "compatible-endpoint", "model": "qwen2.5:7b", "timeout": 180, "version": 3}
actions:
  description: What was done, or would be done in check mode.
  returned: when finished
  type: list
  elements: str
  sample: ["onboard my-assistant"]
elapsed:
  description: Seconds that NemoClaw ran.
  returned: when finished
  type: float
  sample: 214.7
failure:
  description: What stopped it.
  returned: on failure
  type: dict
  contains:
    code:
      description: Stable name, listed in C(docs/failure-codes.md).
      type: str
      returned: always
      sample: nemoclaw_failed
    message:
      description: The sentence, the same as C(msg).
      type: str
      returned: always
    handed_over:
      description: Whether NemoClaw was run.
      type: bool
      returned: when it was
    previous:
      description: The gateway's route before, null if it had none.
      type: dict
      returned: when NemoClaw was run
    step:
      description: The step that it was in.
      type: str
      returned: when NemoClaw was run
      sample: Creating sandbox
    exit_code:
      description: Its exit status, null where it was stopped.
      type: int
      returned: when NemoClaw was run
    last_logs:
      description: Its last lines, without the key.
      type: list
      elements: str
      returned: when NemoClaw was run
    elapsed:
      description: Seconds that it ran.
      type: float
      returned: when NemoClaw was run
    last_state:
      description: The phase of a sandbox that exists and is not ready.
      type: str
      returned: for RV(failure.code=nemoclaw_sandbox_not_ready)
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

from ..module_utils.base import WAIT_OPTIONS, create_module, fail
from ..module_utils.failure import Failure, clean_key
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.jobs.job import Job
from ..module_utils.nemoclaw.desired import DEFAULT_SANDBOX, Desired
from ..module_utils.nemoclaw.onboard import Onboarding
from ..module_utils.nemoclaw.records import GATEWAY, find_nemoclaw

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    **WAIT_OPTIONS,
    "name": {"type": "str", "default": DEFAULT_SANDBOX},
    "route": {"type": "dict", "required": True},
    "credential": {"type": "str", "no_log": True},
    "accept_third_party_software": {"type": "bool", "default": False},
    "ready_timeout": {"type": "int", "default": 180},
    "stall_timeout": {"type": "int", "default": 300},
    "recreate": {"type": "bool", "default": False},
    "shared": {"type": "str", "choices": ["warn", "allow", "refuse"], "default": "refuse"},
    "gateway": {"type": "str", "default": GATEWAY},
    "executable": {"type": "path"},
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    try:
        result = _bring(module.params, module.check_mode)
    except Failure as failure:
        fail(module, failure)
    module.exit_json(**result)


def _bring(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    key = clean_key(params["credential"])
    desired = Desired(
        params["name"],
        params["route"],
        key,
        params["ready_timeout"],
        params["stall_timeout"],
        params["accept_third_party_software"],
        params["shared"],
        params["recreate"],
    )
    nemoclaw = find_nemoclaw(Machine(), find_account(), params["executable"])
    onboarding = Onboarding(nemoclaw, desired, params["gateway"])
    wanted = {name: params[name] for name in ARGUMENT_SPEC if name not in WAIT_OPTIONS}
    job = Job("nemoclaw", desired.name, wanted, f"Onboarding {desired.name} with NemoClaw", (key,), params["jobs_path"])
    wait = None if check_mode else params["wait"]
    return job.run(lambda: onboarding.plan(check_mode), onboarding.work, wait).as_result()


if __name__ == "__main__":
    main()
