# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""A fleet from the documents of its hosts: order, counts, history; and as JUnit and for Prometheus. Pure functions of the documents."""

from __future__ import annotations

import calendar
import json
import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from ..module_utils.status import metrics
from ..module_utils.status.document import DEGRADED, DOWN, HEALTHY_HOST, UNREACHABLE
from ..module_utils.status.states import HEALTHY, NOT_PROBED

SCHEMA = 1
# The worst first, as a person has to act.
STATES = (DOWN, UNREACHABLE, DEGRADED, HEALTHY_HOST)
# As many runs as fit beside each other on a phone.
RUNS_SHOWN = 30
# Characters that no XML 1.0 may hold, not even escaped (https://www.w3.org/TR/xml/#charsets); ElementTree writes them.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Document = Mapping[str, Any]


def fleet_of(documents: Iterable[Document], runs: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the report as data: the worst host first, and of equal ones the one that failed last.

    It holds the time of its newest document, and none of its own, so that the same documents give the same report.
    """
    # Twice, because the newest failure comes first and the names go up.
    hosts = sorted(documents, key=lambda one: _natural(one["host"]))
    hosts.sort(key=lambda one: (one.get("last_failure") or {}).get("when") or "", reverse=True)
    hosts.sort(key=lambda one: STATES.index(one["state"]))
    newest = max((one["collected"] for one in hosts), default=None)
    known = sorted(runs, key=lambda one: one["when"])[-RUNS_SHOWN:]
    return {
        "schema": SCHEMA,
        "collected": newest,
        "exit_code": max((one["exit_code"] for one in hosts), default=0),
        "counts": count_states(hosts),
        "hosts": hosts,
        "runs": known,
    }


def count_states(documents: Iterable[Document]) -> dict[str, int]:
    """Return how many hosts are in each state, the worst first."""
    states = [one["state"] for one in documents]
    return {name: states.count(name) for name in STATES}


def run_of(when: str, documents: Sequence[Document]) -> dict[str, Any]:
    """Return what is kept of a run for the history: small, since there will be many."""
    return {
        "schema": SCHEMA,
        "when": when,
        "exit_code": max((one["exit_code"] for one in documents), default=0),
        "counts": count_states(documents),
        "hosts": {one["host"]: one["state"] for one in documents},
    }


def problem_of_document(content: Any) -> str | None:
    """Return why this is no document that can be shown; None where it is one."""
    if not isinstance(content, dict) or content.get("schema") != 1:
        return "it is no host document of schema 1"
    if content.get("state") not in STATES or content.get("exit_code") not in (0, 1, 2):
        return "its state is none that this release knows"
    if not _fits(content, _DOCUMENT) or seconds_of(content["collected"]) is None:
        return "fields are missing, or of another type"
    return None


def problem_of_run(content: Any) -> str | None:
    """Return why this is no run that can be shown; None where it is one."""
    whole = isinstance(content, dict) and content.get("schema") == SCHEMA and isinstance(content.get("hosts"), dict)
    if not whole or seconds_of(content.get("when")) is None:
        return "it is no run of schema 1"
    if not _fits(content.get("counts"), dict.fromkeys(STATES, _is_number)):
        return "its counts are none"
    return None


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _fits(value: Any, shape: Any) -> bool:
    """Tell whether a value has a shape: a type or a judge of it, a list of one shape, fields, or one of several shapes."""
    if isinstance(shape, tuple):
        return any(_fits(value, one) for one in shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(_fits(one, shape[0]) for one in value)
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(name in value and _fits(value[name], one) for name, one in shape.items())
    if isinstance(shape, type):
        return isinstance(value, shape)
    return bool(shape(value))


_NOTHING = type(None)
# What a report computes with. A document may be of another release, or copied here by halves: that one is passed over, not all.
_DOCUMENT = {
    **dict.fromkeys(("host", "collected", "collection", "reason"), str),
    **dict.fromkeys(("provider", "model", "last_success"), _is_text),
    "checks": [{"name": _is_text, "state": _is_text, "detail": _is_text, "latency": _is_number}],
    "route": (_NOTHING, dict),
    "facts": (
        _NOTHING,
        {
            "engines": dict,
            "memory_total_mib": _is_number,
            "memory_available_mib": _is_number,
            "gpus": [
                {"index": _is_number, "name": _is_text, "memory_total_mib": _is_number, "memory_free_mib": _is_number}
            ],
        },
    ),
    "drift": (_NOTHING, {"differs": bool, "steps": [{"download_bytes": _is_number}], "refusals": [dict]}),
    "last_failure": (_NOTHING, {"when": _is_text, "code": _is_text, "message": _is_text}),
    "truncated": [str],
}


def as_json(fleet: Mapping[str, Any]) -> str:
    """Return the text of report.json."""
    return json.dumps(fleet, ensure_ascii=False, indent=1) + "\n"


def as_junit(fleet: Mapping[str, Any]) -> str:
    """Return JUnit: a suite for each host, a case for each check, for what differs and for the last failure.

    What could not be looked at is an error, what is wrong a failure, and what nobody asked for is skipped.
    """
    root = ElementTree.Element("testsuites", name="nemoclaw.local_inference")
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for host in fleet["hosts"]:
        suite = ElementTree.SubElement(root, "testsuite", name=host["host"], hostname=host["host"])
        suite.set("timestamp", host["collected"].rstrip("Z"))
        cases = list(_cases(host))
        found = {
            "tests": len(cases),
            **{f"{kind}s": sum(case[1] == kind for case in cases) for kind in ("failure", "error")},
            "skipped": sum(case[1] == "skipped" for case in cases),
        }
        for name, kind, code, said, took in cases:
            case = ElementTree.SubElement(suite, "testcase", classname=host["host"], name=name, time=f"{took:.3f}")
            if kind == "skipped":
                # As text, since the older schema of Jenkins knows no attribute here.
                ElementTree.SubElement(case, kind).text = said
            elif kind:
                ElementTree.SubElement(case, kind, message=said, type=code).text = said
        suite.set("time", f"{sum(case[4] for case in cases):.3f}")
        for name, count in found.items():
            suite.set(name, str(count))
            totals[name] += count
    for name in ("tests", "failures", "errors"):
        root.set(name, str(totals[name]))
    ElementTree.indent(root)
    return _NOT_XML.sub(" ", ElementTree.tostring(root, encoding="unicode", xml_declaration=True)) + "\n"


def _cases(host: Document) -> Iterable[tuple[str, str, str, str, float]]:
    """Return name, kind (failure, error, skipped or empty), code, message and seconds of each case."""
    if not host["checks"]:
        yield "collect", "error" if host["exit_code"] else "", host["state"], host["reason"], 0.0
    for check in host["checks"]:
        kind = {HEALTHY: "", NOT_PROBED: "skipped"}.get(check.get("state"), "failure")
        yield (
            str(check["name"]),
            kind,
            str(check.get("code") or check.get("state")),
            str(check.get("detail")),
            _took(check),
        )
    drift = host["drift"]
    if drift:
        said = "; ".join(str(one.get("reason")) for one in drift["steps"]) or "the host differs"
        yield "settings", "failure" if drift["differs"] else "", "drift", said, 0.0
        for refusal in drift["refusals"]:
            yield (
                f"refusal {refusal.get('code')}",
                "failure",
                str(refusal.get("code")),
                str(refusal.get("message")),
                0.0,
            )
    if host["last_failure"]:
        last = host["last_failure"]
        yield "last run", "failure", str(last.get("code")), str(last.get("message")), 0.0


def _took(check: Mapping[str, Any]) -> float:
    latency = check.get("latency")
    return latency if isinstance(latency, (int, float)) else 0.0


def as_metrics(fleet: Mapping[str, Any]) -> str:
    """Return the text for the textfile collector of the node exporter."""
    samples: list[metrics.Sample] = []
    for host in fleet["hosts"]:
        name, own = host["host"], {"host": host["host"]}
        now = seconds_of(host["collected"]) or 0
        samples += metrics.of_status(name, host["route"], host["checks"], now, seconds_of(host["last_success"]))
        samples += metrics.of_gpus(name, (host["facts"] or {}).get("gpus", []))
        samples.append(metrics.Sample("reachable", host["state"] != UNREACHABLE, own))
        samples.append(metrics.Sample("exit_code", host["exit_code"], own))
        if host["drift"]:
            differing = host["drift"]["steps"] if host["drift"]["differs"] else []
            samples.append(metrics.Sample("drift_steps", len(differing), own))
            samples.append(metrics.Sample("refusals", len(host["drift"]["refusals"]), own))
        last = host["last_failure"] or {}
        if seconds_of(last.get("when")) is not None:
            labels = {**own, "code": str(last["code"])}
            samples.append(metrics.Sample("last_failure_timestamp_seconds", seconds_of(last["when"]) or 0, labels))
    return metrics.exposition(samples)


def seconds_of(text: Any) -> int | None:
    """Return a time of a document in seconds since 1970; None for what is none."""
    try:
        return calendar.timegm(time.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return None


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts gpu-2 before gpu-10."""
    parts: list[tuple[int, str]] = []
    digits = ""
    for one in f"{name.lower()}\0":
        if one in "0123456789":
            digits += one
            continue
        if digits:
            parts.append((int(digits[:18]), ""))
            digits = ""
        parts.append((-1, one))
    return parts


def lines_of(fleet: Mapping[str, Any]) -> list[str]:
    """Return the fleet for a terminal: a line for each host that is not healthy, and the counts."""
    wrong = [one for one in fleet["hosts"] if one["state"] != HEALTHY_HOST]
    width = max((len(one["host"]) for one in wrong), default=0)
    lines = [f"{one['host']:<{width}}  {one['state']:<11}  {one['reason']}" for one in wrong]
    return [*lines, ", ".join(f"{count} {state}" for state, count in fleet["counts"].items() if count) or "no hosts"]
