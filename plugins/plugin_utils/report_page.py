# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The report as one page of HTML, which loads nothing and runs no script: what stands in it is decided here, its form in report.html.j2.

Names, models and messages are of hosts, and hosts may be somebody else's: the template escapes everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from ..module_utils.failure import format_bytes
from ..module_utils.status.document import DEGRADED, DOWN, HEALTHY_HOST, UNREACHABLE
from ..module_utils.status.states import HEALTHY, NOT_PROBED
from .report import STATES, seconds_of

_MIB = 1024 * 1024
# Told by form and word as well as by colour.
SIGNS = {DOWN: "■", UNREACHABLE: "✕", DEGRADED: "▲", HEALTHY_HOST: "●"}
# What a clock may be ahead: as in the alert of docs/monitoring.
_AHEAD_S = 300
# A GPU with less to spare is worth a look: what an agent's context needs beside the weights does not fit.
_FULL_PERCENT = 95


def as_html(fleet: Mapping[str, Any]) -> str:
    """Return the page."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = (Path(__file__).parent / "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(view_of(fleet))


def view_of(fleet: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template shows, in words."""
    slowest = _slowest(fleet["hosts"])
    newest = fleet["collected"]
    hosts = [_host(number, one, fleet["runs"], slowest, newest) for number, one in enumerate(fleet["hosts"], 1)]
    return {
        "signs": SIGNS,
        "collected": _when(newest),
        "exit_code": fleet["exit_code"],
        "total": len(hosts),
        "counts": [(name, fleet["counts"][name]) for name in STATES],
        "summary": _summary(fleet["counts"], len(hosts)),
        "hosts": hosts,
        "runs": [_run(one) for one in fleet["runs"]],
    }


def _summary(counts: Mapping[str, int], total: int) -> str:
    wrong = [f"{counts[name]} {name}" for name in STATES if name != HEALTHY_HOST and counts[name]]
    if not total:
        return "No host document was found."
    hosts = f"{total} host{'' if total == 1 else 's'}"
    return f"{hosts}: {', '.join(wrong)}." if wrong else f"{hosts}, all healthy."


def _slowest(hosts: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the longest latency of each check in the fleet, which its bars are measured by."""
    found: dict[str, float] = {}
    for host in hosts:
        for check in host["checks"]:
            found[str(check["name"])] = max(found.get(str(check["name"]), 0), check.get("latency") or 0)
    return found


def _host(
    number: int, host: Mapping[str, Any], runs: Iterable[Mapping[str, Any]], slowest: Mapping[str, float], newest: str
) -> dict[str, Any]:
    facts, drift, route = host["facts"] or {}, host["drift"] or {}, host["route"] or {}
    checks = [_check(one, slowest) for one in host["checks"]]
    gpus = [_gpu(one) for one in facts.get("gpus", [])]
    differing = drift.get("steps", []) if drift.get("differs") else []
    return {
        "id": f"host-{number}",
        "name": host["host"],
        "state": host["state"],
        "reason": host["reason"],
        "provider": host.get("provider") or "",
        "model": host.get("model") or "",
        "collected": _when(host["collected"]),
        "is_old": host["collected"] != newest and _age(host["collected"], newest) >= 3600,
        "age": _ago(host["collected"], newest),
        "last_success": _when(host["last_success"]) if host.get("last_success") else "",
        "latency": next((one["latency"] for one in checks if one["name"] == "completion" and one["latency"]), ""),
        "checks": checks,
        "gpus": gpus,
        "gpu": _all_gpus(facts.get("gpus", [])),
        "gpu_problem": facts.get("gpu_problem") or "",
        "differs": bool(differing),
        "has_plan": bool(host["drift"]),
        "steps": [_step(one) for one in drift.get("steps", [])],
        "step_count": len(differing),
        "refusals": drift.get("refusals", []),
        "failure": _failure(host["last_failure"], host["collected"]),
        "facts": _facts(facts),
        "route": [(name, value) for name, value in route.items() if value not in (None, "")],
        "truncated": ", ".join(host["truncated"]),
        "history": [
            {"state": run["hosts"].get(host["host"], "absent"), "when": _when(run["when"])}
            for run in runs
        ],
    }  # fmt: skip


def _check(check: Mapping[str, Any], slowest: Mapping[str, float]) -> dict[str, Any]:
    state, latency = str(check["state"]), check.get("latency")
    kind = HEALTHY_HOST if state == HEALTHY else ("absent" if state == NOT_PROBED else DOWN)
    longest = slowest.get(str(check["name"])) or 0
    return {
        "name": str(check["name"]),
        "state": state,
        "kind": kind,
        "sign": SIGNS.get(kind, "-"),
        "url": check.get("url") or "",
        "code": check.get("code") or "",
        "detail": check.get("detail") or "",
        "latency": "" if latency is None else format_seconds(latency),
        "percent": round(100 * latency / longest) if latency and longest else 0,
    }


def format_seconds(seconds: float) -> str:
    """Return a latency as people read it."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _gpu(device: Mapping[str, Any]) -> dict[str, Any]:
    total, free = device.get("memory_total_mib"), device.get("memory_free_mib")
    used = max(total - free, 0) if total and free is not None else None
    percent = min(round(100 * used / total), 100) if used is not None else None
    size = format_bytes(int(total) * _MIB) if total else "memory unknown"
    more = [f"driver {device['driver_version']}"] if device.get("driver_version") else []
    more += ["shares the memory of the host"] if device.get("unified_memory") else []
    return {
        "name": f"GPU {device.get('index')}: {device.get('name')}",
        "percent": percent,
        "is_full": percent is not None and percent >= _FULL_PERCENT,
        "said": size if used is None else f"{format_bytes(int(used) * _MIB)} of {size} in use",
        "more": ", ".join(more),
    }


def _all_gpus(devices: list[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return one bar for all GPUs of a host; None where there is none whose memory is known."""
    known = [one for one in devices if one.get("memory_total_mib") and one.get("memory_free_mib") is not None]
    if not known:
        return None
    total = sum(one["memory_total_mib"] for one in known)
    used = sum(max(one["memory_total_mib"] - one["memory_free_mib"], 0) for one in known)
    percent = min(round(100 * used / total), 100)
    return {
        "percent": percent,
        "is_full": percent >= _FULL_PERCENT,
        "said": f"{f'{len(known)} x ' if len(known) > 1 else ''}{percent} % of {total / 1024 / len(known):.0f} GiB",
    }


def _step(step: Mapping[str, Any]) -> dict[str, str]:
    size = step.get("download_bytes")
    more = [format_bytes(int(size))] if size else []
    more += [f"interrupts {step['interrupts']}"] if step.get("interrupts") not in (None, "nothing") else []
    return {"id": str(step.get("id")), "reason": str(step.get("reason")), "more": ", ".join(more)}


def _failure(failure: Mapping[str, Any] | None, collected: str) -> dict[str, str] | None:
    if not failure:
        return None
    # The host says when it failed, and the controller when it looked.
    is_ahead = (seconds_of(failure["when"]) or 0) - (seconds_of(collected) or 0) > _AHEAD_S
    when = _when(failure["when"]) + (" by its clock, which is ahead" if is_ahead else "")
    return {"when": when, "code": str(failure["code"]), "message": str(failure["message"])}


def _facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not facts:
        return []
    engines = ", ".join(f"{name} {version}" for name, version in facts["engines"].items() if version)
    total, available = facts.get("memory_total_mib"), facts.get("memory_available_mib")
    memory = f"{total / 1024:.0f} GiB" if total else ""
    memory += f", {available / 1024:.0f} GiB available" if total and available is not None else ""
    rows = [
        ("platform", " ".join(str(facts[one]) for one in ("platform", "architecture") if facts.get(one))),
        ("system", ", ".join(str(facts[one]) for one in ("distribution", "kernel") if facts.get(one))),
        ("memory", memory),
        ("engines", engines),
    ]
    return [row for row in rows if row[1]]


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    counts = [(name, int(run["counts"].get(name) or 0)) for name in STATES]
    total = sum(count for _name, count in counts) or 1
    return {
        "when": _when(run["when"]),
        "total": total,
        "counts": counts,
        "parts": [(name, round(100 * count / total, 2)) for name, count in counts if count],
        "said": ", ".join(f"{count} {name}" for name, count in counts if count) or "no hosts",
    }


def _when(text: Any) -> str:
    """Return a time as people read it, in UTC; what is no time of ours as it is."""
    return f"{str(text)[:10]} {str(text)[11:16]} UTC" if seconds_of(text) is not None else str(text or "never")


def _age(text: str, newest: str) -> int:
    return (seconds_of(newest) or 0) - (seconds_of(text) or 0)


def _ago(text: str, newest: str) -> str:
    """Return how much older than the newest document this one is."""
    age = _age(text, newest)
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if age >= size:
            count = age // size
            return f"{count} {word}{'' if count == 1 else 's'} older"
    return ""
