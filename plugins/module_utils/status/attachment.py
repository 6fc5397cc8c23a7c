# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Whether the recorded sandbox of OpenShell 0.1 has the recorded server attached, as far as the gateway tells."""

from __future__ import annotations

from typing import Any

from ..failure import Failure
from ..openshell.attached import is_ours, wanted_of
from ..openshell.attachment import READY, attached_at, host_of, profile_of, same_profile, see
from ..openshell.cli import OpenShell
from ..openshell.look import READY as SANDBOX_READY
from ..openshell.look import find_provider, find_sandbox
from ..openshell.route import Desired
from .check import DIFFERS, NOT_CONFIGURED

_AGAIN = "Run the playbook nemoclaw.local_inference.site."
# What is not unhealthy, but absent or another one.
STATES = {
    "sandbox_name_missing": NOT_CONFIGURED,
    "attachment_missing": NOT_CONFIGURED,
    "provider_foreign": DIFFERS,
    "gateway_route_differs": DIFFERS,
}


def check_attachment(cli: OpenShell, route: dict[str, Any], sandbox: str | None) -> str:
    """Return what is attached, in words, once it is what the record has.

    Raises:
        Failure: C(sandbox_name_missing), C(sandbox_not_ready), C(attachment_missing), C(provider_foreign), C(gateway_route_differs),
            C(attachment_not_ready), or one of the CLI.

    """
    name = route["provider_name"]
    if not sandbox:
        raise Failure(
            "sandbox_name_missing",
            f"OpenShell {cli.release} attaches a server to one sandbox, and the record names none. Set nemoclaw_sandbox_name. {_AGAIN}",
        )
    found = find_sandbox(cli, sandbox)
    if found is None or found.phase != SANDBOX_READY:
        phase = f"is {found.phase}" if found else "is not there"
        raise Failure(
            "sandbox_not_ready",
            f"The sandbox {sandbox}, which the route is for, {phase}. With nemoclaw_sandbox_name site makes one that is missing.",
        )
    attached = attached_at(cli, sandbox)
    if name not in attached:
        there = "which the gateway has" if find_provider(cli, name) else "which the gateway has not got either"
        raise Failure(
            "attachment_missing", f"The sandbox {sandbox} has not got the provider {name} attached, {there}. {_AGAIN}"
        )
    if not is_ours(cli, name):
        raise Failure(
            "provider_foreign",
            f"The sandbox {sandbox} has a provider {name} attached that did not get its key from here. {_AGAIN} One of another profile it "
            "replaces with sandbox_replace_provider=true alone.",
        )
    wanted = wanted_of(Desired(route, "", route, sandbox=sandbox), cli, name)
    seen = see(cli, wanted, found, attached)
    granted, endpoints = seen.profile or {}, profile_of(wanted, host_of(cli.path))["endpoints"]
    if not same_profile({"endpoints": granted.get("endpoints")}, {"endpoints": endpoints}):
        raise Failure(
            "gateway_route_differs",
            f"The profile of {name} does not grant {wanted.base_url}, which the record has. {_AGAIN}",
        )
    if seen.state != READY:
        raise Failure(
            "attachment_not_ready",
            f"The sandbox {sandbox} has not applied the provider {name} yet: {seen.state}. Look at openshell logs {sandbox}.",
        )
    return f"{name} is attached to {sandbox}"
