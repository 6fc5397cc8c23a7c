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
      - The work runs in its own process on the host and continues if the play is interrupted. The task checks it repeatedly until it is
        finished and prints its progress. This is how many seconds each check waits on the host.
      - By default checks become longer, from 2 to 5 seconds, and up to 15 if the host is slow to reach.
      - With V(0) the task only starts the work, or checks it once. If it is not finished by then, RV(ignore:finished) is false and
        RV(ignore:progress) reports the progress. Run the task again with the same options to check again.
      - If nothing needs to be done, in check mode and with C(async), no process is started.
    type: int
  jobs_path:
    description:
      - The folder for the state of that process, which is removed at the end. For users whose home is not writable.
      - The default is C(~/.nemoclaw/jobs) of the user that the task runs as.
    type: path
attributes:
  action:
    description: Has an action plugin of the same name, which waits for the work on the controller and shows its progress.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: full
    details:
      - Then no progress is shown, and the work ends with the task.
"""
