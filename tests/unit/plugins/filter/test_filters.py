# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results as lines, and names of providers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.filter import providers, tables
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.report import PASSED, Probe, Report
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route


def proof(**fields: Any) -> dict[str, Any]:
    probes = [
        Probe("models", "openai-completions", PASSED, 0.0123, 1, 200, "serves m"),
        Probe("agent_tool_call", "openai-completions"),
    ]
    report = Report(api="openai-completions", model="m", probes=probes, elapsed=1.26)
    return {**report.as_result(), **fields}


def test_the_table_of_probes() -> None:
    assert tables.probe_table(proof()) == [
        "probe            outcome  latency  tries  seen",
        "models           passed   0.01 s   1      serves m",
        "agent_tool_call  skipped  -        -      not reached",
        "m over openai-completions, proved in 1.3 s",
    ]


def test_a_fallback_is_told() -> None:
    lines = tables.probe_table(proof(fallback_reason="openai-responses was requested, but"))
    assert lines[-2] == "openai-responses was requested, but"


def test_the_table_of_a_route() -> None:
    route = build_route(provider="custom", base_url="http://h/v1", model="m", api="openai-completions", timeout=180)
    lines = tables.route_table(route, "/home/lab/r.json")
    assert len(lines) == len(route) + 1
    assert "base_url_sandbox  http://h/v1" in lines
    assert "container         -" in lines
    assert lines[-1] == "recorded in /home/lab/r.json"
    planned = tables.route_table(route, "/home/lab/r.json", is_recorded=False)
    assert planned == [*lines[:-1], "without check mode it would be recorded in /home/lab/r.json"]


def test_a_derived_sandbox_url_is_not_sold_as_proved() -> None:
    route = {"base_url_host": "http://localhost:1/v1", "base_url_sandbox": "http://host.openshell.internal:1/v1"}
    assert "not tried from a sandbox" in tables.route_table(route, "/home/lab/r.json")[-1]
    assert tables.route_table(route, "/home/lab/r.json", is_tried=True)[-1] == "recorded in /home/lab/r.json"


HOST: dict[str, Any] = {
    "platform": "linux",
    "platform_evidence": "no other sign",
    "architecture": "amd64",
    "gpus": {"summary": "none"},
    "memory": {"total_mib": 1024, "available_mib": 512},
    "docker": {"reachable": True, "kind": "native", "version": "20.10", "reason": None},
    "user": {"name": "lab", "home": "/home/lab"},
    "route": None,
    "wsl": None,
    "ollama": {"windows": None},
}
WSL = {"version": 2, "distro": None, "networking_mode": "nat", "interop": True}
WINDOWS = {"host": "host.docker.internal:11434", "daemon_version": "0.9.3", "problem": None}


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "platform  linux (no other sign), amd64"),
        ({}, "Docker    native 20.10"),
        ({"docker": {"reachable": False, "kind": None, "version": None, "reason": "no socket"}}, "Docker    no socket"),
        ({}, "route     none yet"),
        ({"route": {"model": "m", "label": "Local vLLM"}}, "route     m (Local vLLM)"),
        ({}, "provider  custom"),
        (
            {"wsl": WSL, "ollama": {"windows": WINDOWS}},
            "WSL       2, nat networking, starts Windows programs, Ollama 0.9.3 of Windows at host.docker.internal:11434",
        ),
        (
            {"wsl": {**WSL, "networking_mode": None, "interop": False}},
            "WSL       2, unknown networking, does not start Windows programs, no Ollama of Windows seen",
        ),
        ({}, "user      lab, state in /home/lab/.nemoclaw"),
    ],
)
def test_the_table_of_a_host(fields: dict[str, Any], line: str) -> None:
    assert line in tables.host_table({**HOST, **fields}, "custom")


@pytest.mark.parametrize(
    ("value", "name"),
    [("Nim-Local", "nim"), ("CUSTOM", "custom"), ("openai", "openai"), (5, 5), (None, None), (["custom"], ["custom"])],
)
def test_the_provider_filter(value: Any, name: Any) -> None:
    assert providers.provider(value) == name


def test_the_filters_have_their_names() -> None:
    names = {**tables.FilterModule().filters(), **providers.FilterModule().filters()}
    assert set(names) == {"probe_table", "route_table", "host_table", "provider", "roles_to_leave", "route"}


def test_a_route_without_a_call() -> None:
    desired = {
        "provider": "Ollama",
        "base_url": "http://127.0.0.1:11434/v1",
        "model": "m",
        "timeout": "90",
        "context_window": "",
    }
    assert providers.route(desired) == build_route(
        provider="ollama", base_url="http://127.0.0.1:11434/v1", model="m", api="openai-completions", timeout=90
    )
    assert providers.route({**desired, "context_window": "4096", "base_url_sandbox": "http://h:1/v1"}) == build_route(
        provider="ollama",
        base_url="http://127.0.0.1:11434/v1",
        base_url_sandbox="http://h:1/v1",
        model="m",
        api="openai-completions",
        timeout=90,
        context_window=4096,
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [({"provider": "nobody"}, "There is no provider"), ({"base_url": "file:///x"}, "http")],
)
def test_a_route_that_cannot_be(change: dict[str, Any], says: str) -> None:
    with pytest.raises(Failure, match=says):
        providers.route({"provider": "custom", "base_url": "http://127.0.0.1:1/v1", "model": "m", **change})


VLLM = build_route(
    provider="install-vllm",
    base_url="http://127.0.0.1:8000/v1",
    model="v",
    api="openai-completions",
    timeout=180,
    container="nemoclaw-vllm",
)
OLLAMA = build_route(
    provider="ollama", base_url="http://127.0.0.1:11434/v1", model="o", api="openai-completions", timeout=180
)
CUSTOM = build_route(provider="custom", base_url="http://gpu:8000/v1", model="c", api="openai-completions", timeout=180)


@pytest.mark.parametrize(
    ("before", "after", "role", "left"),
    [
        ({}, CUSTOM, "endpoint", []),
        (VLLM, OLLAMA, "ollama", ["vllm"]),
        # Of a run before this one, and of both.
        ({**OLLAMA, "to_free": [VLLM]}, OLLAMA, "ollama", ["vllm"]),
        ({**OLLAMA, "to_free": [VLLM]}, CUSTOM, "endpoint", ["ollama", "vllm"]),
        ({**CUSTOM, "to_free": [VLLM, {**VLLM, "container": "two"}]}, OLLAMA, "ollama", ["vllm"]),
        # Check mode, in which no route is recorded yet.
        (OLLAMA, {}, "endpoint", ["ollama"]),
        (OLLAMA, {}, "ollama", []),
        ({**OLLAMA, "to_free": [VLLM]}, {}, "ollama", ["vllm"]),
        # A record that somebody has written by hand.
        ({**CUSTOM, "to_free": [{"provider": "gpt", "container": "c"}]}, OLLAMA, "ollama", []),
    ],
)
def test_the_roles_that_a_host_was_switched_away_from(
    before: dict[str, Any], after: dict[str, Any], role: str, left: list[str]
) -> None:
    assert providers.roles_to_leave(before, after, role) == left
