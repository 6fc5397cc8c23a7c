#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inference_results
short_description: Show the outcome of a playbook on all hosts, in one table
version_added: 0.2.0
description:
  - The playbooks of this collection end with it, in a second play over the same hosts. It prints a line for each host of the play,
    including those that were refused or did not answer, and writes the same for programs if O(path) is set.
  - Runs on the controller, once for all hosts, so give the task C(run_once=true).
options:
  playbook:
    description: The name of the playbook that ends, without the collection's.
    type: str
    required: true
  path:
    description:
      - A file on the controller that gets the results as JSON. It is replaced in one step, with mode 0600, in check mode as well.
    type: str
  fail_on_change:
    description: Whether a host where the plan found something counts as one of RV(bad), for O(playbook=plan).
    type: bool
    default: false
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
  - module: nemoclaw.local_inference.inference_outcome
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Show the results
  nemoclaw.local_inference.inference_results:
    playbook: site
    path: results.json
  run_once: true
  register: nemoclaw_results
"""

RETURN = r"""
hosts:
  description: The outcome of each host by its name, as M(nemoclaw.local_inference.inference_outcome) returns it.
  returned: success
  type: dict
bad:
  description: The hosts that failed.
  returned: success
  type: list
  elements: str
exit_code:
  description: The exit code of ansible-playbook once those hosts have failed - 4 if one did not answer, 2 if one failed, otherwise 0.
  returned: success
  type: int
path:
  description: The file that was written.
  returned: with O(path)
  type: str
failure:
  description: Why the file could not be written, with C(code) and C(message).
  returned: on failure
  type: dict
"""

ARGUMENT_SPEC = {
    "playbook": {"type": "str", "required": True},
    "path": {"type": "str"},
    "fail_on_change": {"type": "bool", "default": False},
}
