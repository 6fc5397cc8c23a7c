#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: openshell_attachment
version_added: "0.2.0"
short_description: Attach a local server to a sandbox of OpenShell 0.1
description:
  - Experimental. It was tested against stand-ins for the gateway and the command line of OpenShell 0.1.5, and not yet against real ones.
  - OpenShell 0.1 has no inference route. A sandbox reaches a server through a provider that is attached to it, whose profile names the
    server and the programs that may call it. This module lints and imports or updates the profile, creates or updates the provider,
    attaches it, and waits until the sandbox has applied it.
  - The agent calls RV(environment) directly, with a placeholder for the key, which the supervisor of the sandbox replaces. Model and
    timeout are in the agent's own configuration; neither OpenShell nor this module sets them.
  - The method of a release is detected from the help of its command line, not from its number. A release with an inference route is
    refused; use M(nemoclaw.local_inference.openshell_provider) and M(nemoclaw.local_inference.openshell_inference) with it.
options:
  sandbox:
    description: The sandbox, which must be ready.
    type: str
    required: true
  provider:
    description: The provider's name. Its profile has the same name, in lower case with hyphens.
    type: str
    required: true
  state:
    description:
      - Whether the provider must be attached.
      - V(absent) detaches it, and deletes provider and profile unless another sandbox has them too.
    type: str
    choices: [present, absent]
    default: present
  base_url:
    description:
      - What the agent in the sandbox calls, for example V(http://host.openshell.internal:11435/v1).
      - Required with O(state=present).
    type: str
  credential_name:
    description: The variable that the agent reads its key from.
    type: str
    default: OPENAI_API_KEY
  credential:
    description:
      - The server's key. For a server that needs none, set C(dummy).
      - Required with O(state=present).
    type: str
  api:
    description: The API that the server speaks, which decides how the key is sent.
    type: str
    choices: [openai-completions, openai-responses, anthropic-messages]
    default: openai-completions
  binaries:
    description: The programs in the sandbox that may call the server, as absolute paths with C(*) and C(**).
    type: list
    elements: str
    default:
      - /usr/bin/curl
      - /usr/local/bin/curl
      - /usr/bin/node
      - /usr/local/bin/node
      - /usr/bin/python3*
      - /usr/local/bin/python3*
      - /sandbox/.venv/**
      - /sandbox/.uv/python/**
  restart:
    description:
      - Whether the sandbox may be stopped and started if its key changed. Running processes keep the key that they started with.
      - Otherwise RV(restart_needed) and a warning say so.
    type: bool
    default: false
  replace:
    description:
      - Whether a provider of that name and another profile may be deleted and created again, and whether a profile of that name that was
        not made from here may be replaced.
    type: bool
    default: false
  timeout:
    description: Time limit in seconds for the sandbox to apply a change.
    type: int
    default: 60
extends_documentation_fragment:
  - nemoclaw.local_inference.openshell
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: The actions are shown. Keys never are.
  idempotent:
    support: full
    details: The first run on a provider that was created elsewhere sets its key, since the key cannot be compared.
  action_group:
    support: full
    membership: [nemoclaw.local_inference.openshell, nemoclaw.local_inference.all]
seealso:
  - module: nemoclaw.local_inference.sandbox_proof
  - module: nemoclaw.local_inference.openshell_sandbox
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Attach Ollama behind the auth proxy of this host
  nemoclaw.local_inference.openshell_attachment:
    sandbox: my-assistant
    provider: ollama-local
    base_url: http://host.openshell.internal:11435/v1
    credential: "{{ proxy.token }}"
  register: attachment

- name: Prove it from inside the sandbox
  nemoclaw.local_inference.sandbox_proof:
    name: my-assistant
    model: qwen3.5:9b
    base_url: "{{ attachment.environment.OPENAI_BASE_URL }}"

- name: Detach it
  nemoclaw.local_inference.openshell_attachment:
    sandbox: my-assistant
    provider: ollama-local
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: ["import profile ollama-local", "create ollama-local", "attach ollama-local"]
environment:
  description:
    - What the agent's own configuration must contain, without its key, for which the variable O(credential_name) has a placeholder in the
      sandbox. Model and timeout belong there too.
  returned: success
  type: dict
  sample: {"OPENAI_BASE_URL": "http://host.openshell.internal:11435/v1"}
restart_needed:
  description: Whether processes in the sandbox have an older key.
  returned: success
  type: bool
restarted:
  description: Whether the sandbox was stopped and started, or would be.
  returned: success
  type: bool
release:
  description: The release of OpenShell.
  returned: success
  type: str
  sample: 0.1.5
failure:
  description: What stopped it, with C(code) and C(message), and C(server_message) if the gateway reported it.
  returned: on failure
  type: dict
"""

from typing import Any

from ..module_utils.base import OPENSHELL_OPTIONS, create_module, fail
from ..module_utils.endpoint.validate import DIALECTS
from ..module_utils.failure import Failure
from ..module_utils.openshell.attaching import Attachment
from ..module_utils.openshell.attachment import BINARIES, Desired
from ..module_utils.openshell.cli import ATTACHMENT
from ..module_utils.openshell.look import open_cli

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "sandbox": {"type": "str", "required": True},
    "provider": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "base_url": {"type": "str"},
    "credential_name": {"type": "str", "default": "OPENAI_API_KEY"},
    "credential": {"type": "str", "no_log": True},
    "api": {"type": "str", "choices": list(DIALECTS), "default": "openai-completions"},
    "binaries": {"type": "list", "elements": "str", "default": list(BINARIES)},
    "restart": {"type": "bool", "default": False},
    "replace": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 60},
    **OPENSHELL_OPTIONS,
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC, required_if=[("state", "present", ("base_url", "credential"))])
    params = module.params
    secret = (params["credential"] or "").strip()
    desired = Desired(
        params["sandbox"],
        params["provider"],
        params["base_url"] or "",
        params["credential_name"],
        secret,
        params["api"],
        tuple(params["binaries"]),
        params["timeout"],
        params["restart"],
        params["replace"],
    )
    try:
        cli = open_cli(params, secret, (ATTACHMENT,))
        attachment = Attachment(cli, desired)
        if params["state"] == "absent":
            outcome = attachment.remove(module.check_mode)
        else:
            attachment.look()
            outcome = attachment.apply(module.check_mode)
    except Failure as failure:
        fail(module, failure)
    for warning in outcome.warnings:
        module.warn(warning)
    url = "ANTHROPIC_BASE_URL" if desired.api == "anthropic-messages" else "OPENAI_BASE_URL"
    module.exit_json(
        changed=bool(outcome.actions),
        actions=outcome.actions,
        environment={url: desired.base_url} if desired.base_url else {},
        restart_needed=outcome.restart_needed,
        restarted=outcome.restarted,
        release=str(cli.release),
        diff={"before": "", "after": "".join(f"{action}\n" for action in outcome.actions)},
    )


if __name__ == "__main__":
    main()
