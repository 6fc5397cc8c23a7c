# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The command line of OpenShell that a module's options mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..host.machine import Machine, find_account
from .cli import ROUTE, OpenShell, find_openshell


def open_cli(params: Mapping[str, Any], secret: str = "", ways: tuple[str, ...] = (ROUTE,)) -> OpenShell:
    """Return the CLI that the options C(gateway), C(gateway_endpoint), C(executable) and C(user) mean.

    Raises:
        Failure: C(user_unknown), or one of find_openshell.

    """
    return find_openshell(
        Machine(),
        find_account(params["user"]),
        gateway=params["gateway"],
        endpoint=params["gateway_endpoint"],
        executable=params["executable"],
        secret=secret,
        ways=ways,
    )
