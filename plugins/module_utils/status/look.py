# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""All checks of a host's route: what inference_status and a collector look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..endpoint.validate import Endpoint
from ..failure import Failure
from ..host.machine import Account, Machine
from ..host.platform import reach_windows
from ..proxy.token import token_path
from ..route.record import read_record
from .check import Check, check_exposure, check_proxy, check_server
from .gateway import Wanted, check_gateway
from .states import HEALTHY, NOT_CONFIGURED, UNHEALTHY


@dataclass(frozen=True)
class Access:
    """How a recorded server is asked, beside what the record says.

    Args:
        credentials: Keys by the name that the record has as C(credential_env).
        api_key: A key that wins over them.
        timeout: Seconds for all checks of the server together, and as many again for the question from inside a sandbox.
        ca_path: Certificates of the server's authority.
        validate_certs: Whether its certificate is checked.
        trusted_users: Whose servers on this host get the key.
        token_path: The token file of the auth proxy, if it is not where the account's own lies.
        wanted: Whose sandboxes are looked at; None for none.

    """

    credentials: Mapping[str, Any] = field(default_factory=dict)
    api_key: str | None = None
    timeout: float = 60
    ca_path: str | None = None
    validate_certs: bool = True
    trusted_users: tuple[str, ...] = ()
    token_path: str | None = None
    wanted: Wanted | None = field(default_factory=Wanted)


def look_at_route(
    machine: Machine, account: Account, path: str, access: Access
) -> tuple[dict[str, Any] | None, list[Check]]:
    """Return the recorded route, None without one, and its checks."""
    record = Check("route", HEALTHY, url=path, detail="a route is recorded")
    checks, route = [record], None
    try:
        route = read_record(path)
    except Failure as failure:
        record.state, record.code, record.detail = UNHEALTHY, failure.code, failure.message
    else:
        if route is None:
            record.state, record.code = NOT_CONFIGURED, "route_not_recorded"
            record.detail = f"There is no route record {path}. Run the playbook nemoclaw.local_inference.site first."
    if route is not None:
        endpoint = Endpoint(
            reach_windows(machine, route["base_url_host"]),
            route["api"],
            access.api_key or str(access.credentials.get(route["credential_env"]) or ""),
            access.timeout,
            access.ca_path,
            access.validate_certs,
            access.trusted_users,
        )
        checks += check_server(route, endpoint)
        checks += check_proxy(route, access.token_path or token_path(account.home), account)
        checks += check_exposure(machine, route)
        if access.wanted:
            checks += check_gateway(machine, account, route, access.wanted, access.timeout)
    return route, checks
