#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_package
version_added: "0.2.0"
short_description: Install distribution packages, and wait for the package manager's lock
description:
  - Installs what the roles of this collection need, with nothing that is only recommended.
  - With C(apt-get), it waits while another process holds the package manager's locks, and reports which one. If a package cannot be found,
    the package lists are updated and the installation is tried once more. A source that cannot be reached does not matter as long as
    another one has the package.
options:
  name:
    description: The packages, as the host's package manager calls them.
    type: list
    elements: str
    required: true
  needed_by:
    description: What needs them, for messages.
    type: str
    default: the task
  masked_services:
    description:
      - Services that the packages would start at once. They are masked before the packages are installed, and stay masked.
      - If the packages cannot be installed, the services are left as they were. If nothing needs to be installed, they are left alone.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
notes:
  - Installing needs root (C(become)).
seealso:
  - module: nemoclaw.local_inference.zstd
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Install nginx
  nemoclaw.local_inference.host_package:
    name: [nginx]
    needed_by: the proxy
    masked_services: [nginx.service]
  become: true
"""

RETURN = r"""
installed:
  description: The packages that were installed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [nginx]
package_manager:
  description: The package manager that the host has, null when none is known.
  returned: success
  type: str
  sample: apt
waited:
  description: Seconds for which another process held the package manager's lock.
  returned: success
  type: float
  sample: 0.0
failure:
  description:
    - What stopped it, with C(code) and C(message).
    - The code is C(package_lock_held) (with C(pid) and C(program)), C(package_not_installed), C(package_manager_missing),
      C(package_name_invalid) or C(root_needed).
  returned: on failure
  type: dict
"""

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Machine
from ..module_utils.host.packages import Installed, install, kept_from_starting, missing_packages
from ..module_utils.host.tools import find_package_manager

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "list", "elements": "str", "required": True},
    "needed_by": {"type": "str", "default": "the task"},
    "masked_services": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    machine = Machine()
    manager = find_package_manager(machine)
    done = Installed([], None, 0.0)
    try:
        lacking = missing_packages(machine, manager or "", module.params["name"])
        if lacking and not module.check_mode:
            with kept_from_starting(machine, module.params["masked_services"]):
                done = install(machine, manager, lacking, f"which {module.params['needed_by']} needs")
    except Failure as failure:
        fail(module, failure)
    if done.waited_for:
        module.warn(f"Waited {done.waited_s:.0f} s for {done.waited_for}, which held the lock of the packages.")
    module.exit_json(changed=bool(lacking), installed=lacking, package_manager=manager, waited=round(done.waited_s, 1))


if __name__ == "__main__":
    main()
