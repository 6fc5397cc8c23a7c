# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of modules whose work is long, which a play waits for and shows."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by Ansible."""

    DOCUMENTATION = r"""
options:
  wait:
    description:
      - The work is done by a process of its own on the host, and goes on after an interrupted play. The task looks at it again and again
        until it is over, and prints how far it is. This is how many seconds each look waits on the host.
      - By default looks become longer, from 2 to 5 seconds, and to 15 where it takes long to reach the host.
      - With V(0) the task only starts the work, or looks at it once. If it is not over by then, RV(ignore:finished) is false and
        RV(ignore:progress) says how far it is. Run the task again with the same options for more.
      - Where nothing is to be done, in check mode and with C(async), no process is started.
    type: int
  jobs_path:
    description:
      - The folder for the state of that process, which is removed at the end. For users whose home cannot be written.
      - The default is C(~/.nemoclaw/jobs) of the user that the task runs as.
    type: path
attributes:
  action:
    description: Has an action plugin of the same name, which waits for the work on the controller, and shows how far it is.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: full
    details:
      - Then nothing is shown of how far the work is, and it ends with the task.
"""
