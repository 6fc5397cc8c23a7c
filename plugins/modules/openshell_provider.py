#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: openshell_provider
version_added: "0.1.0"
short_description: Manage a provider on an OpenShell gateway
description:
  - Creates, changes or deletes a provider, which is a credential and settings under a name that the inference route refers to.
  - The credential is passed to OpenShell in the environment of its command line, never in an argument, a log or a file.
  - A gateway never shows a value again, so the module stores a keyed hash of what it set, with the ID and the version that the gateway
    assigned to the provider, in C(~/.nemoclaw/openshell-providers.json) with mode 0600. The provider is left alone while all three are
    unchanged; any other change is noticed by the version and corrected.
  - An update removes credentials and settings that are not requested.
options:
  name:
    description: The provider's name, for example V(ollama-local).
    type: str
    required: true
  state:
    description: Whether the provider must exist.
    type: str
    choices: [present, absent]
    default: present
  type:
    description:
      - The API that the server speaks. A route can use V(openai), V(anthropic), V(nvidia) and V(deepinfra).
      - V(nvidia) is NVIDIA's cloud; local servers, NIM among them, are V(openai) or V(anthropic).
    type: str
    default: openai
  credential_name:
    description: The name of the credential, which is also the environment variable that OpenShell reads it from.
    type: str
    default: OPENAI_API_KEY
  credential:
    description:
      - The key or token. Needed for O(state=present); for a server that needs none, set V(dummy).
      - White space around it is removed, since a header cannot carry it.
    type: str
  config:
    description:
      - Settings, for example C(OPENAI_BASE_URL) or C(ANTHROPIC_BASE_URL) with the server's address as the sandbox reaches it.
      - A user name or password in an address is refused.
    type: dict
    default: {}
  replace:
    description:
      - Whether a provider of the same name and another O(type) is deleted and created again, since OpenShell cannot change a type.
      - The route reaches no server in that moment.
    type: bool
    default: false
  force:
    description:
      - Set all values on the gateway even if nothing seems to have changed.
      - With O(state=absent), delete the provider even if the inference route uses it.
    type: bool
    default: false
  ours_only:
    description: With O(state=absent), leave a provider alone if this module did not set its values, judged by its ID.
    type: bool
    default: false
extends_documentation_fragment:
  - nemoclaw.local_inference.openshell
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The credential is shown by its name and a fingerprint. Settings that were on the gateway are shown by their names.
  idempotent:
    support: full
    details:
      - The first run on a provider that was created elsewhere sets all values, since they cannot be compared.
  action_group:
    support: full
    membership: [nemoclaw.local_inference.openshell, nemoclaw.local_inference.all]
seealso:
  - module: nemoclaw.local_inference.openshell_inference
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Let the sandbox reach Ollama through the proxy of this host
  nemoclaw.local_inference.openshell_provider:
    name: ollama-local
    credential: "{{ proxy.token }}"
    config:
      OPENAI_BASE_URL: http://host.openshell.internal:11435/v1

- name: A server that wants no key
  nemoclaw.local_inference.openshell_provider:
    name: vllm-local
    credential: dummy
    config:
      OPENAI_BASE_URL: http://host.openshell.internal:8000/v1

- name: An Anthropic-compatible server, on the gateway of another sandbox
  nemoclaw.local_inference.openshell_provider:
    name: compatible-anthropic-endpoint
    type: anthropic
    credential_name: COMPATIBLE_ANTHROPIC_API_KEY
    credential: "{{ compatible_anthropic_api_key }}"
    config:
      ANTHROPIC_BASE_URL: https://models.example.com
    gateway: second
"""

RETURN = r"""
provider:
  description: The provider as the gateway shows it after the run, null if it has none of that name.
  returned: success
  type: dict
  contains:
    id:
      description: The id that the gateway gave it.
      type: str
      returned: always
    name:
      description: Its name.
      type: str
      returned: always
      sample: ollama-local
    type:
      description: Its type.
      type: str
      returned: always
      sample: openai
    resource_version:
      description: Increases by one with each change.
      type: int
      returned: always
      sample: 1
    credential_keys:
      description: The names of its credentials.
      type: list
      elements: str
      returned: always
      sample: [OPENAI_API_KEY]
    config_keys:
      description: The names of its settings.
      type: list
      elements: str
      returned: always
      sample: [OPENAI_BASE_URL]
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: ["update ollama-local"]
known_values:
  description:
    - Whether this module last set these values on this provider, regardless of later changes by others. So a provider that was changed
      elsewhere can be corrected without mistaking another key for the previous one.
  returned: success
  type: bool
  sample: true
release:
  description: The release of OpenShell.
  returned: success
  type: str
  sample: 0.0.83
failure:
  description: What stopped it, with C(code) and C(message), and C(server_message) if the gateway reported it.
  returned: on failure
  type: dict
"""

import re
from typing import Any

from ..module_utils.base import OPENSHELL_OPTIONS, create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.openshell.changes import delete_provider, ensure_provider, provider_result
from ..module_utils.openshell.look import open_cli
from ..module_utils.openshell.provider import Desired

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "type": {"type": "str", "default": "openai"},
    "credential_name": {"type": "str", "default": "OPENAI_API_KEY"},
    "credential": {"type": "str", "no_log": True},
    "config": {"type": "dict", "default": {}},
    "replace": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "ours_only": {"type": "bool", "default": False},
    **OPENSHELL_OPTIONS,
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    # An address may hold a password or a key, and Ansible shows the arguments of a task: check_desired refuses those with @, ? or #.
    module.no_log_values |= {str(value) for value in params["config"].values() if re.search("[@?#]", str(value))}
    present = params["state"] == "present"
    secret = params["credential"] or ""
    desired = Desired(
        params["name"],
        params["type"] if present else "",
        {params["credential_name"]: secret} if present else {},
        {name: str(value) for name, value in params["config"].items()} if present else {},
        params["force"],
        params["replace"],
        params["ours_only"],
    )
    try:
        cli = open_cli(params, secret.strip())
        outcome = (
            ensure_provider(cli, desired, module.check_mode)
            if present
            else delete_provider(cli, desired, module.check_mode)
        )
    except Failure as failure:
        fail(module, failure)
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(**provider_result(outcome, desired), release=str(cli.release))


if __name__ == "__main__":
    main()
