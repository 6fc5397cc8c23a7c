# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which path leads the sandboxes of a host, and which credential opens the server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.route import Desired
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.sandbox_route import backends
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.sandbox_route.backends import (
    is_gated,
    summary,
    why_absent,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.sandbox_route.transaction import check_route

LOCAL = "http://127.0.0.1:11434/v1"


def route(provider: str, sandbox_port: int) -> dict[str, Any]:
    inside = f"http://host.openshell.internal:{sandbox_port}/v1"
    return build_route(
        provider=provider, base_url=LOCAL, base_url_sandbox=inside, model="m", api="openai-completions", timeout=180
    )


@pytest.mark.parametrize(
    ("found", "gated"),
    [
        (route("ollama", 11435), True),
        (route("ollama", 11434), False),
        (route("install-vllm", 8001), True),
        (route("custom", 11435), False),
        ({}, False),
    ],
)
def test_the_token_is_the_credential_behind_the_auth_proxy(found: dict[str, Any], gated: bool) -> None:
    assert is_gated(found) is gated


@pytest.mark.parametrize(
    ("code", "never_used", "absent"),
    [
        ("openshell_missing", False, True),
        ("openshell_gateway_unset", True, True),
        ("openshell_gateway_unset", False, False),
        ("openshell_gateway_down", True, False),
        ("openshell_too_old", True, False),
    ],
)
def test_a_gateway_that_does_not_answer_is_no_absent_one(code: str, never_used: bool, absent: bool) -> None:
    why = why_absent(Failure(code, "It said so."), never_used=never_used)
    assert (why is not None) is absent
    assert why is None or why.startswith("No sandbox was created")


def test_what_a_user_reads() -> None:
    proved = {
        "sandboxes": ["theirs"],
        "sandbox": "mine",
        "way": "route",
        "proved": True,
        "proof": {"sandbox": "mine", "tool_calling": "structured"},
    }
    assert summary(route("custom", 1), proved) == (
        "https://inference.local routes to m at http://host.openshell.internal:1/v1, for theirs, mine. Proved from inside mine: an answer, "
        "and a tool call that is structured."
    )
    unproved = {"sandboxes": [], "sandbox": None, "way": "route", "proved": False, "proof": {}}
    assert "It has none yet: sandbox_name creates one. Not proved" in summary(route("custom", 1), unproved)
    attached = {
        **proved,
        "sandboxes": [],
        "way": "attachment",
        "environment": {"OPENAI_BASE_URL": "http://host.openshell.internal:1/v1"},
    }
    assert summary(route("custom", 1), attached) == (
        "compatible-endpoint is attached to mine. Proved from inside mine: an answer, and a tool call that is structured. OpenShell 0.1 "
        "sets neither model nor timeout: the agent's own configuration needs OPENAI_BASE_URL=http://host.openshell.internal:1/v1, the key "
        "from $COMPATIBLE_API_KEY, the model m and 180 s for a request."
    )


def test_a_route_that_went_through_hands() -> None:
    whole = {**route("install-vllm", 8001), "origin": "managed", "container": "c", "gateway": "g", "sandbox": "s"}
    assert check_route(whole) == {**whole, "gateway": None, "sandbox": None}
    with pytest.raises(Failure, match="lacks model, api") as caught:
        check_route({**whole, "model": "", "api": None})
    assert caught.value.code == "route_incomplete"


def test_numbers_that_became_texts_are_numbers() -> None:
    """As those of -e and of templates; a module's option of type dict makes nothing of its values."""
    given = {**route("ollama", 11435), "timeout": "90", "context_window": "4096"}
    assert (check_route(given)["timeout"], check_route(given)["context_window"]) == (90, 4096)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"timeout": "soon"}, "timeout 'soon'"),
        ({"timeout": [1]}, "not a whole number"),
        ({"model": 70}, "model in a form other than text"),
    ],
)
def test_a_route_with_values_of_other_types(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Failure, match=said) as caught:
        check_route({**route("ollama", 11435), **change})
    assert caught.value.code == "route_incomplete"


@pytest.mark.parametrize(
    ("recorded", "asked"),
    [
        ({"sandbox": "dev", "gateway": "nemoclaw"}, "dev"),
        ({"sandbox": "dev", "gateway": "openshell"}, "my-assistant"),
        ({}, "my-assistant"),
    ],
)
def test_the_provider_is_that_of_the_sandbox_that_nemoclaw_leads(
    monkeypatch: pytest.MonkeyPatch, recorded: dict[str, str], asked: str
) -> None:
    """The record may name one on another gateway, from before NemoClaw was installed."""
    monkeypatch.setattr(backends, "find_nemoclaw", lambda *_host: None)
    monkeypatch.setattr(backends, "routed", lambda _nemoclaw, sandbox, _route: {"for": sandbox})
    desired = replace(Desired(route("ollama", 11435), "key"), recorded=recorded)
    assert backends.by_its_provider("nemoclaw", Machine(), find_account(), desired).route == {"for": asked}
