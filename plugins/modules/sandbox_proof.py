#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_proof
version_added: "0.1.0"
short_description: Prove a route from inside an OpenShell sandbox
description:
  - Asks the model at C(https://inference.local) from inside a sandbox, as its agent will, for an answer, for a tool call unstreamed and
    streamed, and for an answer to the tool's result.
  - That proves everything in between, namely the gateway's route, its provider with the key, the path through the host's firewall, the auth
    proxy and the server.
  - The questions and the verdicts are those of M(nemoclaw.local_inference.endpoint_validate).
  - It runs C(curl) in the sandbox with C(openshell sandbox exec). An image without C(curl) cannot be used.
options:
  name:
    description:
      - The sandbox to send requests from, which must be ready and have C(curl).
      - By default the first one that is ready. If there is none, or it has no C(curl), nothing is proved, and RV(sandbox) or RV(reason)
        says so with a warning.
    type: str
  model:
    description: The model of the route.
    type: str
    required: true
  api:
    description: The API that the agent speaks.
    type: str
    choices: [openai-completions, openai-responses, anthropic-messages]
    default: openai-completions
  require_tools:
    description: Whether it is an error if the model returns no structured tool call.
    type: bool
    default: true
  timeout:
    description: Time limit in seconds for all questions together.
    type: int
    default: 180
  settle:
    description:
      - Seconds to wait before the first question. Sandboxes check for a changed route every 5 seconds, so an earlier answer may come from
        the previous route.
    type: int
    default: 0
  base_url:
    description:
      - What the agent in the sandbox calls, with OpenShell 0.1, which has no C(inference.local); see
        M(nemoclaw.local_inference.openshell_attachment). It is ignored with older releases.
    type: str
    version_added: "0.2.0"
  credential_name:
    description: The variable of the sandbox that has the placeholder of the key, with OpenShell 0.1.
    type: str
    default: OPENAI_API_KEY
    version_added: "0.2.0"
extends_documentation_fragment:
  - nemoclaw.local_inference.openshell
  - nemoclaw.local_inference.attributes.read_only
attributes:
  action_group:
    support: full
    description: >-
      Use C(group/nemoclaw.local_inference.openshell) or C(group/nemoclaw.local_inference.all) in C(module_defaults) to set
      defaults for this module.
    membership: [nemoclaw.local_inference.openshell, nemoclaw.local_inference.all]
seealso:
  - module: nemoclaw.local_inference.endpoint_validate
  - module: nemoclaw.local_inference.sandbox_probe
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Prove the route from inside the sandbox
  nemoclaw.local_inference.sandbox_proof:
    name: my-assistant
    model: qwen2.5:7b
  register: proof

- name: Show the validation results
  ansible.builtin.debug:
    msg: "{{ proof | nemoclaw.local_inference.probe_table }}"
"""

RETURN = r"""
sandbox:
  description: The sandbox that was used, null if none is ready.
  returned: success
  type: str
  sample: my-assistant
proved:
  description: Whether everything that was requested holds.
  returned: success
  type: bool
  sample: true
reason:
  description: Why nothing was proved, null if it was.
  returned: success
  type: str
tool_calling:
  description: V(structured), V(malformed), V(absent), V(leaked) or V(unsupported); null if no tool call was requested.
  returned: always
  type: str
  sample: structured
base_url:
  description: What the sandbox asked.
  returned: always
  type: str
  sample: https://inference.local/v1
probes:
  description: One entry for each question, as RV(nemoclaw.local_inference.endpoint_validate#module:probes).
  returned: always
  type: list
  elements: dict
elapsed:
  description: Seconds that it took.
  returned: always
  type: float
  sample: 2.4
failure:
  description: What stopped it, with C(code) and C(message).
  returned: on failure
  type: dict
  contains:
    code:
      description: Stable name, listed in C(docs/failure-codes.md).
      type: str
      returned: always
      sample: sandbox_upstream_down
    message:
      description: The sentence, the same as C(msg).
      type: str
      returned: always
    status:
      description: The HTTP status that the sandbox saw.
      type: int
      returned: when there was one
      sample: 502
    server_message:
      description: What came with it.
      type: str
      returned: when there was one
    sandbox:
      description: The sandbox that was used.
      type: str
      returned: when one was
"""

from typing import Any

from ..module_utils.base import OPENSHELL_OPTIONS, create_module, fail
from ..module_utils.endpoint.report import Report
from ..module_utils.endpoint.validate import DIALECTS
from ..module_utils.failure import Failure
from ..module_utils.openshell.cli import ATTACHMENT, ROUTE
from ..module_utils.openshell.look import open_cli
from ..module_utils.openshell.proof import Desired, choose_sandbox, prove

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str"},
    "model": {"type": "str", "required": True},
    "api": {"type": "str", "choices": list(DIALECTS), "default": "openai-completions"},
    "require_tools": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 180},
    "settle": {"type": "int", "default": 0},
    "base_url": {"type": "str"},
    "credential_name": {"type": "str", "default": "OPENAI_API_KEY"},
    **OPENSHELL_OPTIONS,
}


def run(params: dict[str, Any], report: Report) -> tuple[str | None, str | None]:
    """Return the sandbox that was asked from, and why nothing was proved."""
    desired = Desired(
        params["model"],
        params["api"],
        params["name"],
        params["timeout"],
        params["settle"],
        params["require_tools"],
        base_url=params["base_url"] or "",
        credential_name=params["credential_name"],
    )
    cli = open_cli(params, ways=(ROUTE, ATTACHMENT) if desired.base_url else (ROUTE,))
    sandbox = choose_sandbox(cli, desired.sandbox)
    if sandbox is None:
        return None, "No sandbox of the gateway is ready, so nothing was proved from inside one."
    try:
        prove(cli, sandbox, desired, report)
    except Failure as failure:
        # Of a sandbox that nobody named nothing can be asked.
        if failure.code != "sandbox_command_missing" or desired.sandbox:
            raise
        return sandbox, failure.message
    return sandbox, None


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    report = Report(module.params["api"], module.params["model"])

    def told() -> dict[str, Any]:
        """Return what the report has that means something here."""
        result = report.as_result()
        return {key: result[key] for key in ("api", "base_url", "model", "tool_calling", "probes", "elapsed")}

    try:
        sandbox, reason = run(module.params, report)
    except Failure as failure:
        fail(module, failure, **told())
    for warning in [*report.warnings, *([reason] if reason else [])]:
        module.warn(warning)
    module.exit_json(changed=False, sandbox=sandbox, proved=reason is None, reason=reason, **told())


if __name__ == "__main__":
    main()
