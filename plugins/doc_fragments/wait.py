# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of modules whose work is long, so that a play can show how far it is."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by Ansible."""

    DOCUMENTATION = r"""
options:
  wait:
    description:
      - How many seconds this call waits for the end. If the work is not over by then, RV(ignore:finished) is false and
        RV(ignore:progress) says how far it is. Call the module again with the same options for more.
      - The work is done by a process of its own on the host. It goes on between the calls, and after an interrupted play.
      - Where nothing is to be done, no process is started.
      - Without this option the call lasts until the end.
    type: int
  jobs_path:
    description:
      - The folder for the state of that process, which is removed at the end. For users whose home cannot be written.
      - The default is C(~/.nemoclaw/jobs) of the user that the task runs as.
    type: path
"""
