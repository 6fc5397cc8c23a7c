# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which provider a host gets, on which side of WSL, and why: tables of pure functions."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan import choice
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.make import keep_what_is_recorded

Make = Callable[..., Any]

URL = "http://127.0.0.1:8000/v1"
OURS = {
    "provider": "install-vllm",
    "provider_name": "vllm-local",
    "container": "nemoclaw-vllm",
    "base_url_host": URL,
    "model": "m",
}
NIM = {**OURS, "provider": "nim"}
OWN = {
    "provider": "custom",
    "provider_name": "compatible-endpoint",
    "container": None,
    "base_url_host": "http://10.0.0.1:1/v1",
    "base_url_sandbox": "http://10.0.0.1:1/v1",
    "model": "m",
    "api": "openai-completions",
    "timeout": 240,
}
OLLAMA = {
    "provider": "ollama",
    "provider_name": "ollama-local",
    "container": None,
    "base_url_host": "http://127.0.0.1:11434/v1",
    "model": "m:1b",
}
VLLM_RUNS = {"vllm": {"running": True, "model": "served"}, "listeners": [{"port": 8000}]}
INSTALLED = {"ollama": {"path": "/usr/local/bin/ollama"}}
RUNS = {"ollama": {"daemon_version": "0.32.9"}}


@pytest.mark.parametrize(
    ("host", "variables", "provider", "reason"),
    [
        # The same table as of the role preflight.
        ({}, {}, "install-ollama", "no model server was found here"),
        (INSTALLED, {}, "ollama", "Ollama is installed here"),
        ({**VLLM_RUNS, **RUNS}, {}, "ollama", "Ollama runs here"),
        (VLLM_RUNS, {}, "vllm", "vLLM runs here"),
        ({**VLLM_RUNS, "route": {**OURS, "provider": "vllm", "container": None}}, {}, "vllm", "vLLM runs here"),
        ({**VLLM_RUNS, "route": OURS}, {}, "install-vllm", "because our container nemoclaw-vllm runs here"),
        ({"listeners": [{"port": 8000}], "route": NIM}, {}, "nim", "because our container"),
        ({"route": OURS}, {}, "install-ollama", "no model server"),
        ({**VLLM_RUNS, "route": {**OURS, "base_url_host": "http://127.0.0.1:8009/v1"}}, {}, "vllm", "vLLM runs here"),
        # What the inventory says.
        (RUNS, {"nemoclaw_provider": "nim"}, "nim", "as nemoclaw_provider says"),
        (RUNS, {"nemoclaw_endpoint_url": URL}, "custom", "nemoclaw_endpoint_url is set and nemoclaw_provider is not"),
        (RUNS, {"endpoint_url": URL}, "custom", "endpoint_url is set"),
        (
            RUNS,
            {"nemoclaw_endpoint_url": URL, "nemoclaw_provider": "anthropicCompatible"},
            "anthropicCompatible",
            "as nemoclaw_provider",
        ),
        # A recorded server of the user's own, which nothing names any more.
        ({"route": OWN}, {}, "custom", "as the recorded route has it"),
        ({**RUNS, "route": OWN}, {}, "custom", "as the recorded route has it"),
        (
            {**RUNS, "route": {**OWN, "provider": "anthropicCompatible"}},
            {},
            "anthropicCompatible",
            "as the recorded route",
        ),
        ({"route": OLLAMA, **VLLM_RUNS}, {}, "vllm", "vLLM runs here"),
    ],
)
def test_the_provider(
    host: dict[str, Any], variables: dict[str, Any], provider: str, reason: str, make_host: Make, make_settings: Make
) -> None:
    found = choice.choose(make_host(**host), make_settings(**variables))
    assert found.provider == provider
    assert reason in found.reason
    assert found.role == choice.ROLES[provider]


def test_a_switch_keeps_the_recorded_provider(make_host: Make, make_settings: Make) -> None:
    found = choice.choose(make_host(**RUNS, route=OURS), make_settings(), keep_route=True)
    assert (found.provider, found.reason) == ("install-vllm", "as the recorded route has it")
    assert found.previous_role == "vllm"


@pytest.mark.parametrize(
    ("route", "provider"),
    [
        (OURS, "custom"),
        (OLLAMA, "custom"),
        (OWN, "custom"),
        ({**OWN, "provider": "anthropicCompatible"}, "anthropicCompatible"),
    ],
)
def test_a_switch_to_another_url_leaves_the_recorded_provider_unless_it_takes_urls(
    route: Any, provider: str, make_host: Make, make_settings: Make
) -> None:
    settings = make_settings(nemoclaw_endpoint_url=URL)
    assert choice.choose(make_host(route=route), settings, keep_route=True).provider == provider


@pytest.mark.parametrize(
    ("route", "variables", "keep", "kept", "values"),
    [
        (OWN, {}, False, True, {"endpoint_url": OWN["base_url_host"], "endpoint_model": "m", "endpoint_timeout": 240}),
        (OWN, {"nemoclaw_local_inference_timeout": 9}, False, True, {"endpoint_timeout": 9, "endpoint_model": "m"}),
        (OWN, {"nemoclaw_endpoint_url": URL}, False, False, {"endpoint_url": URL, "endpoint_timeout": 180}),
        (OWN, {"nemoclaw_provider": "custom"}, False, False, {"endpoint_url": ""}),
        (OWN, {"nemoclaw_provider": "ollama"}, False, False, {"endpoint_url": "", "ollama_timeout": 180}),
        (
            OWN,
            {"nemoclaw_model": "x"},
            True,
            False,
            {"endpoint_url": OWN["base_url_host"], "endpoint_model": "x", "endpoint_timeout": 240},
        ),
        (OWN, {"nemoclaw_provider": "ollama"}, True, False, {"endpoint_url": "", "ollama_timeout": 180}),
        (None, {}, True, False, {"endpoint_url": ""}),
    ],
)
def test_what_is_kept_of_the_record(
    route: Any,
    variables: dict[str, Any],
    keep: bool,
    kept: bool,
    values: dict[str, Any],
    make_host: Make,
    make_settings: Make,
) -> None:
    settings = make_settings(**variables)
    found = keep_what_is_recorded(settings, make_host(route=route), keep)
    assert bool(found) == kept
    assert {name: settings[name] for name in values} == values
    assert all(settings[name] == value for name, value in found.items())


DESKTOP = {"docker": {"kind": "desktop"}}
WSL = {"wsl": {"version": 2, "distro": "Debian", "networking_mode": "nat", "interop": True}}
WINDOWS = {"windows": {"daemon_version": "0.32.9", "host": "host.docker.internal:11434"}}


@pytest.mark.parametrize(
    ("host", "variables", "seen", "side", "reason"),
    [
        ({}, {}, None, None, ""),
        (WSL, {}, None, "wsl", "only with Docker Desktop"),
        ({**WSL, **DESKTOP}, {}, None, "unknown", "is checked next"),
        ({**WSL, **DESKTOP}, {}, {"installed": False}, "windows", "there is no Ollama yet"),
        ({**WSL, **DESKTOP}, {}, {"installed": True, "path": "C:\\o.exe"}, "windows", "installed there (C:\\o.exe)"),
        ({**WSL, **DESKTOP}, {}, {"running": True}, "windows", "for Windows only"),
        ({**WSL, **DESKTOP, **INSTALLED}, {}, {"installed": False}, "wsl", "installed there"),
        ({**WSL, **DESKTOP, "ollama": WINDOWS}, {}, None, "windows", "nemoclaw_provider is start-windows-ollama"),
        (
            {**WSL, **DESKTOP, "ollama": {**WINDOWS, "daemon_version": "1"}},
            {"nemoclaw_provider": "ollama"},
            None,
            "undecided",
            "on Windows",
        ),
        (
            {**WSL, **DESKTOP, "ollama": {**WINDOWS, "daemon_version": "1"}},
            {"ollama_side": "wsl", "nemoclaw_provider": "ollama"},
            None,
            "wsl",
            "ollama_side",
        ),
        ({**WSL, **DESKTOP}, {"ollama_side": "windows"}, None, "windows", "ollama_side is windows"),
        (
            WSL,
            {"nemoclaw_provider": "start-windows-ollama"},
            None,
            "windows",
            "nemoclaw_provider is start-windows-ollama",
        ),
        ({**WSL, **DESKTOP, "route": {**OLLAMA, "provider": "start-windows-ollama"}}, {}, None, "windows", "recorded"),
        ({**WSL, **DESKTOP, "route": OLLAMA}, {}, None, "wsl", "recorded"),
        ({"wsl": {**WSL["wsl"], "interop": False}, **DESKTOP}, {}, None, "wsl", "interop is off"),
    ],
)
def test_the_side(
    host: dict[str, Any],
    variables: dict[str, Any],
    seen: Any,
    side: str | None,
    reason: str,
    make_host: Make,
    make_settings: Make,
) -> None:
    found = choice.choose(make_host(**host), make_settings(**variables), seen=seen)
    assert (found.side.name if found.side else None) == side
    assert reason in (found.side.reason if found.side else "")


@pytest.mark.parametrize(
    ("ollama", "variables", "count"),
    [
        ({}, {}, 1),
        ({"client_version": "0.32.9"}, {}, 0),
        ({"client_version": "0.32.9", "daemon_version": "0.32.8"}, {}, 1),
        ({"client_version": "0.31.0", "daemon_version": "0.31.0"}, {"ollama_minimum_version": "0.31.0"}, 0),
        ({"client_version": "0.32.9", "kept_version": "0.31.0"}, {}, 1),
        ({"client_version": "0.32.9", "damage": "a file is missing"}, {}, 1),
        ({"client_version": "0.32.9", "checksum": "sha256:a"}, {"ollama_install_checksum": "sha256:B"}, 1),
        ({"client_version": "0.32.9", "checksum": "sha256:b"}, {"ollama_install_checksum": "sha256:B"}, 0),
        ({"client_version": "0.32.9"}, {"ollama_reinstall": True}, 1),
    ],
)
def test_why_ollama_is_installed(
    ollama: dict[str, Any], variables: dict[str, Any], count: int, make_host: Make, make_settings: Make
) -> None:
    settings = make_settings(nemoclaw_provider="ollama", **variables)
    host = make_host(ollama=ollama)
    assert len(choice.install_reasons(host, choice.choose(host, settings), settings)) == count


@pytest.mark.parametrize(
    ("host", "variables", "gated"),
    [
        ({}, {"nemoclaw_provider": "ollama"}, True),
        ({**WSL, **DESKTOP}, {"nemoclaw_provider": "ollama"}, False),
        (WSL, {"nemoclaw_provider": "ollama"}, True),
        ({}, {"nemoclaw_provider": "custom"}, False),
        ({}, {"nemoclaw_provider": "vllm"}, False),
        ({}, {"nemoclaw_provider": "vllm", "vllm_gate_port": 11440}, True),
        ({}, {"nemoclaw_provider": "nim", "nim_gate_port": 11440}, True),
    ],
)
def test_who_is_behind_the_proxy(
    host: dict[str, Any], variables: dict[str, Any], gated: bool, make_host: Make, make_settings: Make
) -> None:
    settings = make_settings(**variables)
    made = make_host(**host)
    assert choice.is_gated(made, choice.choose(made, settings), settings) == gated
