# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Whether the sandboxes' gateway leads where the record says."""

from __future__ import annotations

from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import Account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import find_openshell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.route import find_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.check import (
    DIFFERS,
    HEALTHY,
    NOT_CONFIGURED,
    UNHEALTHY,
    UNREACHABLE,
    Check,
)

# What the sandbox asks, whatever the gateway's own address is (page, introduction).
_URL = "https://inference.local"
# Without a program or a registered gateway there are no sandboxes to lead, as for sandbox_backend: auto.
_NO_SANDBOXES = ("openshell_missing", "openshell_gateway_unset")
_STATES = {"openshell_gateway_down": UNREACHABLE, "openshell_timeout": UNREACHABLE}


def check_gateway(machine: Machine, account: Account, route: dict[str, Any], gateway: str | None) -> list[Check]:
    """Return the check of the gateway's route; none on a host without OpenShell, which costs one look at PATH."""
    check = Check("gateway", HEALTHY, url=_URL)
    try:
        seen = find_route(find_openshell(machine, account, gateway=gateway))
    except Failure as failure:
        if failure.code in _NO_SANDBOXES:
            return []
        check.state, check.code = _STATES.get(failure.code, UNHEALTHY), failure.code
        check.detail = failure.message
        return [check]
    wanted = (route["provider_name"], route["model"], route["timeout"])
    if seen is None:
        check.state, check.code = NOT_CONFIGURED, "gateway_route_missing"
        check.detail = "The gateway has no route, so inference.local leads nowhere. Run the playbook nemoclaw.local_inference.site."
    elif (seen.provider, seen.model, seen.timeout) != wanted:
        check.state, check.code = DIFFERS, "gateway_route_differs"
        check.detail = (
            f"The gateway leads to {seen.model} by {seen.provider} with {seen.timeout} s, and the record has {wanted[1]} by "
            f"{wanted[0]} with {wanted[2]} s. Run the playbook nemoclaw.local_inference.site to lead it there again."
        )
    else:
        check.detail = f"leads to {seen.model} by {seen.provider}"
    return [check]
