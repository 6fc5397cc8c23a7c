#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inference_choice
short_description: Choose the provider of a host, and which Ollama, from facts that the play has
version_added: 0.2.0
description:
  - Decides on the controller, with the functions of M(nemoclaw.local_inference.inference_plan), from C(ansible_facts.nemoclaw_host), which
    M(nemoclaw.local_inference.inference_facts) returns, and from the variables of the host. The roles C(preflight) and C(ollama) begin with
    it, even if they are used without a plan.
  - Fails with everything that prevents the choice, before anything is changed.
  - With O(role=ollama) it asks M(nemoclaw.local_inference.ollama_windows) with C(state=detected), if only Windows can tell whether it has
    Ollama, and M(nemoclaw.local_inference.ollama_model) in check mode, if a model may have to be downloaded. Otherwise no module runs.
options:
  settings:
    description:
      - Settings that override the variables of the host, by the names that the plan reads, for example C(preflight_provider).
    type: dict
    default: {}
  keep_route:
    description:
      - Whether the provider V(auto) means the provider of the recorded route. A host without a route is then refused.
    type: bool
    default: false
  reason:
    description:
      - The reason for the provider, if the settings name it. By default the variable that names it.
    type: str
  libraries:
    description:
      - Python libraries that are needed in addition to those of the provider.
    type: list
    elements: str
    default: []
  role:
    description:
      - The role that decides. V(ollama) treats every other provider as V(ollama), and returns RV(ollama).
    type: str
    choices: [preflight, ollama]
    default: preflight
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes.read_only
attributes:
  action:
    description: Is an action plugin, which runs on the controller.
    support: full
  action_group:
    description: Use C(group/nemoclaw.local_inference.all) in C(module_defaults) to set options for all modules of the collection.
    support: full
    membership:
      - nemoclaw.local_inference.all
seealso:
  - module: nemoclaw.local_inference.inference_plan
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Inspect the host
  nemoclaw.local_inference.inference_facts:

- name: Choose the provider
  nemoclaw.local_inference.inference_choice:
  register: chosen

- name: Say it
  ansible.builtin.debug:
    msg: "{{ chosen.choice.provider }}, {{ chosen.choice.reason }}"
"""

RETURN = r"""
choice:
  description: What the host gets, as M(nemoclaw.local_inference.inference_plan) returns it.
  returned: success
  type: dict
  sample:
    provider: ollama
    reason: because Ollama runs here
    role: ollama
    previous_role: null
    side: null
    side_reason: null
    model: null
    model_reason: the largest that fits is chosen
packages:
  description: Packages of the distribution that the modules of the provider need and the host lacks.
  returned: success
  type: list
  elements: str
  sample: [python3-docker]
ollama:
  description:
    - What the tasks of the role C(ollama) read. PRIVATE to this collection, so it may change in any release.
  returned: with O(role=ollama)
  type: dict
failure:
  description: The first reason that prevents it; RV(ignore:msg) has all of them. The codes are those of the plan.
  returned: failure
  type: dict
  sample: {code: side_undecided, message: Ollama runs in this WSL and on Windows.}
"""

ARGUMENT_SPEC = {
    "settings": {"type": "dict", "default": {}},
    "keep_route": {"type": "bool", "default": False},
    "reason": {"type": "str"},
    "libraries": {"type": "list", "elements": "str", "default": []},
    "role": {"type": "str", "choices": ["preflight", "ollama"], "default": "preflight"},
}
