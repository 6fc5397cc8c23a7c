# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a collector wants to know of a host beside its plan: whether the route works as it is now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..host.machine import Account, Machine
from ..route.record import record_path
from ..status.gateway import Wanted
from ..status.look import Access, look_at_route
from .settings import Settings
from .steps import as_user

# Seconds for the questions to the server, as of the playbook status.
_TIMEOUT = 60


def ask_route(machine: Machine, account: Account, settings: Settings, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the checks of the route, asked by a process of the account. A host that is as it has to be was asked by its plan."""
    if plan["checks"]:
        return list(plan["checks"])
    path = settings["preflight_route_path"] or record_path(account.home)

    def work() -> dict[str, Any]:
        return {"checks": [one.as_result() for one in look_at_route(machine, account, path, access(settings))[1]]}

    checks: list[dict[str, Any]] = as_user(account, work)["checks"]
    return checks


def access(settings: Settings) -> Access:
    """Return how a recorded server is asked, by the settings of its role."""
    own = settings["endpoint_api_key"]
    backend = settings["sandbox_backend"]
    return Access(
        credentials={
            "COMPATIBLE_API_KEY": own or settings["compatible_api_key"],
            "COMPATIBLE_ANTHROPIC_API_KEY": own or settings["compatible_anthropic_api_key"],
            # Of a vLLM that was started with a key; Ollama is asked where it wants none.
            "OPENAI_API_KEY": settings["vllm_api_key"],
        },
        timeout=_TIMEOUT,
        ca_path=settings["endpoint_ca_path"] or None,
        validate_certs=settings["endpoint_validate_certs"],
        token_path=settings["sandbox_token_path"] or settings["proxy_token_path"] or None,
        wanted=None
        if backend == "none"
        else Wanted(backend, settings["sandbox_gateway"] or None, settings["sandbox_name"] or None),
    )
