# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module up to where it talks to a server; with real servers it is tested in tests/real."""

from __future__ import annotations

import json
from typing import Any, Callable

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint import expect
from ansible_collections.nemoclaw.local_inference.plugins.modules import endpoint_validate

RunModule = Callable[..., "tuple[int, dict[str, Any]]"]
# Nobody listens on the discard port of this host, and what does is no model server.
NOWHERE = "http://127.0.0.1:9/v1"
KEY = "canary-5f0c1a"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, "missing required arguments: base_url"),
        ({"base_url": NOWHERE, "api": "openai-chat"}, "value of api must be one of"),
        ({"base_url": NOWHERE, "timeout": "soon"}, "timeout"),
        ({"base_url": NOWHERE, "expect": [{"equals": 1}]}, "query"),
        ({"base_url": NOWHERE, "modell": "x"}, "Unsupported parameters"),
    ],
)
def test_arguments_that_are_wrong(run_module: RunModule, args: dict[str, Any], said: str) -> None:
    code, result = run_module(endpoint_validate, {**args, "api_key": KEY})
    assert (code, result["failed"]) == (1, True)
    assert said in result["msg"]
    assert KEY not in json.dumps(result)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"base_url": "localhost:8000"}, "url_invalid"),
        ({"base_url": "http://inference.local/v1"}, "url_sandbox_name"),
        ({"base_url": "http://169.254.169.254/v1"}, "address_refused"),
        ({"base_url": "http://2852039166/v1"}, "address_refused"),
        ({"base_url": NOWHERE, "api_key": f"{KEY}\u2019"}, "key_invalid"),
        ({"base_url": NOWHERE, "api_key": f"{KEY} {KEY}"}, "key_invalid"),
        ({"base_url": NOWHERE, "timeout": 0}, "timeout_invalid"),
        ({"base_url": NOWHERE, "timeout": -5}, "timeout_invalid"),
        ({"base_url": NOWHERE, "expect": [{"query": "api["}]}, "expect_invalid"),
        ({"base_url": "https://127.0.0.1:9/v1", "ca_path": "/nonexistent/ca.pem"}, "ca_unreadable"),
        ({"base_url": NOWHERE, "timeout": 5}, "connection_refused"),
    ],
)
def test_a_failure_has_a_code_a_sentence_and_the_rest_of_the_result(
    run_module: RunModule, args: dict[str, Any], code: str
) -> None:
    exit_code, result = run_module(endpoint_validate, {"api_key": KEY, **args})
    assert (exit_code, result["failed"]) == (1, True)
    assert result["failure"]["code"] == code
    assert result["failure"]["message"] == result["msg"]
    assert len(result["msg"]) > 40
    assert KEY not in json.dumps(result)
    assert {"api", "api_requested", "base_url", "model", "models", "probes", "tool_calling", "elapsed"} <= set(result)
    assert "exception" not in result


@pytest.mark.parametrize("url", [f"http://user:{KEY}@h/v1", f"user:{KEY}@h", f"http://h/v1?api_key={KEY}"])
def test_a_secret_in_the_url_is_nowhere_in_the_result(run_module: RunModule, url: str) -> None:
    code, result = run_module(endpoint_validate, {"base_url": url})
    assert (code, result["failure"]["code"]) in {(1, "url_credentials"), (1, "url_invalid")}
    assert KEY not in json.dumps(result), "the arguments and the base_url count too: -vvv shows them"


def test_a_placeholder_is_no_secret(run_module: RunModule) -> None:
    _code, result = run_module(endpoint_validate, {"base_url": "http://127.0.0.1:9/dummy/v1", "api_key": "dummy"})
    assert "http://127.0.0.1:9" in result["msg"]
    assert result["base_url"] == "http://127.0.0.1:9/dummy/v1"


def test_the_library_for_expect_is_missing(run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expect, "jmespath", None)
    code, result = run_module(endpoint_validate, {"base_url": NOWHERE, "expect": [{"query": "api"}]})
    assert (code, result["failure"]["code"]) == (1, "library_missing")
    assert "jmespath" in result["msg"]
    code, result = run_module(endpoint_validate, {"base_url": NOWHERE})
    assert result["failure"]["code"] == "connection_refused", "without expectations it is not needed"


def test_every_probe_that_was_not_reached_says_so(run_module: RunModule) -> None:
    _code, result = run_module(endpoint_validate, {"base_url": NOWHERE, "model": "m"})
    outcomes = [(probe["name"], probe["outcome"], probe["reason"] == "not reached") for probe in result["probes"]]
    assert outcomes == [
        ("models", "failed", False),
        *(
            (name, "skipped", True)
            for name in (
                "warm_up",
                "completion",
                "streaming",
                "tool_call",
                "tool_call_streamed",
                "second_turn",
                "context",
                "agent_tool_call",
                "agent_tool_call_streamed",
            )
        ),
    ]
    assert result["failure"]["probe"] == "models"
    assert result["probes"][0]["tries"] == 1


@pytest.mark.parametrize("base_url", [f"{NOWHERE}?api_key={KEY}", f"  {NOWHERE}?api_key={KEY}\n"])
def test_a_key_in_the_url_is_in_neither_the_result_nor_the_hosts_log(
    run_module: RunModule, monkeypatch: pytest.MonkeyPatch, base_url: str
) -> None:
    """Ansible writes the arguments to the log of the host before the module can refuse them."""
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda self, msg, log_args=None: logged.append(f"{msg} {log_args}"))
    code, result = run_module(endpoint_validate, {"base_url": base_url})
    assert (code, result["failure"]["code"]) == (1, "url_invalid")
    assert logged
    assert KEY not in f"{logged} {json.dumps(result)}"


def test_a_key_from_a_file_is_masked_without_its_line_end(run_module: RunModule) -> None:
    _code, result = run_module(
        endpoint_validate, {"base_url": NOWHERE, "model": KEY, "api_key": f"{KEY}\n", "timeout": 1}
    )
    assert KEY not in json.dumps(result)
    assert NOWHERE in json.dumps(result), "the URL itself is shown"
