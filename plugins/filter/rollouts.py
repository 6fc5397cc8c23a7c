# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the playbook rollout makes of a route that was recorded before it, and of a host that failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..plugin_utils.rollout import is_anothers, is_same_route, last_outcome, route_settings
from ..plugin_utils.rollout_waves import read_downloads


def rollout_returns(
    status: Mapping[str, Any], before: Mapping[str, Any], made: Mapping[str, Any] | None = None
) -> bool:
    """Tell whether a host that failed has a previous route that is not in force, or does not work, and nobody else's work in its place."""
    is_back = status.get("healthy") and is_same_route(status.get("route"), before)
    return bool(before) and not is_back and not is_anothers(status, before, made or {})


def downloads_at_once(plan: Mapping[str, Any], limit: Any) -> int:
    """Return how many hosts may download together, 0 for all of them, and for a host that has nothing to download."""
    is_download = plan.get("download_bytes") or plan.get("download_unknown")
    return read_downloads(limit) if is_download else 0


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {
            "downloads_at_once": downloads_at_once,
            "rollout_outcome": last_outcome,
            "rollout_returns": rollout_returns,
            "route_settings": route_settings,
        }
