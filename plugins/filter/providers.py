# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of providers, and what a route through one looks like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..module_utils.failure import Failure
from ..module_utils.route.route import SANDBOX_HOST, build_route, canonical_provider


def provider(name: str) -> str:
    """Return the provider's name as the collection writes it; what is no provider comes back as it is."""
    try:
        return canonical_provider(str(name))
    except Failure:
        return name


def route(desired: Mapping[str, Any]) -> dict[str, Any]:
    """Return the route that the module inference_route would record for the same options."""
    # Every process that Ansible forks for a task loads this file, and few need the probe ladder: it takes a fifth of a play's time.
    from ..module_utils.endpoint.validate import DEFAULT_TIMEOUT

    window = desired.get("context_window")
    return build_route(
        provider=str(desired["provider"]),
        base_url=str(desired["base_url"]),
        base_url_sandbox=str(desired.get("base_url_sandbox") or "") or None,
        sandbox_host=str(desired.get("sandbox_host") or SANDBOX_HOST),
        model=str(desired["model"]),
        api=str(desired.get("api") or "openai-completions"),
        timeout=int(desired.get("timeout") or DEFAULT_TIMEOUT),
        context_window=int(window) if window else None,
        container=str(desired.get("container") or "") or None,
        origin=str(desired.get("origin") or "external"),
    )


# Whose server holds memory of a GPU that can be given back.
_HOLDING = ("nim", "ollama", "vllm")
_LOOPBACK = re.compile(r"//(localhost|\[::1\])(?=[:/])")


def role_to_leave(before: Mapping[str, Any], after: Mapping[str, Any], role: str) -> str:
    """Return the role whose server a host was switched away from, empty where there is none whose GPU could be freed.

    A route to the same address is to the same server, or to one for which that one made way already.

    Args:
        before: The route that was recorded, empty without one.
        after: The route that is recorded now; in check mode there may be none yet.
        role: The role that has set up the provider.

    """
    from ..module_utils.plan.choice import ROLES

    previous = ROLES.get(str(before.get("provider")), "")
    addresses = {_LOOPBACK.sub("//127.0.0.1", str(one.get("base_url_host", ""))) for one in (before, after)}
    is_another = previous != role or after.get("container", before.get("container")) != before.get("container")
    return previous if previous in _HOLDING and is_another and len(addresses) > 1 else ""


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {"provider": provider, "role_to_leave": role_to_leave, "route": route}
