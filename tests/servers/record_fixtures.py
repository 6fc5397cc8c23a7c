# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Record what the real llama.cpp server answers into tests/unit/fixtures/llama_cpp, for unit tests of the parsers.

Bodies are stored as they came, with random ids, times and speeds made constant so that a new recording shows real changes only.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from llama_server import Server, serving

TARGET = Path(__file__).resolve().parents[1] / "unit" / "fixtures" / "llama_cpp"
KEY = "fixture-key"
SCHEMA = {
    "type": "object",
    "properties": {"message": {"type": "string"}},
    "required": ["message"],
    "additionalProperties": False,
}
TOOL = {"name": "sessions_send", "description": "Send a message to a session."}
MESSAGES = [{"role": "user", "content": "Send the word hello to the current session."}]

CHAT = {"model": "scripted", "messages": MESSAGES, "temperature": 0, "max_tokens": 256}
CHAT_TOOLS = {
    **CHAT,
    "tools": [{"type": "function", "function": {**TOOL, "parameters": SCHEMA}}],
    "tool_choice": "auto",
}
RESPONSES = {"model": "scripted", "input": "Send the word hello.", "temperature": 0, "max_output_tokens": 256}
RESPONSES_TOOLS = {**RESPONSES, "tools": [{"type": "function", **TOOL, "parameters": SCHEMA}], "tool_choice": "auto"}
ANTHROPIC = {**CHAT, "max_tokens": 256}
ANTHROPIC_TOOLS = {**ANTHROPIC, "tools": [{**TOOL, "input_schema": SCHEMA}], "tool_choice": {"type": "auto"}}
LONG = [{"role": "user", "content": "~" * 40_000}]

# name of the fixture: behaviour of the model, path, body (None: GET), key
CASES: dict[str, tuple[str, str, dict[str, Any] | None, str]] = {
    "models": ("good", "/v1/models", None, KEY),
    "wrong_key": ("good", "/v1/models", None, "wrong"),
    "not_found": ("good", "/v1/nothing", None, KEY),
    "context_exceeded": ("good", "/v1/chat/completions", {**CHAT, "messages": LONG}, KEY),
    "no_messages": ("good", "/v1/chat/completions", {"model": "scripted"}, KEY),
    "chat": ("good", "/v1/chat/completions", CHAT, KEY),
    "chat_cut": ("good", "/v1/chat/completions", {**CHAT, "max_tokens": 2}, KEY),
    "chat_tools": ("good", "/v1/chat/completions", CHAT_TOOLS, KEY),
    "chat_tools_leaked": ("leaks", "/v1/chat/completions", CHAT_TOOLS, KEY),
    "chat_thinks": ("thinks_forever", "/v1/chat/completions", {**CHAT, "max_tokens": 16}, KEY),
    "chat_stream": ("good", "/v1/chat/completions", {**CHAT, "stream": True}, KEY),
    "chat_tools_stream": ("good", "/v1/chat/completions", {**CHAT_TOOLS, "stream": True}, KEY),
    "chat_thinks_stream": ("thinks_forever", "/v1/chat/completions", {**CHAT, "max_tokens": 6, "stream": True}, KEY),
    "responses": ("good", "/v1/responses", RESPONSES, KEY),
    "responses_tools": ("good", "/v1/responses", RESPONSES_TOOLS, KEY),
    "responses_thinks": ("thinks_forever", "/v1/responses", {**RESPONSES, "max_output_tokens": 16}, KEY),
    "responses_stream": ("good", "/v1/responses", {**RESPONSES, "stream": True}, KEY),
    "responses_tools_stream": ("good", "/v1/responses", {**RESPONSES_TOOLS, "stream": True}, KEY),
    "messages": ("good", "/v1/messages", ANTHROPIC, KEY),
    "messages_tools": ("good", "/v1/messages", ANTHROPIC_TOOLS, KEY),
    "messages_tools_leaked": ("leaks", "/v1/messages", ANTHROPIC_TOOLS, KEY),
    "messages_thinks": ("thinks_forever", "/v1/messages", {**ANTHROPIC, "max_tokens": 16}, KEY),
    "messages_stream": ("good", "/v1/messages", {**ANTHROPIC, "stream": True}, KEY),
    "messages_tools_stream": ("good", "/v1/messages", {**ANTHROPIC_TOOLS, "stream": True}, KEY),
}

# What differs from one recording to the next.
VOLATILE = (
    (re.compile(r"\b(chatcmpl-|resp_|msg_|fc_|call_|rs_)[A-Za-z0-9]{32}\b"), r"\g<1>0001"),
    (re.compile(r'"id":"[A-Za-z0-9]{32}"'), '"id":"call0001"'),
    (re.compile(r'"(created|created_at|completed_at)":\d+'), r'"\1":1700000000'),
    (re.compile(r',"timings":\{[^}]*\}'), ""),
)


def record(server: Server, path: str, body: dict[str, Any] | None, key: str) -> tuple[str, str]:
    """Return the content type and the body of one answer."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.root_url + path, data=data, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            content_type, text = answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        content_type, text = error.headers["Content-Type"], error.read().decode()
    for pattern, constant in VOLATILE:
        text = pattern.sub(constant, text)
    return content_type, text


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    for behaviour in sorted({case[0] for case in CASES.values()}):
        with serving(behaviour, api_key=KEY) as server:
            for name, (which, path, body, key) in CASES.items():
                if which == behaviour:
                    content_type, text = record(server, path, body, key)
                    suffix = "sse" if content_type.startswith("text/event-stream") else "json"
                    (TARGET / f"{name}.{suffix}").write_text(text.rstrip("\n") + "\n" * (1 + (suffix == "sse")))


if __name__ == "__main__":
    main()
