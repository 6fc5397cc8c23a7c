# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands against a set-up: each refusal has its code, says what to set, and comes without a look at anything but the facts."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.choice import choose
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.consulted import foresee_managed
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.refusals import (
    foresee,
    gates,
    missing_libraries,
)

Make = Callable[..., Any]

GPU = {
    "index": 0,
    "uuid": "GPU-1",
    "name": "NVIDIA H200",
    "memory_total_mib": 143_000,
    "compute_capability": "9.0",
    "trusted": True,
    "unified_memory": False,
}
GPUS = {"gpus": {"devices": [GPU], "count": 1}, "profile": "linux-nvidia"}
NO_DOCKER = {
    "docker": {"kind": "none", "reachable": False, "code": "absent", "reason": "There is no Docker here. Install it."}
}
SDK = {"python": {"executable": "/usr/bin/python3", "libraries": {"docker": "7.1.0"}}}
EXPERIMENTAL = {"nemoclaw_experimental": True}
VLLM = {"nemoclaw_provider": "install-vllm"}
NIM = {"nemoclaw_provider": "nim"}
WSL = {"wsl": {"version": 2, "distro": "Debian", "networking_mode": "nat", "interop": True}}
ROUTE = {
    "provider": "vllm",
    "provider_name": "vllm-local",
    "model": "served",
    "container": None,
    "base_url_host": "http://127.0.0.1:8000/v1",
}
OLLAMA = {**ROUTE, "provider": "ollama", "provider_name": "ollama-local", "base_url_host": "http://127.0.0.1:11434/v1"}
SERVES = {"vllm": {"running": True, "models": ["served", "more"], "model": "served", "port": 8000}, "route": ROUTE}
ANY = {"port": 11434, "address": "0.0.0.0", "scope": "any", "process": "ollama", "user": "ollama", "uid": 990}

CASES: list[tuple[dict[str, Any], dict[str, Any], bool, list[str]]] = [
    ({}, {}, False, []),
    # Before any package (hosts.md, "From the page").
    (GPUS, VLLM, False, ["experimental_not_allowed"]),
    (GPUS, NIM, False, ["experimental_not_allowed", "ngc_key_missing"]),
    (GPUS, {**NIM, "ngc_api_key": "k"}, False, ["experimental_not_allowed"]),
    (GPUS, {**VLLM, **EXPERIMENTAL}, False, []),
    (GPUS, {**VLLM, **EXPERIMENTAL, "nemoclaw_vllm_model": "no-such"}, False, ["model_unknown"]),
    (GPUS, {**VLLM, **EXPERIMENTAL, "nemoclaw_vllm_model": "deepseek-r1-distill-70b"}, False, ["gated_without_token"]),
    (GPUS, {**VLLM, **EXPERIMENTAL, "nemoclaw_vllm_model": "DeepSeek-R1-Distill-70B", "hf_token": "t"}, False, []),
    # With the SDK the module of the container looks whether the weights are here already.
    ({**GPUS, **SDK}, {**VLLM, **EXPERIMENTAL, "nemoclaw_vllm_model": "deepseek-r1-distill-70b"}, False, []),
    ({**GPUS, **SDK}, {**NIM, **EXPERIMENTAL}, False, []),
    ({}, {**VLLM, **EXPERIMENTAL}, False, ["no_profile"]),
    ({"profile": "linux-nvidia"}, {**VLLM, **EXPERIMENTAL}, False, ["gpu_missing"]),
    ({}, {**NIM, **EXPERIMENTAL, "ngc_api_key": "k"}, False, ["gpu_missing"]),
    ({**GPUS, **NO_DOCKER}, {**VLLM, **EXPERIMENTAL}, False, ["docker_absent"]),
    (
        {**GPUS, **NO_DOCKER},
        {**NIM, **EXPERIMENTAL, "nemoclaw_model": "no/such"},
        False,
        ["model_unknown", "ngc_key_missing", "docker_absent"],
    ),
    ({**GPUS, "python": {"executable": "/opt/py/bin/python"}}, {**VLLM, **EXPERIMENTAL}, False, ["library_missing"]),
    # A vLLM that somebody else runs.
    ({}, {"nemoclaw_provider": "vllm"}, False, ["vllm_not_running"]),
    (SERVES, {"nemoclaw_provider": "vllm"}, False, []),
    (
        {**SERVES, "listeners": [{**ANY, "port": 8000}]},
        {"nemoclaw_provider": "vllm", "vllm_gate_port": 11440},
        False,
        ["vllm_exposed"],
    ),
    # A switch switches, or says why it does not.
    (SERVES, {"nemoclaw_model": "served"}, True, []),
    (SERVES, {"nemoclaw_model": "another"}, True, ["model_not_served"]),
    (SERVES, {"nemoclaw_model": "more"}, True, ["model_not_served"]),
    (SERVES, {"nemoclaw_model": "another", "nemoclaw_provider": "vllm"}, False, []),
    (
        {**GPUS, **SDK, "route": {**ROUTE, "provider": "install-vllm"}},
        {"nemoclaw_model": "x", **EXPERIMENTAL},
        True,
        ["setting_contradiction"],
    ),
    ({}, {"nemoclaw_model": "x"}, True, ["route_not_recorded"]),
    (SERVES, {"nemoclaw_vllm_model": "x"}, True, ["setting_contradiction"]),
    ({"route": OLLAMA}, {"nemoclaw_vllm_model": "x"}, True, ["setting_contradiction"]),
    ({"route": OLLAMA}, {"nemoclaw_vllm_model": "x", "nemoclaw_provider": "ollama"}, True, ["setting_contradiction"]),
    ({"route": OLLAMA}, {"nemoclaw_vllm_model": "x", "nemoclaw_model": "m"}, True, []),
    (
        {"route": OLLAMA},
        {"nemoclaw_endpoint_url": "http://a/v1", "nemoclaw_provider": "ollama"},
        True,
        ["setting_contradiction"],
    ),
    ({"route": OLLAMA}, {"nemoclaw_endpoint_url": "http://a/v1"}, True, []),
    ({**SERVES, "route": OLLAMA}, {"nemoclaw_provider": "vllm", "nemoclaw_vllm_model": "x"}, True, []),
    # Settings.
    ({}, {"nemoclaw_ollama_port": 11435}, False, ["setting_invalid", "proxy_settings_invalid"]),
    ({}, {"nemoclaw_provider": "custom"}, False, ["endpoint_url_missing"]),
    ({}, {"nemoclaw_provider": "custom", "nemoclaw_endpoint_url": "10.0.0.1/v1"}, False, ["url_invalid"]),
    (
        {},
        {"nemoclaw_provider": "custom", "nemoclaw_endpoint_url": "http://a/v1", "compatible_api_key": "a\u2019b"},
        False,
        ["key_invalid"],
    ),
    ({}, {"nemoclaw_provider": "ollama", "preflight_platforms": ["dgx-spark"]}, False, ["platform_excluded"]),
    ({}, {"nemoclaw_provider": "ollama", "proxy_listen": ["localhost"]}, False, ["proxy_settings_invalid"]),
    ({}, {"nemoclaw_provider": "ollama", "proxy_max_body_size": "much"}, False, ["proxy_settings_invalid"]),
    (
        {},
        {"nemoclaw_provider": "ollama", "proxy_backends": [{"name": "ollama", "port": 11440, "upstream_port": 1025}]},
        False,
        ["proxy_settings_invalid"],
    ),
    ({}, {"nemoclaw_provider": "ollama", "proxy_paths": ["api tags"]}, False, ["proxy_settings_invalid"]),
    ({}, {"nemoclaw_provider": "ollama", "proxy_backends": [{"name": "no_port"}]}, False, ["proxy_settings_invalid"]),
    ({}, {"nemoclaw_provider": "ollama", "proxy_backends": ["vllm"]}, False, ["proxy_settings_invalid"]),
    # The auth proxy.
    ({"systemd": False}, {"nemoclaw_provider": "ollama"}, False, ["systemd_missing"]),
    ({"systemd": False}, {"nemoclaw_provider": "custom", "nemoclaw_endpoint_url": "http://a/v1"}, False, []),
    ({"package_manager": None}, {"nemoclaw_provider": "ollama"}, False, ["package_manager_missing"]),
    ({"package_manager": None, "proxy": {"nginx": "/usr/sbin/nginx"}}, {"nemoclaw_provider": "ollama"}, False, []),
    # WSL.
    ({}, {"nemoclaw_provider": "start-windows-ollama"}, False, ["not_wsl"]),
    ({}, {"nemoclaw_provider": "ollama", "ollama_side": "windows"}, False, ["not_wsl"]),
    (WSL, {"nemoclaw_provider": "start-windows-ollama"}, False, ["windows_unreachable"]),
    ({"wsl": {**WSL["wsl"], "version": 1}}, {}, False, ["wsl_unsupported"]),
    ({"wsl": {**WSL["wsl"], "version": None}}, {}, False, ["wsl_unknown"]),
    (
        {
            **WSL,
            "docker": {
                "kind": "desktop",
                "reachable": False,
                "code": "daemon_stopped",
                "reason": "The engine is stopped; start it.",
            },
        },
        {},
        False,
        ["docker_stopped"],
    ),
    (
        {
            **WSL,
            "docker": {"kind": "desktop"},
            "ollama": {"daemon_version": "1", "windows": {"daemon_version": "1", "host": "h:11434"}},
        },
        {"nemoclaw_provider": "ollama"},
        False,
        ["side_undecided"],
    ),
    (
        {**WSL, "docker": {"kind": "desktop"}, "ollama": {"windows": {"daemon_version": "1", "host": "h:11434"}}},
        {"nemoclaw_provider": "ollama", "ollama_side": "wsl"},
        False,
        ["windows_in_the_way"],
    ),
]


@pytest.mark.parametrize(
    ("host", "variables", "keep", "codes"), CASES, ids=[f"{number}-{case[3]}" for number, case in enumerate(CASES)]
)
def test_what_stands_against_it(
    host: dict[str, Any], variables: dict[str, Any], keep: bool, codes: list[str], make_host: Make, make_settings: Make
) -> None:
    made, settings = make_host(**host), make_settings(**variables)
    chosen = choose(made, settings, keep)
    found = [*foresee(made, settings, chosen, keep), *foresee_managed(made, settings, chosen)]
    # In the order of the code's parts, which is not a matter of this table.
    assert sorted(one.code for one in found) == sorted(codes)
    assert all(one.message.endswith((".", ")")) and len(one.message) > 30 for one in found)
    assert not any("\n" in one.message or "None" in one.message for one in found)


def test_who_is_open_to_the_network_is_named_where_nobody_closes_it(make_host: Make, make_settings: Make) -> None:
    host, settings = make_host(systemd=False, listeners=[ANY]), make_settings(nemoclaw_provider="ollama")
    (failure,) = foresee(host, settings, choose(host, settings))
    assert "ollama of the user ollama listens on 0.0.0.0" in failure.message


@pytest.mark.parametrize(
    ("variables", "with_ollama", "wanted"),
    [
        ({"nemoclaw_provider": "ollama"}, True, [("ollama", 11435, 11434)]),
        (
            {"nemoclaw_provider": "ollama", "proxy_backends": [{"name": "more", "port": 11440, "upstream_port": 9000}]},
            True,
            [("ollama", 11435, 11434), ("more", 11440, 9000)],
        ),
        (
            {"nemoclaw_provider": "vllm", "vllm_gate_port": 11440},
            True,
            [("ollama", 11435, 11434), ("vllm", 11440, 8000)],
        ),
        # Alone, the role proxy calls it by the name of its first server.
        ({"nemoclaw_provider": "vllm", "vllm_gate_port": 11440}, False, [("ollama", 11440, 8000)]),
    ],
)
def test_what_stands_behind_the_proxy(
    variables: dict[str, Any],
    with_ollama: bool,
    wanted: list[tuple[str, int, int]],
    make_host: Make,
    make_settings: Make,
) -> None:
    settings = make_settings(**variables)
    found = gates(settings, choose(make_host(), settings), with_ollama)
    assert [(one.name, one.port, one.upstream_port) for one in found] == wanted


@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        ({"nemoclaw_provider": "ollama"}, []),
        ({"nemoclaw_provider": "nim"}, ["docker"]),
        ({"nemoclaw_provider": "custom", "endpoint_expect": [{"query": "a"}]}, ["jmespath"]),
        ({"nemoclaw_provider": "ollama", "endpoint_expect": [{"query": "a"}]}, []),
    ],
)
def test_the_libraries_that_are_missing(
    variables: dict[str, Any], missing: list[str], make_host: Make, make_settings: Make
) -> None:
    settings = make_settings(**variables)
    host = make_host()
    assert missing_libraries(host, settings, choose(host, settings)) == missing
