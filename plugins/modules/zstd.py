#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zstd
version_added: "0.1.0"
short_description: Install zstd, which Ollama's archives need
description:
  - On hosts with C(apt-get), zstd is installed with it, without recommended packages. If that fails, the package lists are updated and the
    installation is tried once more.
  - With any other package manager it fails if zstd is missing, and names the exact command.
options: {}
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
    details:
      - It fails in check mode too if zstd is missing and cannot be installed with apt.
  diff_mode:
    support: none
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
notes:
  - Installing needs root (C(become)).
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Install zstd
  nemoclaw.local_inference.zstd:
  become: true
"""

RETURN = r"""
installed:
  description: Whether zstd is installed now.
  returned: success
  type: bool
package_manager:
  description: The package manager that the host has, null when none is known.
  returned: success
  type: str
  sample: apt
msg:
  description: What was done, and why it needs root.
  returned: always
  type: str
  sample: >-
    The package zstd was installed with apt-get, which needs root: Ollama's archives are packed with zstd, and packages of the system are
    root's to install.
failure:
  description: What stopped it.
  returned: on failure
  type: dict
  contains:
    code:
      description: Stable name, listed in C(docs/failure-codes.md).
      type: str
      returned: always
      sample: zstd_missing
    message:
      description: The sentence, the same as C(msg).
      type: str
      returned: always
    command:
      description: The command to run, null if no package manager is known.
      type: str
      returned: for RV(failure.code=zstd_missing)
      sample: dnf install zstd
"""

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Machine
from ..module_utils.ollama.archive import converge

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    try:
        result = converge(Machine(), module.check_mode)
    except Failure as failure:
        fail(module, failure)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
