#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: openshell_inference
version_added: "0.1.0"
short_description: Set the inference route of an OpenShell gateway
description:
  - Sets the gateway's inference route, that is the provider and the model that C(https://inference.local) means in its sandboxes.
  - The route is read first and set only where provider, model or timeout differ, since setting it always creates a new version. Afterwards
    it is read again.
  - Running sandboxes use the new route within about five seconds.
  - The gateway's own check of the server is skipped by default. It runs from the host, where C(host.openshell.internal) means nothing, so
    it fails for every local server. Prove the server with M(nemoclaw.local_inference.endpoint_validate) and the path to it with
    M(nemoclaw.local_inference.sandbox_probe) before.
options:
  state:
    description:
      - Whether the route must exist.
      - Only OpenShell 0.0.88 and later can remove one. Earlier ones keep it, and the module warns.
    type: str
    choices: [present, absent]
    default: present
  provider:
    description: A provider of the gateway, see M(nemoclaw.local_inference.openshell_provider). Needed for O(state=present).
    type: str
  model:
    description: The model as the server lists it. The gateway inserts it into every request. Required for O(state=present).
    type: str
  timeout:
    description:
      - Time limit in seconds for a request that OpenShell answers in one piece, such as a list of models or embeddings. Chat is forwarded
        piece by piece and is not limited by it.
      - It is always set, because OpenShell otherwise falls back to its own 60 s.
    type: int
    default: 180
  verify:
    description: Whether the gateway checks the server before it accepts the route. For servers that the gateway's host reaches by
      O(model)'s address, such as a public endpoint.
    type: bool
    default: false
  sandbox:
    description: The name of the sandbox that the route is for. It does not count as another sandbox for O(shared).
    type: str
  shared:
    description:
      - A gateway has one route for all its sandboxes. This is what happens if it must change and there are other sandboxes.
      - V(warn) changes it and warns, V(allow) changes it, V(refuse) stops before anything is changed.
    type: str
    choices: [warn, allow, refuse]
    default: warn
extends_documentation_fragment:
  - nemoclaw.local_inference.openshell
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
    membership: [nemoclaw.local_inference.openshell, nemoclaw.local_inference.all]
seealso:
  - module: nemoclaw.local_inference.openshell_provider
  - module: nemoclaw.local_inference.endpoint_validate
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Route inference.local to Ollama
  nemoclaw.local_inference.openshell_inference:
    provider: ollama-local
    model: qwen2.5:7b
    timeout: 180

- name: Change the model, unless another sandbox uses the route too
  nemoclaw.local_inference.openshell_inference:
    provider: ollama-local
    model: nemotron-3-nano:30b
    sandbox: my-assistant
    shared: refuse

- name: Take the route away
  nemoclaw.local_inference.openshell_inference:
    state: absent
"""

RETURN = r"""
route:
  description: The route after the run, null without one.
  returned: success
  type: dict
  contains: &route
    provider:
      description: The provider.
      type: str
      returned: always
      sample: ollama-local
    model:
      description: The model.
      type: str
      returned: always
      sample: qwen2.5:7b
    timeout:
      description: Seconds for one request.
      type: int
      returned: always
      sample: 180
    version:
      description: Increases by one each time the route is set, null in check mode for one that would be set.
      type: int
      returned: always
      sample: 4
previous:
  description: The route before the run, null without one.
  returned: success
  type: dict
  contains: *route
sandboxes:
  description: The other sandboxes that use the route.
  returned: success
  type: list
  elements: str
  sample: []
gateway:
  description: The name that the gateway is registered under, null if it is known only by its address.
  returned: success
  type: str
  sample: nemoclaw
release:
  description: The release of OpenShell.
  returned: success
  type: str
  sample: 0.0.83
failure:
  description: What stopped it, with C(code) and C(message). The previous route is still in force then.
  returned: on failure
  type: dict
"""

from typing import Any

from ..module_utils.base import OPENSHELL_OPTIONS, create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.openshell.changes import ensure_route, remove_route
from ..module_utils.openshell.look import open_cli
from ..module_utils.openshell.route import DesiredRoute, route_as_dict

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "provider": {"type": "str"},
    "model": {"type": "str"},
    "timeout": {"type": "int", "default": 180},
    "verify": {"type": "bool", "default": False},
    "sandbox": {"type": "str"},
    "shared": {"type": "str", "choices": ["warn", "allow", "refuse"], "default": "warn"},
    **OPENSHELL_OPTIONS,
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC, required_if=[("state", "present", ("provider", "model"))])
    params = module.params
    try:
        cli = open_cli(params)
        if params["state"] == "absent":
            outcome = remove_route(cli, module.check_mode)
        else:
            names = ("provider", "model", "timeout", "verify", "sandbox", "shared")
            outcome = ensure_route(cli, DesiredRoute(**{name: params[name] for name in names}), module.check_mode)
    except Failure as failure:
        fail(module, failure)
    for warning in outcome.warnings:
        module.warn(warning)
    before, after = route_as_dict(outcome.before), route_as_dict(outcome.after)
    diff = {"before": before or {}, "after": after or {}} if outcome.changed else {"before": {}, "after": {}}
    module.exit_json(
        changed=outcome.changed,
        route=after,
        previous=before,
        sandboxes=outcome.sandboxes,
        gateway=cli.gateway,
        release=str(cli.release),
        diff=diff,
    )


if __name__ == "__main__":
    main()
