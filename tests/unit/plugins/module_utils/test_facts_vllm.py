# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what listens on vLLM's port is vLLM. The answers are recorded ones of each server, cut to what matters."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.facts import find_vllm

VLLM = {
    "object": "list",
    "data": [{"id": "Qwen/Qwen3-8B", "owned_by": "vllm", "root": "Qwen/Qwen3-8B", "max_model_len": 40960}],
}
LLAMA = {"object": "list", "data": [{"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx": 4096}}]}
OLLAMA = {"object": "list", "data": [{"id": "qwen2.5:7b", "owned_by": "library"}]}

Serve = Callable[[dict[str, Any]], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that answers paths with a status or with JSON, and gives the port."""
    servers = []

    def start(answers: dict[str, Any]) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answers.get(self.path, 404)
                body = b"<html>" if isinstance(answer, int) else json.dumps(answer).encode()
                self.send_response(answer if isinstance(answer, int) else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        servers.append(server)
        return server.server_address[1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_vllm(serve: Serve) -> None:
    port = serve({"/v1/models": VLLM})
    assert find_vllm(port) == {
        "running": True,
        "port": port,
        "models": ["Qwen/Qwen3-8B"],
        "model": "Qwen/Qwen3-8B",
        "context_window": 40960,
        "problem": None,
    }


def test_vllm_with_a_key(serve: Serve) -> None:
    found = find_vllm(serve({"/v1/models": 401, "/version": {"version": "0.14.0"}}))
    assert (found["running"], found["models"], found["problem"]) == (True, [], None)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"/v1/models": LLAMA}, "llamacpp"),
        ({"/v1/models": OLLAMA}, "library"),
        ({"/v1/models": {"data": []}}, "nobody"),
        ({"/v1/models": {"data": [{"id": "m"}]}}, "None"),
        ({"/v1/models": 401}, "401"),
        ({"/v1/models": 401, "/version": {"error": "x"}}, "401"),
        ({}, "404"),
        ({"/v1/models": []}, "not a JSON object"),
    ],
)
def test_what_is_not_vllm_is_not_mistaken_for_it(serve: Serve, answers: dict[str, Any], said: str) -> None:
    found = find_vllm(serve(answers))
    assert not found["running"]
    assert said in found["problem"]


def test_nobody_there(serve: Serve) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_address[1]
    found = find_vllm(port)
    assert (found["running"], found["problem"]) == (False, None)
