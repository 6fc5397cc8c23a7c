# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The Anthropic Messages API (nemoclaw-facts 9), with the streaming and the tools that NemoClaw leaves out."""

from __future__ import annotations

from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.answer import Answer, ToolCall
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.apis.dialect import (
    Dialect,
    Question,
    text_of,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.sse import Event
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.untrusted import object_of

API_VERSION = "2023-06-01"


class AnthropicMessages(Dialect):
    """C(POST BASE/v1/messages)."""

    name = "anthropic-messages"
    path = "/v1/messages"
    models_path = "/v1/models"
    required_events = ("message_start", "content_block_delta")
    budget_field = "max_tokens"

    def headers(self) -> dict[str, str]:
        return {"anthropic-version": API_VERSION, **({"x-api-key": self.key} if self.key else {})}

    def request(self, model: str, question: Question, budget: int, stream: bool) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            self.budget_field: budget,
            "messages": [{"role": "user", "content": question.user}],
            "stream": stream,
        }
        if question.system:
            body["system"] = question.system
        if question.tools:
            body["tools"] = [tool.schema("input_schema") for tool in question.tools]
            body["tool_choice"] = {"type": "any" if question.tool_required else "auto"}
            body["temperature"] = 0
        return body

    def answer(self, content: dict[str, Any]) -> Answer:
        blocks = content.get("content")
        if not isinstance(blocks, list):
            raise self.wrong_shape("content", content)
        answer = Answer(cut=content.get("stop_reason") == "max_tokens")
        for block in blocks:
            kind = block.get("type") if isinstance(block, dict) else None
            if kind == "text":
                answer.text += text_of(block.get("text"))
            elif kind == "thinking":
                answer.reasoning += text_of(block.get("thinking"))
            elif kind == "tool_use":
                answer.tool_calls.append(ToolCall(block.get("name"), block.get("input")))
        return answer

    def add_event(self, event: Event, answer: Answer) -> bool:
        content = self.event_object(event)
        kind = str(content.get("type", event.type))
        answer.events.add(kind)
        delta = object_of(content.get("delta"))
        if kind == "content_block_delta":
            text = text_of(delta.get("text"))
            answer.text += text
            answer.reasoning += text_of(delta.get("thinking"))
            answer.deltas += bool(text)
        elif kind == "message_delta":
            answer.cut = delta.get("stop_reason") == "max_tokens"
        elif kind == "message_stop":
            answer.complete = True
            return True
        return False
