# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What status says of gateways, by the real CLI of three releases."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import openshell_parts
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.clock import Deadline
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.validate import Endpoint
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import changes, lifecycle
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import look as openshell_look
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import route as openshell_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.provider import Desired as Provider
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.check import (
    Check,
    check_proxy,
    check_server,
    render,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.look import Wanted, check_gateway
from conftest import CHAT, KEY, Llama, make_sandbox

RECORD = {
    "provider_name": "ollama-local",
    "model": "qwen2.5:7b",
    "timeout": 180,
    "api": CHAT,
    "credential_env": "OPENAI_API_KEY",
}


def look(
    cli: OpenShell, endpoint: str | None, path: str | None = None, wanted: Wanted | None = None, **recorded: str
) -> list[Check]:
    environ = {"PATH": path or f"{Path(cli.path).parent}:{os.environ['PATH']}", "HOME": cli.account.home}
    if endpoint:
        environ["OPENSHELL_GATEWAY_ENDPOINT"] = endpoint
    return check_gateway(Machine(environ=environ), cli.account, {**RECORD, **recorded}, wanted or Wanted(), 20)


def test_the_route_of_the_gateway(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    def seen() -> tuple[str, str | None]:
        check = look(openshell, gateway.endpoint)[0]
        return check.state, check.code

    assert seen() == ("not configured", "gateway_route_missing")
    changes.ensure_provider(openshell, Provider("ollama-local", "openai", {"OPENAI_API_KEY": "dummy"}), False)
    changes.ensure_route(openshell, openshell_route.DesiredRoute("ollama-local", "qwen2.5:7b", 180), False)
    assert seen() == ("healthy", None)
    for changed in (
        openshell_route.DesiredRoute("ollama-local", "another", 180),
        openshell_route.DesiredRoute("ollama-local", "qwen2.5:7b", 60),
    ):
        changes.ensure_route(openshell, changed, False)
        (check,) = look(openshell, gateway.endpoint)
        assert (check.state, check.code) == ("differs", "gateway_route_differs")
        assert changed.model in check.detail
        assert f"{changed.timeout} s" in check.detail
        assert render(None, [check])[0] == "Inference (gateway): differs (https://inference.local)"


def test_what_a_sandbox_gets(openshell: OpenShell, gateway: openshell_parts.Gateway, llama: Llama, broken: str) -> None:
    def lead(address: str, key: str = KEY) -> None:
        config = {"OPENAI_BASE_URL": address.replace("127.0.0.1", "host.openshell.internal")}
        changes.ensure_provider(openshell, Provider("ollama-local", "openai", {"OPENAI_API_KEY": key}, config), False)

    def becomes(state: str, code: str | None) -> bool:
        """Look from inside the sandbox until its supervisor has read the provider again, which it does all the time."""
        deadline = Deadline(20)
        while deadline.remaining:
            _gateway, check = look(openshell, gateway.endpoint)
            if (check.state, check.code) == (state, code):
                lines.add(render(None, [check])[0])
                return True
        return False

    lines: set[str] = set()
    good = llama("good", api_key=KEY, alias="qwen2.5:7b").base_url
    lead(good)
    changes.ensure_route(openshell, openshell_route.DesiredRoute("ollama-local", "qwen2.5:7b", 180), False)
    assert becomes("not probed", None), "no sandbox, no question"
    make_sandbox(openshell, openshell_look.DesiredSandbox("bare", "lab/bare:1", timeout=20))
    assert becomes("not probed", "sandbox_command_missing"), "nor from one without curl"
    make_sandbox(openshell, openshell_look.DesiredSandbox("my-assistant", "lab/ready:1", timeout=20))
    assert becomes("not probed", "sandbox_command_missing"), "the first is asked, where none is named"
    for _gateway, check in (
        look(openshell, gateway.endpoint, wanted=Wanted(sandbox="my-assistant")),
        look(openshell, gateway.endpoint, sandbox="my-assistant"),
    ):
        assert (check.state, check.detail) == (
            "healthy",
            "answered a completion from inside my-assistant (tool calls are not asked here)",
        )
    _gateway, check = look(openshell, gateway.endpoint, sandbox="gone")
    assert (check.state, check.code) == ("unhealthy", "sandbox_not_ready")
    lifecycle.remove_sandbox(openshell, openshell_look.DesiredSandbox("bare", timeout=20), False)
    assert becomes("healthy", None)
    lead(good, key="another-key")
    assert becomes("unauthorized", "sandbox_key_refused")
    lead("http://127.0.0.1:9/v1")
    assert becomes("unreachable", "sandbox_upstream_down")
    lead(f"{broken}/status_500_always/v1")
    assert becomes("unhealthy", "server_error")
    assert len(lines) == 5


def test_a_gateway_that_is_down(openshell: OpenShell) -> None:
    (check,) = look(openshell, "http://127.0.0.1:9")
    assert (check.state, check.code) == ("unreachable", "openshell_gateway_down")


def test_a_gateway_of_another_release(gateway: openshell_parts.Gateway, open_cli: Any, openshell_home: Path) -> None:
    with openshell_parts.serving(gateway.release, openshell_home, reports="0.0.60") as other:
        (check,) = look(open_cli(gateway), other.endpoint)
    assert (check.state, check.code) == ("unhealthy", "openshell_release_mismatch")


def test_a_gateway_that_is_not_registered(openshell: OpenShell) -> None:
    (check,) = look(openshell, None)
    assert (check.state, check.code) == ("not probed", "openshell_gateway_unset")
    (check,) = look(openshell, None, gateway="nemoclaw")
    assert (check.state, check.code) == ("unhealthy", "openshell_gateway_unset")


class Gate(BaseHTTPRequestHandler):
    """Refuses everybody: whoever comes has another token."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        pass


def test_four_troubles_are_four_lines(openshell: OpenShell, gateway: openshell_parts.Gateway, tmp_path: Path) -> None:
    """A broken proxy, a wrong token, a stopped daemon and a dead route (issue 5)."""
    token = tmp_path / "token"
    token.write_text("0f" * 24, encoding="utf-8")
    daemon = "http://127.0.0.1:9/v1"
    wanted = build_route(provider="ollama", base_url=daemon, model="m", api=CHAT, timeout=180)
    with HTTPServer(("127.0.0.1", 0), Gate) as refusing:
        threading.Thread(target=refusing.serve_forever, args=[0.05], daemon=True).start()
        troubles = [
            check_proxy(
                {**wanted, "base_url_sandbox": f"http://host.openshell.internal:{port}/v1"},
                str(token),
                find_account(),
                find_account().name,
            )
            for port in (1, refusing.server_address[1])
        ]
        refusing.shutdown()
    troubles += [check_server(wanted, Endpoint(daemon, CHAT, None, 3))[:1], look(openshell, gateway.endpoint)]
    lines = [render(None, checks)[0].partition(" (http")[0] for checks in troubles]
    assert lines == [
        "Inference (auth proxy): unreachable",
        "Inference (auth proxy): unauthorized",
        "Inference:  unreachable",
        "Inference (gateway): not configured",
    ]
    assert len({check.code for (check,) in troubles}) == len(troubles)
