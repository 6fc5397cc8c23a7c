# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Whether the sandboxes' gateway leads where the record says, and whether a sandbox gets an answer there."""

from __future__ import annotations

from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.report import Report
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import Account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import proof
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import (
    OpenShell,
    find_openshell,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.route import find_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.check import (
    DIFFERS,
    HEALTHY,
    NOT_CONFIGURED,
    UNAUTHORIZED,
    UNHEALTHY,
    UNREACHABLE,
    Check,
)

# What the sandbox asks, whatever the gateway's own address is (page, introduction).
_URL = "https://inference.local"
# Without a program or a registered gateway there are no sandboxes to lead, as for sandbox_backend: auto.
_NO_SANDBOXES = ("openshell_missing", "openshell_gateway_unset")
_STATES = {
    "openshell_gateway_down": UNREACHABLE,
    "openshell_timeout": UNREACHABLE,
    "sandbox_key_refused": UNAUTHORIZED,
    "sandbox_route_refused": UNREACHABLE,
    "sandbox_upstream_down": UNREACHABLE,
    "timeout": UNREACHABLE,
}


def check_gateway(
    machine: Machine, account: Account, route: dict[str, Any], gateway: str | None, timeout: float
) -> list[Check]:
    """
    Return the check of the gateway's route, and where that is right the check from inside a sandbox.

    None on a host without OpenShell, which costs one look at PATH. C(timeout): seconds, for the sandbox's question.
    """
    check = Check("gateway", HEALTHY, url=_URL)
    try:
        cli = find_openshell(machine, account, gateway=gateway)
        seen = find_route(cli)
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
        return [check, *_check_sandbox(cli, route, timeout)]
    return [check]


def _check_sandbox(cli: OpenShell, route: dict[str, Any], timeout: float) -> list[Check]:
    """Return what the first sandbox that is ready gets from the model; none where no sandbox can be asked.

    NemoClaw takes any HTTP code there for healthy (nemoclaw-facts 14.1).
    """
    check = Check("sandbox", HEALTHY, url=_URL)
    report = Report(route["api"], route["model"])
    try:
        name = proof.choose_sandbox(cli, None)
        if name is None:
            return []
        proof.prove(
            cli, name, proof.Wish(route["model"], route["api"], timeout=timeout, rungs=proof.COMPLETION), report
        )
        check.detail = f"answered a question from inside {name}"
    except Failure as failure:
        if failure.code == "sandbox_command_missing":
            return []
        check.state, check.code = _STATES.get(failure.code, UNHEALTHY), failure.code
        check.detail = failure.message
    check.latency = report.probes[0].latency if report.probes else None
    return [check]
