# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the playbook rollout makes of a route that was recorded before it, and of a host that failed; which hosts a play begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.failure import Failure
from ..plugin_utils.outcome import began_with
from ..plugin_utils.rollout import is_plain_name, is_same_route, last_outcome, refuse_nobody, route_settings
from ..plugin_utils.rollout_waves import read_downloads


def rollout_returns(status: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Tell whether a host that failed has a previous route that is not in force, or does not work."""
    return bool(before) and not (status.get("healthy") and is_same_route(status.get("route"), before))


def downloads_at_once(plan: Mapping[str, Any], limit: Any) -> int:
    """Return how many hosts may download together, 0 for all of them, and for a host that has nothing to download."""
    is_download = plan.get("download_bytes") or plan.get("download_unknown")
    return read_downloads(limit) if is_download else 0


def asked_first(
    pattern: Any, hosts: Sequence[str], variables: Any, groups: Mapping[str, Sequence[str]], playbook: str
) -> Any:
    """Return the pattern with those hosts first that the playbook was not passed over for, as it is where they are first anyway."""
    try:
        refuse_nobody(pattern, hosts, groups)
    except Failure as failure:
        raise AnsibleFilterError(failure.message) from None
    if not hasattr(variables, "raw_get"):
        return pattern  # no play has had a host yet, or a check of the syntax
    name = began_with(playbook)
    asked, passed_over = [], False
    for host in hosts:
        begun = variables.raw_get(host).get(name) or {}
        passed_over = passed_over or bool(begun.get("skipped"))
        if begun and not begun.get("skipped"):
            if not passed_over:
                return pattern
            if is_plain_name(host, groups):
                asked.append(host)
    return [*asked, *([pattern] if isinstance(pattern, str) else pattern)] if asked else pattern


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {
            "asked_first": asked_first,
            "downloads_at_once": downloads_at_once,
            "rollout_outcome": last_outcome,
            "rollout_returns": rollout_returns,
            "route_settings": route_settings,
        }
