# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""A plan for people: the lines of a host, and one table for a fleet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..module_utils.failure import format_bytes
from .rows import rows, shorten

_HEAD = ("host", "provider", "plan", "download", "interrupts", "first")
# Characters of the last column: a line of a log is not to wrap more often than it has to.
_FIRST_LIMIT = 140


def lines_of(plan: Mapping[str, Any]) -> list[str]:
    """Return what site would do on a host, why, and what stands against it."""
    choice = plan.get("choice")
    found = []
    if choice:
        found.append(f"Provider:  {choice['provider']}, {choice['reason']}")
        if choice["model"]:
            found.append(f"Model:     {choice['model']}, {choice['model_reason']}")
        if choice["side"]:
            found.append(f"Side:      {choice['side']}, {choice['side_reason']}")
    for refusal in plan["refusals"]:
        found.append(f"Refused:   {refusal['message']} ({refusal['code']})")
    if plan["refusals"]:
        return [*found, "Nothing is changed on this host until that is fixed."]
    if plan["converged"]:
        return [*found, "Steps:     none, the host is as it should be", *plan["status"]]
    found.append(f"Steps:     {summary(plan)}")
    width = max(len(one["id"]) for one in plan["steps"])
    for number, one in enumerate(plan["steps"], 1):
        more = [one["reason"]]
        if one["download_bytes"] is None:
            more.append("a download of unknown size")
        elif one["download_bytes"]:
            more.append(format_bytes(one["download_bytes"]))
        if one["interrupts"] != "nothing":
            more.append(f"interrupts {one['interrupts']}")
        found.append(f"{number:>3}. {one['id']:<{width}}  {'; '.join(more)}")
    return found


def summary(plan: Mapping[str, Any]) -> str:
    """Return how many steps there are, what they fetch and what they interrupt."""
    parts = [f"{len(plan['steps'])} step{'' if len(plan['steps']) == 1 else 's'}"]
    parts.append(f"{_download(plan)} to download" if _download(plan) != "-" else "nothing to download")
    interrupts = _interrupts(plan)
    return ", ".join([*parts, f"interrupts {interrupts}" if interrupts != "-" else "interrupts nothing"])


def _download(plan: Mapping[str, Any]) -> str:
    known = format_bytes(plan["download_bytes"]) if plan.get("download_bytes") else ""
    if plan.get("download_unknown"):
        return f"{known} and more" if known else "some"
    return known or "-"


def _interrupts(plan: Mapping[str, Any]) -> str:
    words = {one["interrupts"] for one in plan["steps"]} - {"nothing"}
    return "the model" if "the model" in words else next(iter(words), "-")


def table(plans: Mapping[str, Any], hosts: Iterable[str]) -> list[str]:
    """Return one line for each host, with a head, and a line that sums them up."""
    content: list[tuple[str, ...]] = [_HEAD]
    counts = {"converged": 0, "to change": 0, "refused": 0, "no plan": 0, "skipped": 0}
    for host in hosts:
        plan = plans.get(host)
        state, row = _row(host, plan)
        counts[state] += 1
        content.append(row)
    return [*rows(content), ", ".join(f"{count} {state}" for state, count in counts.items() if count)]


def _row(host: str, plan: Mapping[str, Any] | None) -> tuple[str, tuple[str, ...]]:
    if plan and plan.get("skipped"):
        return "skipped", (host, "-", "skipped", "-", "-", "-")
    if not plan or "refusals" not in plan:
        return "no plan", (host, "-", "no plan", "-", "-", _why_no_plan(plan or {}))
    provider = (plan.get("choice") or {}).get("provider", "-")
    if plan["refusals"]:
        return "refused", (host, provider, "refused", "-", "-", _first_words(plan["refusals"][0]))
    if plan["converged"]:
        return "converged", (host, provider, "converged", "-", "-", "-")
    count = len(plan["steps"])
    words = f"{count} step{'' if count == 1 else 's'}"
    return "to change", (host, provider, words, _download(plan), _interrupts(plan), plan["steps"][0]["id"])


def _why_no_plan(plan: Mapping[str, Any]) -> str:
    """Return why there is none: the host did not answer, or its look failed."""
    known = plan.get("outcome") or plan.get("failure")
    return _first_words(known) if known else shorten(str(plan.get("msg") or "the look failed"), _FIRST_LIMIT)


def _first_words(wrong: Mapping[str, Any]) -> str:
    """Return the code, and what was tried and came back: the remedy stands in the lines of the host."""
    return shorten(f"{wrong['code']}: {wrong['message'].split('. ')[0]}", _FIRST_LIMIT)
