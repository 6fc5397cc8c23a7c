# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route's status as lines and as data; what servers answer is in tests/real."""

from __future__ import annotations

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.validate import Endpoint
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status import check, states
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.check import render

URL = "http://127.0.0.1:8080/v1"
ROUTE = build_route(provider="custom", base_url=URL, model="m", api="openai-completions", timeout=180)
RECORDED = check.Check(
    "route", states.HEALTHY, url="/home/lab/.nemoclaw/local-inference.json", detail="a route is recorded"
)


def test_a_healthy_route() -> None:
    checks = [
        RECORDED,
        check.Check("backend", states.HEALTHY, URL, "serves m"),
        check.Check("completion", states.HEALTHY, URL, "answered a question"),
    ]
    assert render(ROUTE, checks) == [
        "Provider:   Other OpenAI-compatible endpoint (compatible-endpoint)",
        "Model:      m over openai-completions",
        "Sandbox:    http://host.openshell.internal:8080/v1",
        f"Inference:  healthy ({URL})",
        f"Completion: healthy ({URL})",
    ]


def test_the_context_is_told_where_it_is_known() -> None:
    assert "Model:      m over openai-completions, context 32768 tokens" in render(
        {**ROUTE, "context_window": 32768}, []
    )


def test_what_is_wrong_has_a_second_line() -> None:
    checks = [
        RECORDED,
        check.Check("backend", states.UNREACHABLE, URL, "Nothing listens there.", "connection_refused"),
        check.Check("completion", states.NOT_PROBED, URL, "the server did not pass its own check"),
    ]
    assert render(ROUTE, checks)[3:] == [
        f"Inference:  unreachable ({URL})",
        "            Nothing listens there.",
        f"Completion: not probed ({URL})",
        "            the server did not pass its own check",
    ]


def test_no_route() -> None:
    missing = check.Check("route", states.NOT_CONFIGURED, "/home/lab/r.json", "There is no route record.")
    assert render(None, [missing]) == [
        "Route:      not configured (/home/lab/r.json)",
        "            There is no route record.",
    ]


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        (Endpoint("ftp://h/v1"), "url_invalid"),
        (Endpoint("http://u:p@h/v1"), "url_credentials"),
        (Endpoint(URL, api_key="k\u2019"), "key_invalid"),
        (Endpoint(URL, timeout=0), "timeout_invalid"),
        (Endpoint(URL, api="openai-chat"), "api_unsupported"),
    ],
)
def test_a_record_that_leads_nowhere_is_an_answer(endpoint: Endpoint, code: str) -> None:
    backend, completion = check.check_server(ROUTE, endpoint)
    assert (backend.state, backend.code) == (states.UNHEALTHY, code)
    assert completion.state == states.NOT_PROBED


def test_metadata_addresses_are_not_asked_even_when_they_are_recorded() -> None:
    backend, _completion = check.check_server(ROUTE, Endpoint("http://169.254.169.254/v1", timeout=5))
    assert (backend.state, backend.code, backend.latency) == (states.UNHEALTHY, "address_refused", backend.latency)


def test_a_check_as_data() -> None:
    assert check.Check("backend", states.HEALTHY, URL, "serves m", latency=0.123456).as_result() == {
        "name": "backend",
        "state": "healthy",
        "url": URL,
        "detail": "serves m",
        "code": None,
        "latency": 0.123,
    }
