# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route in the words of NemoClaw's wizard."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.desired import (
    Desired,
    check,
    environment,
    trust,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route

OLLAMA: dict[str, Any] = {
    "provider": "ollama",
    "base_url": "http://127.0.0.1:11434/v1",
    "base_url_sandbox": "http://host.openshell.internal:11435/v1",
    "model": "qwen2.5:7b",
    "api": "openai-completions",
    "timeout": 240,
}
REMOTE = {**OLLAMA, "provider": "custom", "base_url": "https://ai.example/v1", "base_url_sandbox": None}
ANTHROPIC = {
    **OLLAMA,
    "provider": "anthropicCompatible",
    "base_url": "http://127.0.0.1:8080",
    "base_url_sandbox": None,
    "api": "anthropic-messages",
}


def desired(route: dict[str, Any], credential: str = "", name: str = "lab", **limits: Any) -> Desired:
    lacks = limits.pop("lacks", {})
    return Desired(name, {**build_route(**route), **lacks}, credential, **limits)


@pytest.mark.parametrize(
    ("route", "credential", "said"),
    [
        (
            OLLAMA,
            "t",
            {"PROVIDER": "custom", "ENDPOINT_URL": OLLAMA["base_url_sandbox"], "PREFERRED_API": "openai-completions"},
        ),
        (REMOTE, "k", {"PROVIDER": "custom", "ENDPOINT_URL": "https://ai.example/v1"}),
        ({**REMOTE, "api": "openai-responses"}, "k", {"PREFERRED_API": "openai-responses"}),
        # Asked by NemoClaw from the host.
        (ANTHROPIC, "k", {"PROVIDER": "anthropicCompatible", "ENDPOINT_URL": "http://127.0.0.1:8080"}),
        ({**OLLAMA, "context_window": 32768}, "t", {"CONTEXT_WINDOW": "32768", "LOCAL_INFERENCE_TIMEOUT": "240"}),
        (
            OLLAMA,
            "t",
            {"SANDBOX_NAME": "lab", "MODEL": "qwen2.5:7b", "SANDBOX_READY_TIMEOUT": "180", "NON_INTERACTIVE": "1"},
        ),
    ],
)
def test_what_is_said(route: dict[str, Any], credential: str, said: dict[str, str]) -> None:
    wanted = desired(route, credential)
    check(wanted)
    given = environment(wanted)
    assert {name: given[f"NEMOCLAW_{name}"] for name in said} == said
    assert "NEMOCLAW_YES" not in given


@pytest.mark.parametrize(
    ("route", "credential", "key"),
    [
        (OLLAMA, "token", {"COMPATIBLE_API_KEY": "token"}),
        (REMOTE, "", {"COMPATIBLE_API_KEY": "dummy"}),
        (ANTHROPIC, "k", {"COMPATIBLE_ANTHROPIC_API_KEY": "k"}),
    ],
)
def test_the_key(route: dict[str, Any], credential: str, key: dict[str, str]) -> None:
    given = environment(desired(route, credential))
    assert {name: value for name, value in given.items() if name.endswith("_KEY")} == key
    assert "canary-4711" not in repr(desired(route, "canary-4711"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"name": "My-Assistant"}, "sandbox_name_invalid"),
        ({"name": "a-"}, "sandbox_name_invalid"),
        ({"name": "--name"}, "sandbox_name_invalid"),
        ({"name": "a" * 20}, "sandbox_name_invalid"),
        ({"name": "two--hyphens"}, "sandbox_name_invalid"),
        ({"lacks": {"model": ""}}, "nemoclaw_route_incomplete"),
        ({"lacks": {"base_url_sandbox": None}}, "nemoclaw_route_incomplete"),
        ({"lacks": {"provider_type": "nvidia"}}, "nemoclaw_route_incomplete"),
        ({"lacks": {"model": "a model; rm"}}, "nemoclaw_model_invalid"),
        ({"ready_timeout": 0}, "timeout_invalid"),
        ({"stall_timeout": 0}, "timeout_invalid"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(Failure) as raised:
        check(desired(OLLAMA, **changes))
    assert raised.value.code == code


@pytest.mark.parametrize("name", ["a", "my-assistant", "a" * 19, "lab2"])
def test_names_that_nemoclaw_and_openshell_take(name: str) -> None:
    check(desired(OLLAMA, name=name))


@pytest.mark.parametrize(
    ("url", "addresses", "named", "trusted"),
    [
        ("http://10.1.2.3:8000/v1", ["10.1.2.3"], "", "10.1.2.3"),
        ("http://nim.example/v1", ["192.168.7.9", "fd00::9"], "other.example", "other.example,nim.example"),
        ("http://nim.example/v1", ["100.64.0.9"], "nim.example", "nim.example"),
        # A public address needs no trust, and a name with one is not given any.
        ("https://ai.example/v1", ["203.0.113.9"], "", None),
        ("https://ai.example/v1", ["10.0.0.9", "203.0.113.9"], "", None),
        ("http://127.0.0.1:8000/v1", ["127.0.0.1"], "", None),
        ("http://169.254.169.254/v1", ["169.254.169.254"], "", None),
        ("http://host.openshell.internal:8000/v1", [], "", None),
        ("http://host.openshell.internal:8000/v1", [], "a, b,", "a,b"),
    ],
)
def test_which_hosts_are_trusted(url: str, addresses: list[str], named: str, trusted: str | None) -> None:
    assert trust(url, addresses, named).get("NEMOCLAW_TRUSTED_PRIVATE_HOSTS") == trusted
