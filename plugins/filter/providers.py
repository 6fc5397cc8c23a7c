# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of providers, and what a route through one looks like."""

from __future__ import annotations

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


def roles_to_leave(before: Mapping[str, Any], after: Mapping[str, Any], role: str) -> list[str]:
    """Return the roles whose servers a host was switched away from, as far as their GPU is to be freed: by this run, or one broken off.

    Args:
        before: The route that was recorded, empty without one.
        after: The route that is recorded now; in check mode there may be none yet.
        role: The role that has set up the provider.

    """
    from ..module_utils.plan.choice import ROLES
    from ..module_utils.route.write import to_free

    is_same = ROLES.get(str(before.get("provider"))) == role
    found = to_free(before, after or (before if is_same else {}))
    return list(dict.fromkeys(ROLES[str(one["provider"])] for one in found if one["provider"] in ROLES))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {"provider": provider, "roles_to_leave": roles_to_leave, "route": route}
