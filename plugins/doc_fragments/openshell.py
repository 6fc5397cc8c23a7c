# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that drive OpenShell's command line."""

from __future__ import annotations


class ModuleDocFragment:
    """See plugins/module_utils/base.py, OPENSHELL_OPTIONS, for the same as code."""

    DOCUMENTATION = r"""
options:
  gateway:
    description:
      - The name of the gateway, as C(openshell gateway list) has it. NemoClaw calls its own V(nemoclaw).
      - By default the one that E(OPENSHELL_GATEWAY) names, else the active one.
    type: str
  gateway_endpoint:
    description:
      - The gateway's URL, used instead of the registered one, for example V(http://127.0.0.1:8080).
      - With an C(https) URL set O(gateway) too, since the client certificates are stored under its name.
    type: str
  executable:
    description: The program, by default C(openshell) on the C(PATH) or in C(~/.local/bin) of O(user).
    type: path
  user:
    description:
      - The owner of the gateway. Registrations and certificates are in that user's home, so a module that runs as root becomes this user.
      - By default the user that the module runs as.
    type: str
requirements:
  - OpenShell on the target, command line and gateway of the same release, 0.0.44 to 0.0.116 unless a module says otherwise
notes:
  - OpenShell 0.1.0 removed the inference route. Modules that need one refuse 0.1; see M(nemoclaw.local_inference.openshell_attachment).
"""
