# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The plans of a fleet, as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..plugin_utils.plan_lines import table


def plan_table(hostvars: Mapping[str, Any], hosts: Sequence[str], name: str = "inference_plan") -> list[str]:
    """Return a line for each host, by the plan that was registered there."""
    return table({host: hostvars[host].get(name) for host in hosts}, hosts)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {"plan_table": plan_table}
