#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Decide on the controller which hosts belong to which wave of a rollout, and whether it continues
version_added: 0.2.0
description:
  - The playbooks C(rollout) and C(rotate_token) begin, evaluate and end their waves with it. It runs on the controller only and keeps a
    file there, with which a second start resumes where the first one ended and a second rollout at the same time is refused.
  - Run it for one host of the play with C(run_once). It reads the results of all hosts of the play from C(hostvars).
options:
  state:
    description:
      - V(started) reads the state of each host, splits the hosts to be changed into O(waves), and takes the lock.
      - V(proved) fails on each host whose plan of the second proof, registered as C(rollout_proof_plan), finds that it no longer matches
        its settings.
      - V(judged) reads the outcomes of the hosts in the batch, records them, and decides whether the rollout continues.
      - V(ended) releases the lock and summarizes.
    type: str
    choices: [started, proved, judged, ended]
    required: true
  waves:
    description:
      - How many of the hosts to be changed are changed by the end of each wave, as numbers or percentages, which are rounded up. The last
        one is 100%.
    type: raw
    default: [1, 10%, 50%, 100%]
  canary:
    description:
      - Hosts that come first. If one of them cannot be changed, the rollout does not start; without a name the first host that can be
        changed is the canary.
    type: list
    elements: str
    default: []
  max_failures:
    description:
      - How many hosts may fail, as a number or as a percentage of the hosts reached so far. A wave in which all hosts failed stops the
        rollout in any case.
    type: raw
    default: 0
  soak:
    description:
      - Seconds between the proof of a wave and its second proof.
    type: raw
    default: 60
  proof:
    description:
      - What the hosts went through before they are judged, for the message if the rollout stops.
    type: str
    default: the proof
  path:
    description:
      - The file on the controller. By default C(rollout-INVENTORY-HASH.json) in C(~/.local/state/nemoclaw), one for each inventory.
    type: path
  playbook:
    description:
      - V(rollout) changes the hosts whose plan, registered as C(inference_plan), has steps. V(rotate_token) changes those that answered, by
        what was registered as C(nemoclaw_begun); when resumed, it skips those that already have their new token.
    type: str
    choices: [rollout, rotate_token]
    default: rollout
  take_over:
    description:
      - Whether to start even if another controller seems to be working on this inventory.
    type: bool
    default: false
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
    details:
      - Reports the waves, takes no lock and records nothing.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - Each call of a step records the state at that time.
  action:
    description: Is an action plugin, which runs on the controller.
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
seealso:
  - module: nemoclaw.local_inference.inference_plan
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Split the hosts into waves
  nemoclaw.local_inference.rollout:
    state: started
    waves: [1, 10%, 100%]
    max_failures: 5%
  run_once: true
  register: rollout

- name: Evaluate the wave
  nemoclaw.local_inference.rollout:
    state: judged
    max_failures: 5%
  run_once: true
  register: rollout_verdict
"""

RETURN = r"""
id:
  description: ID of the rollout, which stays the same when it is resumed.
  returned: success
  type: str
  sample: 5d0f3a91
resumed:
  description: Whether it resumes where an earlier run ended.
  returned: with O(state=started)
  type: bool
hosts:
  description: The hosts of all waves in their order, for C(hosts) of the next play.
  returned: with O(state=started)
  type: list
  elements: str
batches:
  description: The sizes of the waves, for C(serial).
  returned: with O(state=started)
  type: list
  elements: int
outcomes:
  description: The state of each host before anything is changed, as M(nemoclaw.local_inference.inference_outcome) returns it.
  returned: with O(state=started)
  type: dict
interrupted:
  description: Hosts of an earlier run that did not come to its end, which may have its claim.
  returned: with O(state=started), where it begins
  type: list
  elements: str
stopped:
  description: Why the rollout stops here, empty if it continues.
  returned: success
  type: str
soak:
  description: Seconds to wait before the second proof.
  returned: success
  type: int
path:
  description: The file of the rollout.
  returned: with O(state=started)
  type: str
max_failures:
  description: How many hosts may fail.
  returned: with O(state=started)
  type: str
lines:
  description: What the user should read.
  returned: success
  type: list
  elements: str
failure:
  description: Why the rollout does not start.
  returned: failure
  type: dict
  sample: {code: rollout_running, message: A rollout of this inventory runs already.}
"""

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["started", "proved", "judged", "ended"], "required": True},
    "waves": {"type": "raw", "default": [1, "10%", "50%", "100%"]},
    "canary": {"type": "list", "elements": "str", "default": []},
    "max_failures": {"type": "raw", "default": 0},
    "soak": {"type": "raw", "default": 60},
    "proof": {"type": "str", "default": "the proof"},
    "path": {"type": "path"},
    "playbook": {"type": "str", "choices": ["rollout", "rotate_token"], "default": "rollout"},
    "take_over": {"type": "bool", "default": False},
}
