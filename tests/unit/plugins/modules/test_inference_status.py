# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module up to where it talks to a server; with real servers it is tested in tests/real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.write import render
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status import look
from ansible_collections.nemoclaw.local_inference.plugins.modules import inference_status

RunModule = Callable[..., "tuple[int, dict[str, Any]]"]
# Nobody listens on the discard port of this host, and what does is no model server.
ROUTE = build_route(
    provider="custom", base_url="http://127.0.0.1:9/v1", model="m", api="openai-completions", timeout=180
)
KEY = "canary-5f0c1a"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "route.json"


def states(result: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(check["name"], check["state"], check["code"]) for check in result["checks"]]


def test_no_route_is_an_answer(run_module: RunModule, path: Path) -> None:
    code, result = run_module(inference_status, {"path": str(path)})
    assert (code, result["changed"], result["healthy"], result["route"]) == (0, False, False, None)
    assert states(result) == [("route", "not configured", "route_not_recorded")]
    assert str(path) in result["lines"][0]
    assert "nemoclaw.local_inference.site" in result["lines"][1]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"schema": 1}', json.dumps({"schema": 1, **ROUTE, "api": None})]
)
def test_a_record_that_cannot_be_read_is_an_answer(run_module: RunModule, path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
    code, result = run_module(inference_status, {"path": str(path)})
    assert (code, result["healthy"]) == (0, False)
    assert states(result) == [("route", "unhealthy", "route_record_unreadable")]


def test_a_switch_that_was_broken_off_is_said(run_module: RunModule, path: Path) -> None:
    left = [
        {"provider": "install-vllm", "model": "v", "container": "nemoclaw-vllm"},
        {"provider": "ollama", "model": "o"},
    ]
    path.write_text(render({**ROUTE, "to_free": left}), encoding="utf-8")
    _code, result = run_module(inference_status, {"path": str(path), "timeout": 5, "openshell": False})
    assert "Previous:   nemoclaw-vllm, o, in GPU memory until the next run of site" in result["lines"]


@pytest.mark.parametrize("sandboxes", [{"openshell": False}, {"backend": "none"}])
def test_a_server_that_is_gone_is_an_answer(run_module: RunModule, path: Path, sandboxes: dict[str, Any]) -> None:
    path.write_text(render(ROUTE), encoding="utf-8")
    code, result = run_module(inference_status, {"path": str(path), "timeout": 5, **sandboxes})
    assert (code, result["healthy"], result["route"]) == (0, False, ROUTE)
    assert states(result) == [
        ("route", "healthy", None),
        ("backend", "unreachable", "connection_refused"),
        ("completion", "not probed", None),
    ]


def test_windows_is_asked_where_it_is_today(run_module: RunModule, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = "http://host.docker.internal:11434/v1"
    path.write_text(render({**ROUTE, "base_url_host": recorded}), encoding="utf-8")
    monkeypatch.setattr(look, "reach_windows", lambda _machine, url: {recorded: "http://127.0.0.1:9/v1"}[url])
    result = run_module(inference_status, {"path": str(path), "timeout": 5, "openshell": False})[1]
    assert result["checks"][1]["url"] == "http://127.0.0.1:9/v1"
    assert result["checks"][1]["code"] == "connection_refused"


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("base_url_host", "http://169.254.169.254/v1", "address_refused"),
        ("base_url_host", "nonsense", "url_invalid"),
        ("base_url_host", "http://[nonsense/v1", "url_invalid"),
        ("api", "openai-chat", "api_unsupported"),
    ],
)
def test_a_record_with_nonsense_in_it_is_an_answer(
    run_module: RunModule, path: Path, field: str, value: str, code: str
) -> None:
    path.write_text(render({**ROUTE, field: value}), encoding="utf-8")
    exit_code, result = run_module(inference_status, {"path": str(path), "timeout": 5})
    assert (exit_code, result["healthy"]) == (0, False)
    assert states(result)[1] == ("backend", "unhealthy", code)


@pytest.mark.parametrize(
    "args",
    [
        {"api_key": f"{KEY}\u2019"},
        {"credentials": {"COMPATIBLE_API_KEY": f"{KEY}\u2019"}},
    ],
)
def test_a_key_that_cannot_be_sent_is_an_answer_without_the_key(
    run_module: RunModule, path: Path, args: dict[str, Any]
) -> None:
    path.write_text(render(ROUTE), encoding="utf-8")
    code, result = run_module(inference_status, {"path": str(path), **args})
    assert (code, states(result)[1]) == (0, ("backend", "unhealthy", "key_invalid"))
    assert KEY not in json.dumps(result)


@pytest.mark.parametrize("value", [12345, True, "", None])
def test_a_credential_that_yaml_took_for_something_else(run_module: RunModule, path: Path, value: Any) -> None:
    path.write_text(render(ROUTE), encoding="utf-8")
    args = {"path": str(path), "timeout": 5, "credentials": {"COMPATIBLE_API_KEY": value, "OTHER": KEY}}
    code, result = run_module(inference_status, args)
    assert (code, states(result)[1]) == (0, ("backend", "unreachable", "connection_refused"))
    assert KEY not in json.dumps(result)
