# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The lines that C(nemoclaw <name> status) prints (page, Verify the Configuration; upstream-facts N38; decision 0021, D8)."""

from __future__ import annotations

from typing import Any

from .check import HEALTHY, Check


def render(route: dict[str, Any] | None, checks: list[Check]) -> list[str]:
    """Return the lines for a terminal; what is not healthy has a second line that says why."""
    lines = []
    if route is not None:
        context = f", context {route['context_window']} tokens" if route.get("context_window") else ""
        lines += [
            f"Provider:   {route['label']} ({route['provider_name']})",
            f"Model:      {route['model']} over {route['api']}{context}",
            f"Sandbox:    {route['base_url_sandbox']}",
        ]
    names = {
        "route": "Route",
        "backend": "Inference",
        "auth_proxy": "Inference (auth proxy)",
        "exposure": "Exposure",
        "completion": "Completion",
        "gateway": "Inference (gateway)",
        "sandbox": "Inference (sandbox)",
    }
    for check in checks:
        if route is not None and check.name == "route":
            continue
        where = f" ({check.url})" if check.url else ""
        lines.append(f"{names[check.name] + ':':<11} {check.state}{where}")
        if check.state != HEALTHY:
            lines.append(f"            {check.detail}")
    return lines
