# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What status says of real servers."""

from __future__ import annotations

import json
import time

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.validate import Endpoint
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status import check
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.check import render
from conftest import APIS, CHAT, KEY, MESSAGES, Llama, url


def look(
    base_url: str, api: str = CHAT, model: str = "scripted", key: str | None = KEY, timeout: float = 10
) -> list[check.Check]:
    """Return the checks of a route to a server; they come in time and hold no key."""
    provider = "anthropicCompatible" if api == MESSAGES else "custom"
    route = build_route(provider=provider, base_url=base_url, model=model, api=api, timeout=180)
    started = time.monotonic()
    checks = check.check_server(route, Endpoint(base_url, api, key, timeout))
    assert time.monotonic() - started <= timeout + 1
    assert KEY not in json.dumps([one.as_result() for one in checks])
    assert KEY not in "\n".join(render(route, checks))
    return checks


@pytest.mark.parametrize("api", APIS)
def test_healthy(llama: Llama, api: str) -> None:
    backend, completion = look(url(llama("good"), api), api)
    assert (backend.state, backend.detail, backend.code) == ("healthy", "serves scripted", None)
    assert (completion.state, completion.detail, completion.code) == (
        "healthy",
        "answered a completion (tool calls are not asked here)",
        None,
    )
    assert backend.latency is not None
    assert completion.latency is not None


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("key", ["wrong", None])
def test_unauthorized(llama: Llama, api: str, key: str | None) -> None:
    backend, completion = look(url(llama("good"), api), api, key=key)
    assert (backend.state, backend.code) == ("unauthorized", "auth_failed")
    assert (completion.state, completion.latency) == ("not probed", None)


def test_another_model_is_served_now(llama: Llama) -> None:
    backend, _completion = look(llama("good").base_url, model="the-one-before")
    assert (backend.state, backend.code) == ("unhealthy", "model_not_served")
    assert "scripted" in backend.detail


@pytest.mark.parametrize("api", APIS)
def test_a_model_that_says_nothing(llama: Llama, api: str) -> None:
    backend, completion = look(url(llama("empty"), api), api)
    assert (backend.state, completion.state, completion.code) == ("healthy", "unhealthy", "empty_answer")


def test_a_model_that_thinks_is_healthy(llama: Llama) -> None:
    assert [one.state for one in look(llama("thinks").base_url, timeout=30)] == ["healthy", "healthy"]


@pytest.mark.parametrize(
    ("behaviour", "states", "code"),
    [
        ("html", ["unhealthy", "not probed"], "not_json"),
        ("wrong_json", ["unhealthy", "not probed"], "wrong_shape"),
        ("not_http", ["unhealthy", "not probed"], "not_http"),
        ("silent", ["unreachable", "not probed"], "timeout"),
        ("hang_up", ["unhealthy", "not probed"], "connection_lost"),
        ("key_echo", ["unauthorized", "not probed"], "auth_failed"),
        ("status_500_always", ["unhealthy", "not probed"], "server_error"),
        ("redirect", ["unhealthy", "not probed"], "redirected"),
        ("error_in_200", ["healthy", "unhealthy"], "error_in_answer"),
        ("silent_chat", ["healthy", "unreachable"], "timeout"),
        ("no_models", ["healthy", "healthy"], None),
        ("leak", ["healthy", "healthy"], None),
    ],
)
def test_what_is_wrong_has_a_state_and_a_code(broken: str, behaviour: str, states: list[str], code: str | None) -> None:
    checks = look(f"{broken}/{behaviour}~status/v1", timeout=3)
    assert [one.state for one in checks] == states
    assert next((one.code for one in checks if one.code), None) == code
    assert all(one.detail for one in checks)


def test_a_server_that_is_gone(llama: Llama) -> None:
    backend, _completion = look("http://127.0.0.1:9/v1", timeout=3)
    assert (backend.state, backend.code) == ("unreachable", "connection_refused")
