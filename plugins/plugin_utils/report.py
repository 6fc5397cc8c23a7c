# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""A fleet from the documents of its hosts: order, counts, history; and as JUnit and for Prometheus. Pure functions of the documents."""

from __future__ import annotations

import calendar
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from ..module_utils.status import metrics
from ..module_utils.status.check import HEALTHY, NOT_PROBED
from ..module_utils.status.document import DEGRADED, DOWN, EXIT_CODES, HEALTHY_HOST, UNREACHABLE

SCHEMA = 1
# The worst first, as a person has to act.
STATES = (DOWN, UNREACHABLE, DEGRADED, HEALTHY_HOST)
# As many runs as fit beside each other on a phone.
RUNS_SHOWN = 30

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
    if content.get("state") not in EXIT_CODES or content.get("exit_code") not in (0, 1, 2):
        return "its state is none that this release knows"
    texts = all(isinstance(content.get(name), str) for name in ("host", "collected", "collection", "reason"))
    if not texts or seconds_of(content["collected"]) is None or not _is_whole(content):
        return "fields are missing, or of another type"
    return None


def _is_whole(content: Mapping[str, Any]) -> bool:
    checks, drift = content.get("checks"), content.get("drift")
    lists = [checks, (drift or {}).get("steps", []), (drift or {}).get("refusals", []), content.get("truncated")]
    parts = [content.get(name) for name in ("facts", "route", "drift", "last_failure")]
    return all(isinstance(one, list) for one in lists) and all(one is None or isinstance(one, dict) for one in parts)


def problem_of_run(content: Any) -> str | None:
    """Return why this is no run that can be shown; None where it is one."""
    whole = isinstance(content, dict) and content.get("schema") == SCHEMA and isinstance(content.get("hosts"), dict)
    if not whole or seconds_of(content.get("when")) is None or not isinstance(content.get("counts"), dict):
        return "it is no run of schema 1"
    return None


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
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


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
