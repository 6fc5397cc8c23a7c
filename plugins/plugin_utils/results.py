# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The end of every playbook: one table, the same as a document for programs, and which hosts end with an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from .outcome import BAD, UNREACHABLE, UNTOUCHED
from .rows import rows, shorten

SCHEMA = 1
_HEAD = ("host", "provider", "model", "state", "steps", "seconds", "code", "remedy")
_OPTIONAL = ("provider", "model", "steps", "code", "remedy")
# The whole message stands above, and in the document.
_REMEDY_LIMIT = 100

# As ansible-playbook itself ends: with a host that is unreachable, with one that failed.
EXIT_UNREACHABLE = 4
EXIT_FAILED = 2


def is_bad(result: Mapping[str, Any], fail_on_change: bool = False) -> bool:
    """Tell whether the host ends with an error. What a plan finds is an answer, unless it is a drift check."""
    if result["playbook"] == "plan" and result["state"] in ("refused", "planned"):
        return fail_on_change and not result["steady"]
    return result["state"] in BAD


def bad_hosts(outcomes: Mapping[str, Mapping[str, Any]], fail_on_change: bool = False) -> list[str]:
    """Return the hosts that end with an error.

    What a rollout left untouched is none, beside the hosts that stopped it. Where nothing else says that it ended early, as when another
    run took it over, it is.
    """
    bad = [host for host, one in outcomes.items() if is_bad(one, fail_on_change)]
    return bad or [host for host, one in outcomes.items() if one["state"] == UNTOUCHED]


def exit_code(outcomes: Mapping[str, Mapping[str, Any]], bad: list[str]) -> int:
    """Return what the process ends with, the worst of all hosts."""
    if any(outcomes[host]["state"] == UNREACHABLE for host in bad):
        return EXIT_UNREACHABLE
    return EXIT_FAILED if bad else 0


def results_rows(outcomes: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the head and a row for each host, without the columns in which no host has anything."""
    content = [dict(zip(_HEAD, _HEAD)), *(_cells(host, one) for host, one in outcomes.items())]
    shown = [name for name in _HEAD if name not in _OPTIONAL or any(one[name] != "-" for one in content[1:])]
    return [tuple(one[name] for name in shown) for one in content]


def results_table(outcomes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the lines of the table, and one that counts how many hosts ended how."""
    counts = ", ".join(
        f"{count} {state}" for state, count in Counter(one["state"] for one in outcomes.values()).items()
    )
    return [*rows(results_rows(outcomes)), counts]


def _cells(host: str, one: Mapping[str, Any]) -> dict[str, str]:
    steps = one["steps"]
    return {
        "host": host,
        "provider": one["provider"] or "-",
        "model": one["model"] or "-",
        "state": one["state"],
        "steps": (f"{len(steps)} steps" if len(steps) > 2 else ", ".join(steps)) or "-",
        "seconds": f"{one['seconds']:.1f}",
        "code": one["code"] or "-",
        "remedy": shorten(one["remedy"] or "-", _REMEDY_LIMIT),
    }


def document(
    playbook: str, outcomes: Mapping[str, Mapping[str, Any]], bad: list[str], check_mode: bool, ended: str
) -> dict[str, Any]:
    """Return the results for programs."""
    return {
        "schema": SCHEMA,
        "playbook": playbook,
        "check_mode": check_mode,
        "ended": ended,
        "exit_code": exit_code(outcomes, bad),
        "hosts": [{"host": host, **one} for host, one in outcomes.items()],
    }
