#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_claim
short_description: Claim a host for a rollout, so that no other controller changes it
version_added: 0.2.0
description:
  - The playbooks C(rollout) and C(rollout_token) claim each host that they are about to change before anything is changed on any host, and
    release all claims when they end. The claim is a file next to the route record, C(~/.nemoclaw/local-inference.rollout.json) with mode
    0600, which names the controller.
  - A host that another run has claimed does not fail this task; M(nemoclaw.local_inference.rollout) then refuses to start.
  - An action plugin of the same name passes the owner of the claim, and knows whether the rollout changes the host.
options:
  state:
    description:
      - V(taken) claims the host. The claim of a run that has ended on this controller is replaced.
      - V(released) removes only the claim of this run.
    type: str
    choices: [taken, released]
    required: true
  playbook:
    description:
      - The playbook that claims. V(rollout) claims hosts whose plan, registered as C(inference_plan), has steps; V(rotate_token) those that
        answered, by what was registered as C(nemoclaw_begun). What V(taken) returned is read from C(rollout_claimed).
    type: str
    choices: [rollout, rotate_token]
    default: rollout
  path:
    description:
      - The route record; the claim is stored next to it.
      - By default C(~/.nemoclaw/local-inference.json) of the user that the module runs as.
    type: path
  take_over:
    description:
      - Whether to replace the claim of another controller as well. Only the action plugin reads it.
    type: bool
    default: false
  by:
    description: The owner of the claim, which the action plugin passes.
    type: dict
  instead_of:
    description: A claim to replace, which the action plugin passes.
    type: dict
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  action:
    description: Has an action plugin of the same name, which runs on the controller.
    support: full
  check_mode:
    support: full
    details:
      - Claims nothing.
  diff_mode:
    support: none
  idempotent:
    support: full
  action_group:
    description: Use C(group/nemoclaw.local_inference.all) in C(module_defaults) to set options for all modules of the collection.
    support: full
    membership:
      - nemoclaw.local_inference.all
notes:
  - It never reports a change, since no claim is left when the playbook ends.
seealso:
  - module: nemoclaw.local_inference.rollout
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Claim the host
  nemoclaw.local_inference.rollout_claim:
    state: taken
  register: rollout_claimed
"""

RETURN = r"""
claimed:
  description: Whether the host is this run's, or with O(state=released) was.
  returned: success
  type: bool
by:
  description: The owner of another claim on the host, null without one.
  returned: success
  type: dict
  sample: {user: mia, host: lab-2, pid: 4711, since: "2026-11-30T14:05:09Z"}
lost:
  description: Why the host no longer answers, from the action plugin; null if it does.
  returned: from the action plugin
  type: dict
failure:
  description: Why the claim could not be written, with C(code) and C(message).
  returned: on failure
  type: dict
"""

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import find_account
from ..module_utils.route.claim import claim_path, release, take
from ..module_utils.route.record import record_path

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["taken", "released"], "required": True},
    "playbook": {"type": "str", "choices": ["rollout", "rotate_token"], "default": "rollout"},
    "path": {"type": "path"},
    "take_over": {"type": "bool", "default": False},
    "by": {"type": "dict"},
    "instead_of": {"type": "dict"},
}


def converge(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return whose the host is, after it was claimed or released."""
    if check_mode or not params["by"]:
        return {"claimed": False, "by": None}
    owner = find_account()
    path = claim_path(params["path"] or record_path(owner.home))
    if params["state"] == "released":
        return {"claimed": release(path, owner, params["by"]), "by": None}
    other = take(path, owner, params["by"], params["instead_of"])
    return {"claimed": other is None, "by": other}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    try:
        result = converge(module.params, module.check_mode)
    except Failure as failure:
        fail(module, failure)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
