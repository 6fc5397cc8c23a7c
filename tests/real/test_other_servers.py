# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only servers do that cannot run here: Ollama, an older llama.cpp, a model whose reasoning stands in its text.

Doubles, each of one answer in the shape of that server; anything else that is asked of them gets 501.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import wire_formats
from conftest import prove

CALL = wire_formats.Answer(call=("sessions_send", '{"message": "hello"}'))


@contextmanager
def speaking(
    entry: dict[str, Any], text: wire_formats.Answer, call: wire_formats.Answer = CALL, **elsewhere: Any
) -> Iterator[str]:
    """Serve one model that says the text, or calls where tools are offered and none was called; GET /NAME gives elsewhere[NAME]."""
    pages = {"/v1/models": {"object": "list", "data": [entry]}}
    pages |= {f"/{name.replace('__', '/')}": content for name, content in elsewhere.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(200 if self.path in pages else 501, json.dumps(pages.get(self.path, {})).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            has_result = any(message["role"] == "tool" for message in body["messages"])
            answer = call if body.get("tools") and not has_result else text
            if self.path != "/v1/chat/completions":
                self.reply(501, b"{}")
            elif body["stream"]:
                self.reply(200, b"".join(wire_formats.chat_events(answer, body["model"])), "text/event-stream")
            else:
                self.reply(200, json.dumps(wire_formats.chat(answer, body["model"])).encode())

        def reply(self, status: int, content: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()


OK = wire_formats.Answer(text="OK, here I am.")
OLLAMA = {"id": "qwen3:latest", "object": "model", "owned_by": "library"}
LLAMA_CPP = {"id": "m", "object": "model", "owned_by": "llamacpp", "meta": {"n_ctx_train": 131072}}


@pytest.mark.parametrize(
    ("entry", "elsewhere", "window"),
    [
        (LLAMA_CPP, {"props": {"default_generation_settings": {"n_ctx": 20480}}}, 20480),
        (LLAMA_CPP, {"props": {"default_generation_settings": None}}, None),
        (LLAMA_CPP, {"props": {"error": "This endpoint is disabled"}}, None),
        (LLAMA_CPP, {}, None),
        (OLLAMA, {"api__ps": {"models": [{"name": "qwen3:latest", "context_length": 32768}]}}, 32768),
        (OLLAMA, {"api__ps": {"models": []}}, None),
        ({"id": "m", "owned_by": "somebody"}, {"props": {"default_generation_settings": {"n_ctx": 1}}}, None),
    ],
)
def test_context_that_stands_elsewhere(entry: dict[str, Any], elsewhere: dict[str, Any], window: int | None) -> None:
    with speaking(entry, OK, **elsewhere) as base_url:
        outcome = prove(base_url, model=entry["id"], timeout=10)
    assert (outcome.code, outcome.result["context_window"]) == (None, window), outcome.message
    assert outcome.probe("context")["outcome"] == ("skipped" if window is None else "passed")


def test_ollama_without_its_tag() -> None:
    ps = {"models": [{"name": "qwen3:latest", "model": "qwen3:latest", "context_length": 32768}]}
    with speaking(OLLAMA, OK, api__ps=ps) as base_url:
        outcome = prove(base_url, model="qwen3", timeout=10)
    assert (outcome.code, outcome.result["model"], outcome.result["context_window"]) == (None, "qwen3", 32768)


def test_reasoning_inside_the_text_is_a_warning() -> None:
    thinking = replace(OK, text="<think>They want OK.</think>OK, here I am.")
    with speaking(LLAMA_CPP, thinking) as base_url:
        outcome = prove(base_url, model="m", timeout=10)
    assert outcome.code is None
    assert any("reasoning parser" in warning for warning in outcome.warnings)


def test_a_call_beside_reasoning_inside_the_text() -> None:
    call = replace(CALL, text='<think>I call {"name": "sessions_send", "arguments": {}}.</think>')
    with speaking(LLAMA_CPP, OK, call) as base_url:
        assert prove(base_url, model="m", timeout=10).result["tool_calling"] == "structured"
