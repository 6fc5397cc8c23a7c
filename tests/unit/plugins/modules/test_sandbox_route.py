# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module asks of a host, and when. What the transaction does is in tests/real, with OpenShell's own program."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible.module_utils.common.parameters import PASS_VARS
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.records import NemoClaw
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.gateway_route import Proof
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.route import Desired, Plan
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.sandbox_route import backends
from ansible_collections.nemoclaw.local_inference.plugins.modules import sandbox_route

RunModule = Callable[..., tuple[int, dict[str, Any]]]
ROUTE = {
    "provider": "ollama",
    "base_url_host": "http://127.0.0.1:11434/v1",
    "base_url_sandbox": "http://127.0.0.1:11435/v1",
    "model": "m",
    "api": "openai-completions",
    "timeout": "90",
}


@pytest.fixture
def args(tmp_path: Path) -> dict[str, Any]:
    return {
        "path": str(tmp_path / "route.json"),
        "token_path": str(tmp_path / "token"),
        "jobs_path": str(tmp_path / "jobs"),
    }


class Slow:
    """A backend whose work takes longer than one call."""

    gateway, sandbox, way, restart = "lab", None, "route", ""
    environment: dict[str, str] = {}
    others: tuple[str, ...] = ()

    def position(self) -> None:
        return None

    def plan(self, _previous: object) -> Plan:
        return Plan(["lead"])

    def prove(self) -> Proof:
        return Proof("mine", "structured")

    def route(self) -> None:
        time.sleep(1)

    def __getattr__(self, _step: str) -> Any:
        return lambda *_arguments: None


def test_only_the_first_call_asks_the_gateway(
    run_module: RunModule, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker alone may say what became of the previous route where the gateway goes down meanwhile."""
    monkeypatch.setattr(backends, "has_nemoclaw", lambda *_host: False)
    monkeypatch.setattr(backends, "choose", lambda *_options: ("openshell", Slow(), ""))
    route = {**ROUTE, "base_url_sandbox": ROUTE["base_url_host"]}
    assert not run_module(sandbox_route, {**args, "route": route, "wait": 0})[1]["finished"]

    def down(*_options: object) -> None:
        raise Failure("openshell_gateway_down", "The gateway does not answer.")

    monkeypatch.setattr(backends, "choose", down)
    code, result = run_module(sandbox_route, {**args, "route": route, "wait": 20})
    assert (code, result["finished"], result["proved"]) == (0, True, True)


def test_a_route_that_is_only_recorded_needs_no_token(
    run_module: RunModule, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a token file that only proxy_token_path names."""
    given = {**args, "route": ROUTE, "behind_gate": True, "backend": "none"}
    code, result = run_module(sandbox_route, given)
    assert (code, result["changed"], result["route"]["timeout"]) == (0, True, 90)
    monkeypatch.setattr(backends, "has_nemoclaw", lambda *_host: False)
    monkeypatch.setattr(backends, "choose", lambda *_options: ("openshell", Slow(), ""))
    code, result = run_module(sandbox_route, {**given, "backend": "openshell"})
    assert (code, result["failure"]["code"]) == (1, "token_missing")


TOKENS = {"": "a" * 48, ".previous": "b" * 48}


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({}, TOKENS[""]),
        ({"token_changes": True}, TOKENS[""]),
        ({"_ansible_check_mode": True}, TOKENS[""]),
        # The run will find another one, which nobody has made yet.
        ({"_ansible_check_mode": True, "token_changes": True}, "token-still-to-be-made"),
    ],
)
def test_which_token_a_rotation_gives(
    run_module: RunModule,
    args: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    given: str,
) -> None:
    for suffix, token in TOKENS.items():
        Path(args["token_path"] + suffix).write_text(f"{token}\n", encoding="utf-8")
    recorded = {**ROUTE, "provider_name": "ollama-local", "timeout": 90}
    monkeypatch.setattr(sandbox_route, "_recorded", lambda _path: recorded)

    def rotate(
        _wanted: str, _machine: object, _account: object, desired: Desired, _check_mode: bool, previous: str
    ) -> dict[str, Any]:
        assert (desired.credential, previous) == (given, TOKENS[".previous"])
        return {"changed": False, "warnings": [], "summary": [desired.credential, previous]}

    monkeypatch.setattr(backends, "rotate", rotate)
    code, result = run_module(sandbox_route, {**args, "state": "rotated", **options})
    assert code == 0
    assert not any(token in json.dumps(result) for token in TOKENS.values())


@pytest.mark.parametrize("check_mode", [False, True])
def test_an_uninstall_without_a_record_leaves_nemoclaw_alone(
    run_module: RunModule, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    """As the second one on a host, and one on a host that has NemoClaw and never had a route."""
    monkeypatch.setattr(backends, "has_nemoclaw", lambda *_host: True)
    monkeypatch.setattr(backends, "find_nemoclaw", lambda machine, account: NemoClaw(machine, account, "/nowhere"))
    code, result = run_module(sandbox_route, {**args, "state": "absent", "_ansible_check_mode": check_mode})
    assert (code, result["changed"], result["backend"]) == (0, False, "nemoclaw")
    assert "NemoClaw's gateway was left unchanged" in result["summary"][0]


def test_an_uninstall_ends_the_worker_of_a_play_that_was_broken_off(
    run_module: RunModule, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else that one would lead the sandboxes to the server, and record it, after the uninstall."""
    monkeypatch.setattr(backends, "has_nemoclaw", lambda *_host: False)
    monkeypatch.setattr(backends, "choose", lambda *_options: ("openshell", Slow(), ""))
    route = {**ROUTE, "base_url_sandbox": ROUTE["base_url_host"]}
    assert not run_module(sandbox_route, {**args, "route": route, "wait": 0})[1]["finished"]
    assert run_module(sandbox_route, {**args, "state": "absent"})[0] == 0
    time.sleep(1.5)
    assert not Path(args["path"]).exists()


@pytest.mark.parametrize("field", ["base_url_host", "base_url_sandbox"])
@pytest.mark.parametrize(
    "address", ["http://lab:canary@server/v1", "http://server/v1?key=canary", "http://server/v1#canary"]
)
def test_a_secret_in_an_address_is_not_shown(
    run_module: RunModule, args: dict[str, Any], field: str, address: str
) -> None:
    # ansible-core 2.21 sends the arguments back only on request, 2.19 always.
    asked = {"_ansible_inject_invocation": True} if "inject_invocation" in PASS_VARS else {}
    code, result = run_module(sandbox_route, {**args, **asked, "route": {**ROUTE, field: address}, "backend": "none"})
    assert (code, result["failure"]["code"][:4]) == (1, "url_")
    assert result["invocation"]["module_args"]["route"]["model"] == "m"
    assert "canary" not in json.dumps(result)
