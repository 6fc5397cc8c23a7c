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
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.check import Check, check_proxy
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.lines import render

TOKEN = "0123456789abcdef" * 3
Gate = Callable[[int], int]


def route(port: int, **changes: str) -> dict[str, Any]:
    return {"provider": "ollama", "base_url_sandbox": f"http://host.openshell.internal:{port}/v1", **changes}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / ".nemoclaw"
    folder.mkdir()
    (folder / "ollama-proxy-token").write_text(TOKEN + "\n")
    return tmp_path


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a function that serves a gate which answers with a status to the token, and returns its port."""
    servers = []

    def serve(status: int) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                right = self.headers.get("Authorization") == f"Bearer {TOKEN}" and self.path == "/api/tags"
                self.send_response(status if right else 401)
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield serve
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
def test_the_states_of_a_gate(home: Path, gate: Gate, status: int, state: str, code: str | None) -> None:
    port = gate(status)
    (check,) = check_proxy(route(port), str(home))
    assert (check.name, check.state, check.code) == ("auth_proxy", state, code)
    assert check.url == f"http://127.0.0.1:{port}/api/tags"


def test_a_gate_that_is_not_there(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (check,) = check_proxy(route(port), str(home))
    assert (check.state, check.code) == ("unreachable", "proxy_refused")


def test_a_damaged_token_is_said(home: Path, gate: Gate) -> None:
    (home / ".nemoclaw" / "ollama-proxy-token").write_text("")
    (check,) = check_proxy(route(gate(200)), str(home))
    assert (check.state, check.code) == ("unhealthy", "token_invalid")


@pytest.mark.parametrize(
    "changes",
    [
        {"provider": "custom"},
        {"provider": "start-windows-ollama"},
        {"base_url_sandbox": "http://host.docker.internal:11434/v1"},
    ],
)
def test_where_there_is_no_gate_none_is_looked_at(home: Path, changes: dict[str, str]) -> None:
    assert check_proxy(route(1, **changes), str(home)) == []


def test_without_a_token_there_is_no_gate(tmp_path: Path) -> None:
    assert check_proxy(route(1), str(tmp_path)) == []


def test_the_line_of_a_status() -> None:
    assert render(None, [Check("auth_proxy", "unauthorized", url="http://127.0.0.1:11435/api/tags", detail="why")]) == [
        "Inference (auth proxy): unauthorized (http://127.0.0.1:11435/api/tags)",
        "            why",
    ]
