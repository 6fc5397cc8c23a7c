#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inference_outcome
short_description: Record the last failure of a host and the outcome of a playbook there
version_added: 0.2.0
description:
  - The playbooks of this collection begin and end a host's work with it. On the host it stores the last failure next to the route record,
    C(~/.nemoclaw/local-inference.last.json) with mode 0600, until a later run succeeds; M(nemoclaw.local_inference.inference_status) shows
    it.
  - An action plugin of the same name works out the outcome on the controller, from the plan, the status and the failed task.
options:
  state:
    description:
      - V(begun) connects to the host and returns its stored failure. Through the action plugin, a host that does not answer does not fail
        this task.
      - V(failed) stores the failure; in a C(rescue) section the action plugin takes it from the failed task.
      - V(done) removes the stored failure. The action plugin does so only if the outcome is a success.
      - V(judged) fails if the outcome of the host is bad. Only the action plugin knows this state.
      - V(raised), in a C(rescue) section, fails with the original failure, its code, and O(reason) appended to its sentence. Only the
        action plugin knows this state.
    type: str
    choices: [begun, done, failed, judged, raised]
    required: true
  playbook:
    description:
      - The name of the playbook whose outcome it is, without the collection's name.
      - Required unless O(state=raised).
    type: str
  path:
    description:
      - The route record; the last failure is stored next to it.
      - By default C(~/.nemoclaw/local-inference.json) of the user that the module runs as.
    type: path
  code:
    description: The code of the failure, which the action plugin sets.
    type: str
  reason:
    description:
      - The sentence of the failure, without any secret, which the action plugin sets.
      - With O(state=raised), how the failure was handled.
    type: str
  status:
    description: Whether the variable C(inference_status) holds the status at the end of this playbook. Only the action plugin reads it.
    type: bool
    default: false
  changed:
    description: Whether a playbook without a plan changed the host. Only the action plugin reads it.
    type: bool
    default: false
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  action:
    description: Has an action plugin of the same name, which runs on the controller.
    support: full
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - A failure is stored each time, with the time at which it happened.
  action_group:
    description: Use C(group/nemoclaw.local_inference.all) in C(module_defaults) to set options for all modules of the collection.
    support: full
    membership:
      - nemoclaw.local_inference.all
notes:
  - It never reports a change, since it stores what the playbook already reported.
seealso:
  - module: nemoclaw.local_inference.inference_results
  - module: nemoclaw.local_inference.inference_status
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Set up
  block:
    - name: Set up the provider
      ansible.builtin.include_role:
        name: nemoclaw.local_inference.ollama
  rescue:
    - name: Record the failure
      nemoclaw.local_inference.inference_outcome:
        state: failed
        playbook: site
      register: nemoclaw_ended
"""

RETURN = r"""
last:
  description: The failure stored on the host, null without one.
  returned: success
  type: dict
  contains:
    when:
      description: When it happened, in UTC.
      returned: success
      type: str
      sample: "2026-11-30T14:05:09Z"
    playbook:
      description: Which playbook failed.
      returned: success
      type: str
      sample: site
    code:
      description: The failure code.
      returned: success
      type: str
      sample: auth_failed
    message:
      description: Its sentence.
      returned: success
      type: str
route:
  description: The recorded route, null if none can be read.
  returned: success
  type: dict
auth_proxy:
  description: Whether the host has an auth proxy, which needs the token.
  returned: success
  type: bool
outcome:
  description:
    - The outcome of the playbook on this host, from the action plugin.
    - Its C(state) is V(converged), V(changed), V(unchanged), V(checked) (check mode), V(planned) (only planned), V(removed), V(healthy),
      V(unhealthy), V(refused), V(failed) or V(unreachable).
  returned: from the action plugin
  type: dict
  sample:
    playbook: site
    state: failed
    provider: custom
    model: qwen2.5:7b
    steps: []
    seconds: 12.5
    code: auth_failed
    message: "The server refuses the key. Correct COMPATIBLE_API_KEY."
    remedy: Correct COMPATIBLE_API_KEY.
    changed: false
    started: 1796047509.1
proceed:
  description: Whether the host answered and nothing prevents the run from continuing.
  returned: with O(state=begun), from the action plugin
  type: bool
failure:
  description: Why the failure could not be stored, with C(code) and C(message).
  returned: on failure
  type: dict
"""

import time
from pathlib import Path
from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import find_account
from ..module_utils.proxy.configuration import UNIT_PATH
from ..module_utils.route.record import last_path, read_last, read_record, record_path
from ..module_utils.route.write import keep_last

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["begun", "done", "failed", "judged", "raised"], "required": True},
    "playbook": {"type": "str"},
    "path": {"type": "path"},
    "code": {"type": "str"},
    "reason": {"type": "str"},
    "status": {"type": "bool", "default": False},
    "changed": {"type": "bool", "default": False},
}
REQUIRED_IF = [("state", state, ["playbook"]) for state in ("begun", "done", "failed", "judged")]


def converge(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return what the host remembers, after it was made to keep or to forget a failure."""
    owner = find_account()
    record = params["path"] or record_path(owner.home)
    path = last_path(record)
    if params["state"] in ("done", "failed"):
        failure = None
        if params["state"] == "failed":
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            said = {"code": params["code"] or "", "message": params["reason"] or ""}
            failure = {"when": when, "playbook": params["playbook"], **said}
        keep_last(path, owner, failure, check_mode)
    try:
        route = read_record(record)
    except Failure:
        route = None  # the status says why
    return {"last": read_last(path), "route": route, "auth_proxy": Path(UNIT_PATH).exists()}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC, required_if=REQUIRED_IF)
    try:
        result = converge(module.params, module.check_mode)
    except Failure as failure:
        fail(module, failure)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
