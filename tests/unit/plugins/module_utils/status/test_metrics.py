# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text that Prometheus reads: names, labels, values."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status import metrics
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.metrics import Sample, exposition

NOW = 1_764_513_481.25
ROUTE = {
    "provider": "ollama",
    "model": "qwen2.5:7b",
    "api": "openai-completions",
    "way": "route",
    "base_url_host": "http://127.0.0.1",
}


def checks(**states: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "state": state, "latency": 0.25 if state == "healthy" else None}
        for name, state in states.items()
    ]


def values(samples: list[Sample]) -> dict[str, Any]:
    return {
        " ".join([one.name, *(value for key, value in one.labels.items() if key != "host")]): one.value
        for one in samples
    }


def test_a_host_that_works() -> None:
    found = metrics.of_status("gpu-1", ROUTE, checks(backend="healthy", gateway="not probed"), NOW, None)
    assert values(found) == {
        "up": True,
        "last_check_timestamp_seconds": NOW,
        "info ollama qwen2.5:7b openai-completions route": 1,
        "probe_success backend": True,
        "probe_duration_seconds backend": 0.25,
        "last_success_timestamp_seconds": NOW,
    }
    assert {one.labels["host"] for one in found} == {"gpu-1"}


@pytest.mark.parametrize("before", [None, NOW - 3600])
def test_a_host_that_does_not_work_keeps_when_it_last_did(before: float | None) -> None:
    found = values(metrics.of_status("gpu-1", None, checks(route="not configured"), NOW, before))
    assert (found["up"], found["probe_success route"]) == (False, False)
    assert found.get("last_success_timestamp_seconds") == before
    assert not any(name.startswith("info") for name in found)


def test_no_check_is_no_success() -> None:
    assert values(metrics.of_status("gpu-1", None, [], NOW, None))["up"] is False


@pytest.mark.parametrize(
    ("total", "free", "expected"),
    [
        (1024, 256, {"gpu_memory_bytes": 1024 * 2**20, "gpu_memory_used_bytes": 768 * 2**20}),
        (1024, None, {"gpu_memory_bytes": 1024 * 2**20}),
        (None, 256, {}),
        (1024, 2048, {"gpu_memory_bytes": 1024 * 2**20, "gpu_memory_used_bytes": 0}),
    ],
)
def test_gpus(total: int | None, free: int | None, expected: dict[str, int]) -> None:
    device = {"index": 0, "name": "NVIDIA GB10", "memory_total_mib": total, "memory_free_mib": free}
    found = metrics.of_gpus("spark", [device])
    assert {one.name: one.value for one in found} == expected
    assert all(one.labels == {"host": "spark", "gpu": "0", "name": "NVIDIA GB10"} for one in found)


def test_text() -> None:
    text = exposition(
        [
            Sample("drift_steps", 2, {"host": 'a"b\\c\nd'}),
            Sample("up", True, {"host": "x"}),
            Sample("up", False, {"host": "x"}),
        ]
    )
    assert text == (
        "# HELP nemoclaw_inference_up Whether the recorded route works: 1 where no check found anything wrong, else 0.\n"
        "# TYPE nemoclaw_inference_up gauge\n"
        'nemoclaw_inference_up{host="x"} 0\n'
        "# HELP nemoclaw_inference_drift_steps Steps by which the host differs from its settings.\n"
        "# TYPE nemoclaw_inference_drift_steps gauge\n"
        'nemoclaw_inference_drift_steps{host="a\\"b\\\\c\\nd"} 2\n'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (NOW, "1764513481.25"), (0.1 + 0.2, "0.3"), (2**40, "1099511627776"), (1e22, "1e+22"),
        (float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"),
    ],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    assert exposition([Sample("up", value, {})]).splitlines()[-1] == f"nemoclaw_inference_up {text}"


def test_nothing_is_no_text() -> None:
    assert exposition([]) == ""


def test_a_name_that_nobody_documented_is_an_error() -> None:
    with pytest.raises(KeyError):
        exposition([Sample("speed", 1, {})])


@pytest.mark.parametrize("name", metrics.METRICS)
def test_names_follow_the_conventions(name: str) -> None:
    """Gauges: what promtool's linter would say of a name."""
    assert re.fullmatch(r"[a-z][a-z_]*[a-z]", name)
    assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_ms", "_mib"))
    assert "\n" not in metrics.METRICS[name]
