# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The document of a host: what a collector found there, in one JSON object of at most 64 KiB (docs/host-document.schema.json).

Fields are taken by name, so that what a later release adds to a plan or to the facts is not in it before somebody decides so. What comes
from the host is text that anybody may have written: it is cut, and characters that a terminal would obey are replaced.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ..failure import MASK, PLACEHOLDERS
from ..route.record import FIELDS
from ..untrusted import list_of, object_of
from .states import FINE

SCHEMA = 1
# As NVIDIA's fleet tools have it for DGX Spark: exactly one bounded document per call.
LIMIT = 64 * 1024

HEALTHY_HOST, DEGRADED, DOWN, UNREACHABLE = "healthy", "degraded", "down", "unreachable"
# 0 nothing is wrong, 1 the route works and something else is wrong, 2 the route does not work, as far as anybody knows.
EXIT_CODES = {HEALTHY_HOST: 0, DEGRADED: 1, DOWN: 2, UNREACHABLE: 2}

# The longest list and the longest text. What does not fit into the document is cut by the next entry, and the last always fits.
_CUTS = ((64, 2000), (32, 500), (16, 200), (8, 80), (4, 30))
# What judge() is given where nobody compared the host with its settings.
NOT_COMPARED: Mapping[str, Any] = {"differs": False, "steps": [], "refusals": []}

# Numbers that every reader of JSON can hold.
_LARGEST = 2**53

# What the controller says itself. It is not cut, nor masked: a host is found by its name, and a key may well be "gpu" or "healthy".
_OWN = ("schema", "host", "collected", "collection", "state", "exit_code")
# Of what a host sends, these are numbers and no text, whatever it sends: a report computes with them.
_NUMBERS = ("latency", "download_bytes", "index", "memory_total_mib", "memory_free_mib")

_CHECK = ("name", "state", "url", "code", "detail", "latency")
_STEP = ("id", "reason", "interrupts", "download_bytes")
_GPU = ("index", "name", "driver_version", "memory_total_mib", "memory_free_mib")
_ENGINES = ("ollama", "vllm", "docker", "openshell", "nemoclaw")


def format_time(seconds: float) -> str:
    """Return a time in UTC, by RFC 3339 with whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def build(
    name: str,
    collected: str,
    collection: str,
    found: Mapping[str, Any],
    secrets: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the document of a host that answered; for one with wrong settings, of what could not be looked at.

    Args:
        name: What the inventory calls the host.
        collected: When it answered, in UTC by RFC 3339, as in C(2026-11-30T14:42:00Z).
        collection: The collection's version.
        found: The plan, with C(asked), the checks of the route; or what a task that failed returned.
        secrets: Values that are masked, should a server have quoted them.

    """
    if "refusals" not in found:
        said = str(found.get("msg") or "looking at the host failed without a message")
        return _bounded(
            _document(
                name, collected, collection, DOWN, f"There is no plan of this host: {said.replace('Task failed: ', '')}"
            ),
            secrets,
        )
    choice, facts = object_of(found.get("choice")), object_of(found.get("host"))
    checks = [_chosen(one, _CHECK) for one in list_of(found.get("asked"))]
    failure = object_of(facts.get("last_failure"))
    drift = {
        "differs": bool(found.get("drift")),
        "converged": bool(found.get("converged")),
        "steps": [_chosen(one, _STEP) for one in list_of(found.get("steps"))],
        "refusals": [_chosen(one, ("code", "message")) for one in list_of(found.get("refusals"))],
    }
    route = object_of(found.get("recorded"))
    state, reason = judge(checks, drift, failure)
    document = _document(name, collected, collection, state, reason)
    document.update(
        provider=_scalar(choice.get("provider") or route.get("provider")),
        model=_scalar(route.get("model") or choice.get("model")),
        facts=_facts(facts) if facts else None,
        route=_chosen(route, FIELDS) if route else None,
        checks=checks,
        drift=drift,
        last_failure=_chosen(failure, ("when", "code", "message")) if failure else None,
        last_success=collected if state in (HEALTHY_HOST, DEGRADED) else None,
    )
    return _bounded(document, secrets)


def unreachable(name: str, collected: str, collection: str, said: str) -> dict[str, Any]:
    """Return the document of a host that did not answer."""
    # Ansible's own words before those of ssh.
    said = said.replace("Task failed: ", "").replace("Failed to connect to the host via ssh: ", "") or "no message"
    return _bounded(_document(name, collected, collection, UNREACHABLE, f"The host did not answer: {said}"), ())


def remember(document: dict[str, Any], previous: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the document with what only an earlier one knows: when the route was last seen to work, and what was there."""
    earlier = object_of(previous)
    if document["last_success"] is None:
        document["last_success"] = earlier.get("last_success")
    for one in ("provider", "model"):
        document[one] = document[one] or earlier.get(one)
    return document


def judge(checks: Iterable[Mapping[str, Any]], drift: Mapping[str, Any], failure: Mapping[str, Any]) -> tuple[str, str]:
    """Return the state of a host that answered, and why: the worst first."""
    checks = list(checks)
    for check in checks:
        if check["state"] not in FINE:
            return DOWN, f"{check['name']} is {check['state']}: {check['detail']}"
    if not checks:
        refused = "; ".join(str(one["message"]) for one in drift["refusals"][:1])
        return DOWN, refused or "the route was not looked at"
    if drift["refusals"]:
        return DEGRADED, f"A run of site is refused: {drift['refusals'][0]['message']}"
    if drift["differs"]:
        return (
            DEGRADED,
            f"The host differs from its settings: {'; '.join(str(one['reason']) for one in drift['steps'])}",
        )
    if failure:
        return DEGRADED, f"The last run failed: {failure.get('message')}"
    return HEALTHY_HOST, ""


def render(document: Mapping[str, Any]) -> str:
    """Return the text of a document, as it is measured and written."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _document(name: str, collected: str, collection: str, state: str, reason: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "host": name,
        "collected": collected,
        "collection": collection,
        "state": state,
        "exit_code": EXIT_CODES[state],
        "reason": reason,
        "provider": None,
        "model": None,
        "facts": None,
        "route": None,
        "checks": [],
        "drift": None,
        "last_failure": None,
        "last_success": None,
        "truncated": [],
    }


def _chosen(found: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return these fields of it, each a text, a number, a truth value or nothing."""
    values = object_of(found)
    return {name: (_number if name in _NUMBERS else _scalar)(values.get(name)) for name in names}


def _number(value: Any) -> Any:
    """Return a size or a time; None for anything else."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 else None


def _scalar(value: Any) -> Any:
    return value if isinstance(value, (str, int, float)) else None


def _facts(host: Mapping[str, Any]) -> dict[str, Any]:
    memory, distribution, gpus = (object_of(host.get(name)) for name in ("memory", "distribution", "gpus"))
    devices = [object_of(one) for one in list_of(gpus.get("devices"))]
    return {
        **_chosen(host, ("platform", "kernel", "architecture")),
        "distribution": " ".join(str(distribution[one]) for one in ("id", "version") if distribution.get(one)) or None,
        "memory_total_mib": _number(memory.get("total_mib")),
        "memory_available_mib": _number(memory.get("available_mib")),
        "gpus": [{**_chosen(one, _GPU), "unified_memory": bool(one.get("unified_memory"))} for one in devices],
        "gpu_problem": _scalar(gpus.get("problem")),
        "engines": {name: _scalar(_version(name, object_of(host.get(name)))) for name in _ENGINES},
    }


def _version(name: str, tool: Mapping[str, Any]) -> Any:
    """Return what is there of an engine or a tool; None where it is not."""
    if name == "ollama":
        return tool.get("daemon_version") or tool.get("client_version")
    if name == "vllm":
        return str(tool.get("model") or "runs") if tool.get("running") else None
    if name == "docker":
        return f"{tool.get('kind')} {tool.get('version')}" if tool.get("reachable") else None
    return tool.get("version")


def _bounded(document: dict[str, Any], secrets: Iterable[str]) -> dict[str, Any]:
    """Return the document, small enough; C(truncated) names the fields of which something was cut."""
    hidden = sorted({one for one in secrets if one and one not in PLACEHOLDERS}, key=len, reverse=True)
    for longest_list, longest_text in _CUTS:
        cut: set[str] = set()
        bounded = {
            name: value if name in _OWN else _cut(value, longest_list, longest_text, hidden, name, cut)
            for name, value in document.items()
        }
        bounded["truncated"] = sorted(cut)
        if len(render(bounded).encode()) <= LIMIT:
            return bounded
    raise AssertionError("the last of _CUTS leaves a document that always fits")


def _cut(value: Any, longest_list: int, longest_text: int, hidden: Iterable[str], name: str, cut: set[str]) -> Any:
    """Return a value in the bounds, with the secrets masked before anything is cut, so that no part of one stays."""
    if isinstance(value, str):
        for secret in hidden:
            value = value.replace(secret, MASK)
        text = "".join(one if one.isprintable() else " " for one in value[: longest_text * 4])
        text = " ".join(text.split())
        if len(text) > longest_text or len(value) > longest_text * 4:
            cut.add(name)
            text = f"{text[: longest_text - 1]}…"
        return text
    if isinstance(value, Mapping):
        return {key: _cut(one, longest_list, longest_text, hidden, name, cut) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        if len(value) > longest_list:
            cut.add(name)
        return [_cut(one, longest_list, longest_text, hidden, name, cut) for one in value[:longest_list]]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)) and -_LARGEST < value < _LARGEST:  # no NaN is
        return value
    return None
