# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules support, said once."""

from __future__ import annotations


class ModuleDocFragment:
    """The attributes that each module completes."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    description: Returns details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second run reports no change.
  action_group:
    description: Use C(group/nemoclaw.local_inference.all) in C(module_defaults) to set defaults for these modules.
"""

    # A module that only reads: everything is supported because nothing changes.
    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - It changes nothing, so check mode does the same as a run.
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    support: N/A
    details:
      - It changes nothing, so there is no difference to show.
    description: Returns details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    support: full
    description: When run twice in a row outside check mode, with the same arguments, the second run reports no change.
"""
