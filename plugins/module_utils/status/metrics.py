# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What Prometheus is told of a host, by the host itself and by the controller: names, samples, and the text format.

  METRICS              every name, with what C(HELP) and C(TYPE) say of it; dashboards and alert rules use these names
  of_status            the samples of a route and its checks, as inference_status returns them
  of_gpus              those of GPUs, as C(nemoclaw_host.gpus.devices) has them
  Sample(NAME, VALUE, LABELS)
  exposition(SAMPLES)  the text for the textfile collector of the node exporter; the caller writes it, mode 0644, by a rename

Every sample has the label C(host), the name by which the fleet knows the host. Nothing here is a secret, and no label holds a message: what
differs from run to run would be a new series each time. The format is that of
https://prometheus.io/docs/instrumenting/exposition_formats/; the textfile collector refuses timestamps, so there are none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .states import FINE, HEALTHY, NOT_PROBED

_PREFIX = "nemoclaw_inference_"

# By the conventions of https://prometheus.io/docs/practices/naming/: base units, gauges without _total. The order is that of the file.
METRICS = {
    "info": "What the host serves, by its labels. Always 1.",
    "up": "Whether the recorded route works: 1 where no check found anything wrong, else 0.",
    "reachable": "Whether the host answered its collector: 1 or 0.",
    "exit_code": "0 healthy, 1 degraded, 2 down, as in the document of the host.",
    "probe_success": "Whether a check of the route is healthy: 1 or 0. A check that was not made has no sample.",
    "probe_duration_seconds": "How long the last request of a check took.",
    "gpu_memory_bytes": "Memory of a GPU.",
    "gpu_memory_used_bytes": "Memory of a GPU that is in use.",
    "drift_steps": "Steps by which the host differs from its settings.",
    "refusals": "What stands against a run of the playbook site on the host.",
    "last_success_timestamp_seconds": "When the route was last seen to work.",
    "last_failure_timestamp_seconds": "When the last failure of a run or of a watch was noted, by its code.",
    "proxy_closed": "Whether the watch has stopped the auth proxy, because its engine was open to the network: 1 or 0.",
    "last_check_timestamp_seconds": "When the host was last looked at.",
}

_MIB = 1024 * 1024


class Sample(NamedTuple):
    """One line: a name of METRICS, its value and its labels."""

    name: str
    value: float
    labels: Mapping[str, str]


def of_status(
    host: str,
    route: Mapping[str, Any] | None,
    checks: Iterable[Mapping[str, Any]],
    now: float,
    last_success: float | None,
) -> list[Sample]:
    """Return the samples of a route and its checks.

    Args:
        host: The name by which the fleet knows the host.
        route: The recorded route, None without one.
        checks: As inference_status returns them.
        now: When they were made, in seconds since 1970.
        last_success: When an earlier look found the route to work, None where none did.

    """
    own = {"host": host}
    checks = list(checks)
    is_up = bool(checks) and all(one["state"] in FINE for one in checks)
    found = [Sample("up", is_up, own), Sample("last_check_timestamp_seconds", now, own)]
    if route:
        words = {name: str(route.get(name) or "") for name in ("provider", "model", "api", "way")}
        found.append(Sample("info", 1, {**own, **words}))
    for one in checks:
        labels = {**own, "probe": one["name"]}
        if one["state"] != NOT_PROBED:
            found.append(Sample("probe_success", one["state"] == HEALTHY, labels))
        if one.get("latency") is not None:
            found.append(Sample("probe_duration_seconds", one["latency"], labels))
    seen = now if is_up else last_success
    if seen is not None:
        found.append(Sample("last_success_timestamp_seconds", seen, own))
    return found


def of_gpus(host: str, devices: Iterable[Mapping[str, Any]]) -> list[Sample]:
    """Return the samples of GPUs whose memory is known."""
    found = []
    for device in devices:
        labels = {"host": host, "gpu": str(device["index"]), "name": str(device["name"])}
        total, free = device.get("memory_total_mib"), device.get("memory_free_mib")
        if total is not None:
            found.append(Sample("gpu_memory_bytes", total * _MIB, labels))
            if free is not None:
                found.append(Sample("gpu_memory_used_bytes", max(total - free, 0) * _MIB, labels))
    return found


def exposition(samples: Iterable[Sample]) -> str:
    """Return the text of the samples, in the order of METRICS and else as given; of two with the same labels the later one.

    Raises:
        KeyError: A sample's name is not in METRICS.

    """
    families: dict[str, dict[str, float]] = {name: {} for name in METRICS}
    for name, value, labels in samples:
        words = ",".join(f'{key}="{_escaped(text)}"' for key, text in sorted(labels.items()))
        families[name][f"{{{words}}}" if words else ""] = value
    lines = []
    for name, values in families.items():
        if values:
            lines += [f"# HELP {_PREFIX}{name} {METRICS[name]}", f"# TYPE {_PREFIX}{name} gauge"]
            lines += [f"{_PREFIX}{name}{words} {_number(value)}" for words, value in values.items()]
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if isinstance(value, (bool, int)):
        return str(int(value))
    if math.isfinite(value):
        return repr(round(value, 6))
    return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
