# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the module returns."""

from __future__ import annotations

from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.converge import Result
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.diagnosis import commands, holders
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.presence import ALL, LOOPBACK, Found
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.wish import Wish

_FACTS = (
    "installed",
    "running",
    "bind",
    "answers",
    "guarded",
    "models",
    "version",
    "path",
    "found_by",
    "app",
    "listeners",
)


def as_result(result: Result, wish: Wish, check_mode: bool) -> dict[str, Any]:
    """Return the module's result, with its C(warnings) and its C(diff)."""
    before, after, report = result.before, result.after, result.report
    expected = {**_summary(before), **report.expected} if check_mode else _summary(after)
    return {
        "changed": report.changed,
        "actions": report.actions,
        "restarted": report.restarted,
        "reachable": result.reachable,
        **{name: getattr(after, name) if after else None for name in _FACTS},
        "windows_user": after.user if after else None,
        "other_users": after.others if after else None,
        "variable": {"before": before.variable if before else None, "after": after.variable if after else None},
        "diagnosis": commands(wish.address.port),
        "warnings": [*report.warnings, *_exposure(after, wish.address.port)],
        "diff": {"before": _summary(before), "after": expected},
    }


def _summary(found: Found | None) -> dict[str, Any]:
    """Return what a diff shows."""
    if found is None:
        return {}
    return {"installed": found.installed, "bind": found.bind, "OLLAMA_HOST": found.variable}


def _exposure(found: Found | None, port: int) -> list[str]:
    """Return what has to be said about who can reach the daemon."""
    if found is None or found.bind is None:
        return []
    if found.bind == LOOPBACK:
        if found.guarded is not False:
            return []
        return [
            f"Ollama on Windows listens on its loopback, port {port}, and takes a request with a foreign Host header, which Ollama refuses "
            "there with 403: a page in the browser of that Windows may use it (DNS rebinding). Look which program answers on that "
            "port, and upgrade Ollama."
        ]
    where = "every network interface of the Windows machine" if found.bind == ALL else holders(found.daemons)
    return [
        f"Ollama on Windows listens on {where}, port {port}, without a key or a password: whoever reaches that port by the LAN, Wi-Fi "
        "or a VPN can use, pull and delete models, unless the Windows firewall keeps them out. bind=loopback keeps it to the "
        "machine, where Docker Desktop's containers still reach it."
    ]
