# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results as lines that a person reads in a terminal."""

from __future__ import annotations

from typing import Any

from ..plugin_utils.rows import rows


def probe_table(proof: dict[str, Any]) -> list[str]:
    """Return one line for each probe of a result of endpoint_validate or sandbox_proof."""
    content = [("probe", "outcome", "latency", "tries", "seen")]
    for probe in proof["probes"]:
        latency = "-" if probe["latency"] is None else f"{probe['latency']:.2f} s"
        content.append((probe["name"], probe["outcome"], latency, str(probe["tries"] or "-"), probe["reason"]))
    reason = [proof["fallback_reason"]] if proof.get("fallback_reason") else []
    return [*rows(content), *reason, f"{proof['model']} over {proof['api']}, proved in {proof['elapsed']:.1f} s"]


def route_table(route: dict[str, Any], path: str, is_recorded: bool = True, is_tried: bool = False) -> list[str]:
    """Return one line for each field of a route, where it is recorded, and what of it is not proved.

    Args:
        route: The route.
        path: The record.
        is_recorded: False in check mode.
        is_tried: Whether a sandbox asked the model by this route.

    """
    is_derived = route["base_url_sandbox"] != route["base_url_host"]
    return [
        *rows([(name, "-" if value is None else str(value)) for name, value in route.items()]),
        f"{'recorded' if is_recorded else 'without check mode it would be recorded'} in {path}",
        *(["base_url_sandbox is derived, and was not tried from a sandbox"] if is_derived and not is_tried else []),
    ]


def host_table(host: dict[str, Any], provider: str) -> list[str]:
    """Return what the preflight found, as the wizard's summary does."""
    user, memory = host["user"], host["memory"]
    content = [
        ("platform", f"{host['platform']} ({host['platform_evidence']}), {host['architecture']}"),
        ("GPU", host["gpus"]["summary"]),
        ("memory", f"{memory['total_mib']} MiB, {memory['available_mib']} MiB available"),
        ("Docker", _docker(host["docker"])),
        *([("WSL", _wsl(host["wsl"], host["ollama"]["windows"]))] if host["wsl"] else []),
        ("user", f"{user['name']}, state in {user['home']}/.nemoclaw"),
        ("route", "none yet" if host["route"] is None else f"{host['route']['model']} ({host['route']['label']})"),
        ("provider", provider),
    ]
    return rows(content)


def _docker(docker: dict[str, Any]) -> str:
    """Return the engine and its version, or why there is none to use."""
    return f"{docker['kind']} {docker['version']}" if docker["reachable"] else str(docker["reason"])


def _wsl(wsl: dict[str, Any], windows: dict[str, Any] | None) -> str:
    """Return how this Linux and its Windows are connected, and whether an Ollama was seen there."""
    mode = wsl["networking_mode"] or "unknown"
    seen = windows or {}
    ollama = (
        f"Ollama {seen['daemon_version']} of Windows at {seen['host']}"
        if seen.get("daemon_version")
        else "no Ollama of Windows seen"
    )
    interop = "starts" if wsl["interop"] else "does not start"
    return f"{wsl['version'] or 'version unknown'}, {mode} networking, {interop} Windows programs, {ollama}"


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {"probe_table": probe_table, "route_table": route_table, "host_table": host_table}
