# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The route: what a provider and a base URL become."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route import record
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import (
    PROVIDERS,
    build_route,
    canonical_provider,
)


def built(**options: Any) -> dict[str, Any]:
    defaults = {
        "provider": "custom",
        "base_url": "http://127.0.0.1:8080/v1",
        "model": "m",
        "api": "openai-completions",
        "timeout": 180,
    }
    return build_route(**{**defaults, **options})


def test_the_whole_route() -> None:
    assert built(context_window=32768, container="c", origin="managed", gateway="nemoclaw", sandbox="lab") == {
        "provider": "custom",
        "label": "Other OpenAI-compatible endpoint",
        "provider_name": "compatible-endpoint",
        "provider_type": "openai",
        "credential_env": "COMPATIBLE_API_KEY",
        "base_url_host": "http://127.0.0.1:8080/v1",
        "base_url_sandbox": "http://host.openshell.internal:8080/v1",
        "model": "m",
        "api": "openai-completions",
        "timeout": 180,
        "context_window": 32768,
        "container": "c",
        "origin": "managed",
        "gateway": "nemoclaw",
        "sandbox": "lab",
        "way": "route",
    }


def test_the_route_has_the_fields_of_the_record() -> None:
    assert tuple(built()) == record.FIELDS


@pytest.mark.parametrize(
    ("base_url", "sandbox"),
    [
        ("http://localhost:8000/v1", "http://host.openshell.internal:8000/v1"),
        ("http://localhost/v1", "http://host.openshell.internal/v1"),
        ("http://127.0.0.2:8000/v1", "http://host.openshell.internal:8000/v1"),
        ("http://[::1]:8000/v1", "http://host.openshell.internal:8000/v1"),
        ("https://localhost:8443/x/v1/chat/completions", "https://host.openshell.internal:8443/x/v1"),
        ("http://10.0.0.5:8000/v1", "http://10.0.0.5:8000/v1"),
        ("http://spark-01.lab/v1", "http://spark-01.lab/v1"),
    ],
)
def test_only_a_loopback_host_is_rewritten(base_url: str, sandbox: str) -> None:
    assert built(base_url=base_url)["base_url_sandbox"] == sandbox


def test_the_name_of_the_host_in_the_sandbox_can_be_set() -> None:
    route = built(sandbox_host="host.docker.internal")
    assert route["base_url_sandbox"] == "http://host.docker.internal:8080/v1"


def test_the_url_of_the_sandbox_can_be_set() -> None:
    route = built(base_url_sandbox="http://host.openshell.internal:9000/v1/models")
    assert route["base_url_sandbox"] == "http://host.openshell.internal:9000/v1"
    assert route["base_url_host"] == "http://127.0.0.1:8080/v1"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"provider": "openai"}, "provider_unknown"),
        ({"provider": ""}, "provider_unknown"),
        ({"api": "anthropic-messages"}, "api_unsupported"),
        ({"provider": "anthropicCompatible"}, "api_unsupported"),
        ({"provider": "anthropicCompatible", "api": "openai-responses"}, "api_unsupported"),
        ({"base_url": "127.0.0.1:8080"}, "url_invalid"),
        ({"base_url": "http://u:p@h/v1"}, "url_credentials"),
        ({"base_url": "http://inference.local/v1"}, "url_sandbox_name"),
        ({"base_url_sandbox": "http://h/v1?x"}, "url_invalid"),
        ({"base_url_sandbox": "http://u:p@h/v1"}, "url_credentials"),
    ],
)
def test_what_is_no_route(options: dict[str, Any], code: str) -> None:
    with pytest.raises(Failure) as failed:
        built(**options)
    assert failed.value.code == code


@pytest.mark.parametrize("api", ["openai-completions", "openai-responses"])
def test_openai_apis(api: str) -> None:
    assert built(api=api)["api"] == api


def test_anthropic() -> None:
    route = built(provider="ANTHROPICCOMPATIBLE", api="anthropic-messages", base_url="http://localhost:8080/v1")
    assert route["provider"] == "anthropicCompatible"
    assert route["credential_env"] == "COMPATIBLE_ANTHROPIC_API_KEY"
    assert route["base_url_host"] == "http://localhost:8080"


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("custom", "custom"),
        ("CUSTOM", "custom"),
        (" Custom\n", "custom"),
        ("anthropiccompatible", "anthropicCompatible"),
        ("nim-local", "nim"),
        ("NIM-Local", "nim"),
        ("nim", "nim"),
        ("Install-vLLM", "install-vllm"),
        *((name, name) for name in PROVIDERS),
    ],
)
def test_names_of_providers(written: str, canonical: str) -> None:
    assert canonical_provider(written) == canonical


@pytest.mark.parametrize("name", ["", "auto", "nimlocal", "open ai", "custom,ollama", "\x1b[2J"])
def test_a_name_that_is_none_gets_the_list(name: str) -> None:
    with pytest.raises(Failure) as failed:
        canonical_provider(name)
    assert failed.value.code == "provider_unknown"
    assert all(known in failed.value.message for known in PROVIDERS)
    assert failed.value.message.isprintable()
