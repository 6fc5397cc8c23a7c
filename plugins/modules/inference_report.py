#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inference_report
short_description: Create a report of a fleet from the documents of its hosts
version_added: 0.2.0
description:
  - Writes C(report.json), C(report.html), C(junit.xml) and C(metrics.prom) from the host documents in a folder of the controller, with the
    history of the runs that it finds there. No host is contacted.
  - The page loads nothing and runs no script. It can be read on a phone, in light and dark, and can be sent as one file.
  - With O(collected), the documents are written first, from what the hosts of the play returned to
    M(nemoclaw.local_inference.inference_plan) with C(collect=true). A host that did not answer has a document as well.
  - The same documents give the same report, so a second run changes nothing.
options:
  path:
    description:
      - The folder of the report on the controller. It is created with mode 0700, its files with 0600.
      - A relative path is below the current folder of the controller.
    type: path
    default: nemoclaw-report
  collected:
    description:
      - The variable in which the hosts of this play registered their results.
      - By default, only existing documents are used.
    type: str
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without writing anything.
    support: full
  diff_mode:
    description: Returns no diff. The files hold times and states of many hosts.
    support: none
  idempotent:
    support: partial
    details:
      - Without O(collected), a second run changes nothing. With it, the time of the run is new.
    description: When run twice in a row outside check mode, with the same arguments, the second run reports no change.
  action:
    description: Runs on the controller alone, by an action plugin of the same name.
    support: full
  action_group:
    description: Use C(group/nemoclaw.local_inference.all) in C(module_defaults) to set options for all modules of the collection.
    support: full
    membership:
      - nemoclaw.local_inference.all
notes:
  - Set C(run_once=true) on the task if it collects.
  - To take a host out of the report, remove its document.
seealso:
  - module: nemoclaw.local_inference.inference_plan
  - module: nemoclaw.local_inference.inference_status
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Gather the state of the host
  nemoclaw.local_inference.inference_plan:
    collect: true
    proof: completion
  become: true
  register: collected
  ignore_errors: true
  ignore_unreachable: true

- name: Write the documents and the report
  nemoclaw.local_inference.inference_report:
    collected: collected
  run_once: true
"""

RETURN = r"""
exit_code:
  description: 0 if all hosts are healthy, 1 if one is degraded, 2 if one is down or did not answer.
  returned: success
  type: int
  sample: 1
counts:
  description: How many hosts are C(down), C(unreachable), C(degraded) and C(healthy).
  returned: success
  type: dict
  sample: {down: 0, unreachable: 0, degraded: 1, healthy: 39}
hosts:
  description: The state of each host, the worst first.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: Its name in the inventory.
      returned: success
      type: str
    state:
      description: V(healthy), V(degraded), V(down) or V(unreachable).
      returned: success
      type: str
    exit_code:
      description: 0, 1 or 2.
      returned: success
      type: int
    reason:
      description: Why; empty for V(healthy).
      returned: success
      type: str
lines:
  description: The fleet as text for people, one line for each host that is not healthy.
  returned: success
  type: list
  elements: str
problems:
  description: Files that were skipped, and why.
  returned: success
  type: list
  elements: str
path:
  description: The folder.
  returned: success
  type: str
  sample: /home/me/nemoclaw-report
"""

from typing import Any

from ..module_utils.base import create_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "default": "nemoclaw-report"},
    "collected": {"type": "str"},
}


def main() -> None:
    """Say why nothing is done, where something else than the action plugin started this."""
    module = create_module(ARGUMENT_SPEC)
    module.fail_json(
        msg="inference_report runs on the controller. Call it by its full name nemoclaw.local_inference.inference_report."
    )


if __name__ == "__main__":
    main()
