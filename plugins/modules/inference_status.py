#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inference_status
version_added: "0.1.0"
short_description: Check whether the recorded inference route works
description:
  - Reads the route record of the host and checks it against the host. The server must answer and serve the model, and the model must answer
    a real question.
  - Where the sandbox goes through the authenticated reverse proxy, that is checked as well, with the token in the token file. A refused
    token, a proxy in front of a server that is down and a missing proxy are told apart.
  - Where OpenShell is installed and a gateway registered, its inference route is compared with the record. One of its sandboxes also asks
    the model through that route; the one that is named or recorded, else the first that is ready.
  - With OpenShell 0.1 the attachment of the recorded sandbox is compared instead, and the sandbox asks the server directly.
  - Prints the lines of C(nemoclaw <name> status), and returns the same as data for monitors.
  - A route that does not work is an answer, not a failure; see RV(healthy). The playbook C(status.yml) fails on it.
options:
  path:
    description:
      - The route record.
      - By default C(~/.nemoclaw/local-inference.json) of the user that the module runs as.
    type: path
  credentials:
    description:
      - Keys by the name that the record has as C(credential_env), for a play over hosts with different providers.
      - O(api_key) takes precedence.
    type: dict
    default: {}
  openshell:
    description: Whether the OpenShell gateway and its sandboxes are checked, if there is one.
    type: bool
    default: true
  backend:
    description:
      - What drives the sandboxes, as C(sandbox_backend) of the role P(nemoclaw.local_inference.sandbox#role).
      - V(auto) means NemoClaw if it is installed, else OpenShell.
      - What is named here, in O(gateway) or O(sandbox), or in the record, must exist. A host without sandboxes is healthy only if none of
        these is named.
      - V(none) means the same as O(openshell=false).
    type: str
    choices: [auto, nemoclaw, openshell, none]
    default: auto
  gateway:
    description:
      - The gateway's name. By default the recorded one; else V(nemoclaw) if NemoClaw drives the sandboxes; else the one that
        E(OPENSHELL_GATEWAY) names; else the active one.
    type: str
  sandbox:
    description:
      - The sandbox that asks. By default the recorded one, else the first that is ready.
      - A sandbox that is named or recorded must be ready.
    type: str
  token_path:
    description:
      - The file with the token of the authenticated reverse proxy.
      - By default C(~/.nemoclaw/ollama-proxy-token) of the user that the module runs as.
    type: path
  timeout:
    description: Time limit in seconds for all checks of the server together, and again for the question from inside a sandbox.
    type: int
    default: 60
  show_last_failure:
    description:
      - Whether RV(lines) end with RV(last_failure).
      - The playbook C(site.yml) leaves it out, since it ends with a newer outcome.
    type: bool
    default: true
    version_added: "0.2.0"
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes.read_only
  - nemoclaw.local_inference.endpoint
attributes:
  action_group:
    support: full
    description: >-
      Use C(group/nemoclaw.local_inference.endpoint) or C(group/nemoclaw.local_inference.all) in C(module_defaults) to set
      defaults for this module.
    membership: [nemoclaw.local_inference.endpoint, nemoclaw.local_inference.all]
notes:
  - Keys are stored only in the gateway, so set O(api_key) again for a server that needs one.
  - It sends a real question, and a second one if a sandbox is asked.
seealso:
  - module: nemoclaw.local_inference.endpoint_validate
  - module: nemoclaw.local_inference.inference_route
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Look whether the route works
  nemoclaw.local_inference.inference_status:
    api_key: "{{ lookup('ansible.builtin.env', 'COMPATIBLE_API_KEY') }}"
  register: status

- name: Show it
  ansible.builtin.debug:
    var: status.lines
"""

RETURN = r"""
healthy:
  description:
    - Whether there is a route and no check of it found anything wrong.
    - Anything that was not requested and could not be probed, such as the sandboxes of a host without OpenShell, does not count.
  returned: always
  type: bool
  sample: true
exit_code:
  description:
    - For monitors, as in the document of a report. 0 if the route works, 1 if it works and the last run failed, 2 if it does not work.
    - Drift from the settings is not checked.
  returned: always
  type: int
  sample: 0
lines:
  description: The status as text for people.
  returned: always
  type: list
  elements: str
  sample:
    - "Provider:  Other OpenAI-compatible endpoint (compatible-endpoint)"
    - "Inference: healthy (http://127.0.0.1:8080/v1)"
checks:
  description: The checks, in order.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description:
        - V(route), V(backend), V(completion), V(auth_proxy) for a server behind the authenticated reverse proxy, V(exposure) if the server
          can be reached without going through that proxy (otherwise there is no such entry), V(gateway) unless O(openshell) is false, and
          V(sandbox) if the gateway has the recorded route.
      type: str
      returned: always
    state:
      description:
        - V(healthy), V(unreachable) (nothing answers in time), V(unauthorized) (the key is refused), V(unhealthy) (it answers,
          but wrongly), V(not probed) (RV(checks[].detail) has the reason), V(not configured) (there is no record, or the gateway has no
          route), or V(differs) (the gateway has another route).
      type: str
      returned: always
    url:
      description: Where.
      type: str
      returned: always
    detail:
      description: What was seen, in words.
      type: str
      returned: always
    code:
      description: As RV(nemoclaw.local_inference.endpoint_validate#module:failure.code), null when healthy.
      type: str
      returned: always
    latency:
      description: Seconds of the last request, null when none was sent.
      type: float
      returned: always
last_failure:
  description:
    - The last failure of a playbook on this host, as RV(nemoclaw.local_inference.inference_outcome#module:last), until a later run
      succeeds. Null without one.
    - It does not make the route unhealthy.
  returned: always
  type: dict
route:
  description: The recorded route, null without one.
  returned: always
  type: dict
"""

from typing import Any

from ..module_utils.base import ENDPOINT_OPTIONS, create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Account, Machine, find_account
from ..module_utils.route.record import last_path, read_last, record_path
from ..module_utils.status.check import Check, render
from ..module_utils.status.document import EXIT_CODES, NOT_COMPARED, judge
from ..module_utils.status.look import Access, Wanted, look_at_route
from ..module_utils.status.states import HEALTHY, NOT_PROBED

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "path": {"type": "path"},
    "credentials": {"type": "dict", "default": {}, "no_log": True},
    "openshell": {"type": "bool", "default": True},
    "backend": {"type": "str", "choices": ["auto", "nemoclaw", "openshell", "none"], "default": "auto"},
    "gateway": {"type": "str"},
    "sandbox": {"type": "str"},
    "token_path": {"type": "path"},
    "timeout": {"type": "int", "default": 60},
    "show_last_failure": {"type": "bool", "default": True},
    **ENDPOINT_OPTIONS,
}


def look(params: dict[str, Any], path: str, account: Account) -> dict[str, Any]:
    """Return the result: the route, its checks and their lines."""
    asks_sandboxes = params["openshell"] and params["backend"] != "none"
    access = Access(
        params["credentials"],
        params["api_key"],
        params["timeout"],
        params["ca_path"],
        params["validate_certs"],
        tuple(params["trusted_users"]),
        params["token_path"],
        Wanted(params["backend"], params["gateway"], params["sandbox"]) if asks_sandboxes else None,
    )
    route, checks = look_at_route(Machine(), account, path, access)
    last = read_last(last_path(path))
    shown = [check.as_result() for check in checks]
    return {
        "healthy": _is_healthy(checks),
        "exit_code": EXIT_CODES[judge(shown, NOT_COMPARED, last or {})[0]],
        "lines": render(route, checks, last if params["show_last_failure"] else None),
        "checks": shown,
        "last_failure": last,
        "route": route,
    }


def _is_healthy(checks: list[Check]) -> bool:
    """Tell whether no check found anything wrong.

    The completion is left out only where the server's own check failed, and the sandboxes where nobody asked for any.
    """
    return all(check.state in (HEALTHY, NOT_PROBED) for check in checks)


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    try:
        account = find_account()
        result = look(module.params, module.params["path"] or record_path(account.home), account)
    except Failure as failure:
        fail(module, failure)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
