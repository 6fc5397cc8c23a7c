# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of the gate, against real HTTP on this host."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Callable, Protocol

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.configuration import REALM
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.check import (
    Check,
    check_exposure,
    check_proxy,
    render,
)

TOKEN = "0123456789abcdef" * 3


class Gate(Protocol):
    """Serves a gate and returns its port; C(seen) holds the Authorization headers that any of them got."""

    seen: list[str]

    def __call__(self, status: int, path: str = "/api/tags") -> int: ...


def route(port: int, **changes: str) -> dict[str, Any]:
    return {
        "provider": "ollama",
        "base_url_host": "http://127.0.0.1:11434/v1",
        "base_url_sandbox": f"http://host.openshell.internal:{port}/v1",
        **changes,
    }


def look(route: dict[str, Any], token: Path) -> list[Check]:
    # The servers of this file are the gates: as if the gate's account were that of the tests.
    return check_proxy(route, str(token), find_account(), find_account().name)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "ollama-proxy-token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a function that serves a gate which answers with a status to the token, and returns its port."""
    servers = []

    seen: list[str] = []

    def serve(status: int, path: str = "/api/tags") -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(self.headers.get("Authorization", ""))
                right = self.headers.get("Authorization") == f"Bearer {TOKEN}" and self.path == path
                self.send_response(status if right else 401)
                if not right:
                    self.send_header("WWW-Authenticate", f'Bearer realm="{REALM}"')
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    serve.seen = seen  # type: ignore[attr-defined]
    yield serve  # type: ignore[misc]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "state", "code"),
    [
        (200, "healthy", None),
        (401, "unauthorized", "token_rejected"),
        (502, "unhealthy", "backend_down"),
        (500, "unhealthy", "server_error"),
        (404, "unhealthy", "server_error"),
    ],
)
def test_the_states_of_a_gate(token: Path, gate: Gate, status: int, state: str, code: str | None) -> None:
    port = gate(status)
    (check,) = look(route(port), token)
    assert (check.name, check.state, check.code) == ("auth_proxy", state, code)
    assert check.url == f"http://127.0.0.1:{port}/api/tags"
    # The table of all hosts has it without the line above, which names the address.
    assert state == "healthy" or check.detail.startswith(f"Asked the auth proxy at {check.url}, ")
    assert state == "healthy" or check.detail.count(". ") >= 1, "no remedy"


@pytest.mark.parametrize("provider", ["ollama", "vllm"])
def test_whoever_else_holds_the_port_does_not_get_to_see_the_token(token: Path, gate: Gate, provider: str) -> None:
    """It refuses strangers as the gate does, and would take the token: 0.1.0 sent it and called it healthy."""
    path = "/api/tags" if provider == "ollama" else "/v1/models"
    port = gate(200, path)
    wanted = route(port, provider=provider)
    (check,) = check_proxy(wanted, str(token), find_account())
    assert (check.state, check.code) == ("unhealthy", "proxy_impostor")
    assert find_account().name in check.detail
    assert not any(TOKEN in seen for seen in gate.seen)


@pytest.mark.parametrize("provider", ["vllm", "install-vllm", "nim"])
def test_the_gate_before_another_server_is_asked_for_its_models(token: Path, gate: Gate, provider: str) -> None:
    """Such a gate passes on what agents need alone, and that is no path of Ollama's."""
    port = gate(200, "/v1/models")
    changes = {"provider": provider, "base_url_host": "http://127.0.0.1:8000/v1"}
    (check,) = look(route(port, **changes), token)
    assert (check.state, check.url) == ("healthy", f"http://127.0.0.1:{port}/v1/models")
    (check,) = look(route(gate(502, "/v1/models"), **changes), token)
    assert (check.state, check.code) == ("unhealthy", "backend_down")


def test_a_gate_that_is_not_there(token: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (check,) = look(route(port), token)
    assert (check.state, check.code) == ("unreachable", "proxy_refused")
    assert check.detail.startswith(
        f"Asked the auth proxy at http://127.0.0.1:{port}/api/tags, but nothing listens there. Start "
    )


def test_a_damaged_token_is_said(token: Path, gate: Gate) -> None:
    token.write_text("")
    (check,) = look(route(gate(200)), token)
    assert (check.state, check.code) == ("unhealthy", "token_invalid")


def test_a_token_that_is_gone_is_said(tmp_path: Path, gate: Gate) -> None:
    (check,) = look(route(gate(200)), tmp_path / "none")
    assert (check.state, check.code) == ("unhealthy", "token_missing")
    assert str(tmp_path / "none") in check.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"provider": "custom"},
        {"provider": "anthropicCompatible"},
        {
            "provider": "start-windows-ollama",
            "base_url_host": "http://172.20.0.1:11434/v1",
            "base_url_sandbox": "http://host.docker.internal:11434/v1",
        },
        {"base_url_sandbox": "http://host.docker.internal:11434/v1"},
        {"provider": "vllm", "base_url_host": "http://127.0.0.1:1/v1"},
        {"provider": "vllm", "base_url_host": "http://gpu/v1", "base_url_sandbox": "http://gpu:80/v1"},
    ],
)
def test_where_there_is_no_gate_none_is_looked_at(token: Path, changes: dict[str, str]) -> None:
    assert look(route(1, **changes), token) == []


@pytest.fixture
def listening() -> Iterator[Callable[[str], int]]:
    """Return a function that listens on an address and returns the port."""
    listeners: list[socket.socket] = []

    def listen(address: str) -> int:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            listeners.append(socket.create_server((address, 0), family=family))
        except OSError:  # a container without a network has no ::1: the other loopback stands for it
            assert address == "::1"
            listeners.append(socket.create_server(("127.0.0.1", 0)))
        return int(listeners[-1].getsockname()[1])

    yield listen
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize(
    ("address", "changes", "open_"),
    [
        ("127.0.0.1", {}, False),
        ("0.0.0.0", {}, True),
        ("::", {}, True),
        ("::1", {}, False),
        ("0.0.0.0", {"provider": "vllm"}, True),
        ("::", {"provider": "nim"}, True),
        ("0.0.0.0", {"provider": "custom"}, False),
        # Without a gate the sandboxes come to the server itself.
        ("0.0.0.0", {"provider": "install-vllm", "origin": "managed", "base_url_sandbox": None}, True),
        ("0.0.0.0", {"provider": "vllm", "origin": "external", "base_url_sandbox": None}, False),
    ],
)
def test_a_server_that_left_loopback_is_said(
    listening: Callable[[str], int], address: str, changes: dict[str, Any], open_: bool
) -> None:
    """0.1.0 called it healthy: the gate was, and nobody looked beside it."""
    port = listening(address)
    wanted = {**route(1), "api": "openai-completions", "base_url_host": f"http://127.0.0.1:{port}/v1", **changes}
    wanted["base_url_sandbox"] = wanted["base_url_sandbox"] or f"http://host.openshell.internal:{port}/v1"
    found = check_exposure(Machine(), wanted)
    assert [check.code for check in found] == (["engine_exposed"] if open_ else [])
    if open_:
        assert f"listens on {address}" in found[0].detail
        assert find_account().name in found[0].detail


def test_the_line_of_a_status() -> None:
    assert render(None, [Check("auth_proxy", "unauthorized", url="http://127.0.0.1:11435/api/tags", detail="why")]) == [
        "Inference (auth proxy): unauthorized (http://127.0.0.1:11435/api/tags)",
        "            why",
    ]
