# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""A route that was built before and went through a user's hands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..failure import Failure
from .route import build_route

_NEEDED = ("provider", "base_url_host", "base_url_sandbox", "model", "api", "timeout")


def check_route(route: Mapping[str, Any]) -> dict[str, Any]:
    """Return a route that was built before and went through a user's hands.

    Raises:
        Failure: C(route_incomplete), or one of build_route.

    """
    missing = [name for name in _NEEDED if not route.get(name)]
    if missing:
        raise Failure(
            "route_incomplete",
            f"The route for the sandboxes lacks {', '.join(missing)}. Run the role of a provider first, which gives its own, or give what "
            "inference_route returns as route (sandbox_route).",
        )
    texts = [name for name in _NEEDED if name != "timeout" and not isinstance(route[name], str)]
    if texts:
        raise Failure(
            "route_incomplete",
            f"The route for the sandboxes has {', '.join(texts)} as something else than text: quote it.",
        )
    optional = {name: route[name] for name in ("container", "origin") if route.get(name)}
    optional.update({name: _whole(name, route[name]) for name in ("context_window",) if route.get(name)})
    return build_route(
        provider=route["provider"],
        base_url=route["base_url_host"],
        base_url_sandbox=route["base_url_sandbox"],
        model=route["model"],
        api=route["api"],
        timeout=_whole("timeout", route["timeout"]),
        **optional,
    )


def _whole(name: str, value: Any) -> int:
    """Return a number that templates and C(-e) may have made a text of."""
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Failure(
            "route_incomplete", f"The route for the sandboxes has {name} {value!r}, which is no whole number."
        ) from None
