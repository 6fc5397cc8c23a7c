# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The OpenAI Responses API, used only where the user opted in (page, Selecting the API Path)."""

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


class Responses(Dialect):
    """C(POST BASE/responses)."""

    name = "openai-responses"
    path = "/responses"
    models_path = "/models"

    # SGLang sends only created, in_progress and completed: the agent then sees no text (nemoclaw-facts 8.2; PR #1833).
    required_events = ("response.output_text.delta",)
    budget_field = "max_output_tokens"

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def request(self, model: str, question: Question, budget: int, stream: bool) -> dict[str, Any]:
        body: dict[str, Any] = {"model": model, "input": question.user, self.budget_field: budget, "stream": stream}
        if question.system:
            body["instructions"] = question.system
        if question.tools:
            body["tools"] = [{"type": "function", **tool.schema("parameters")} for tool in question.tools]
            body["tool_choice"] = "required" if question.tool_required else "auto"
            body["temperature"] = 0
        return body

    def answer(self, content: dict[str, Any]) -> Answer:
        output = content.get("output")
        if not isinstance(output, list):
            raise self.wrong_shape("output", content)
        answer = Answer(cut=_is_cut(content))
        for item in output:
            kind = item.get("type") if isinstance(item, dict) else None
            if kind == "message":
                answer.text += text_of(item.get("content"))
            elif kind == "reasoning":
                answer.reasoning += text_of(item.get("content")) or text_of(item.get("summary"))
            elif kind in ("function_call", "tool_call"):
                answer.tool_calls.append(ToolCall(item.get("name"), item.get("arguments")))
        # llama.cpp says "completed" for an answer that the budget cut: nothing but reasoning is the sign of it.
        answer.cut = answer.cut or bool(answer.thoughts and not answer.content and not answer.tool_calls)
        return answer

    def add_event(self, event: Event, answer: Answer) -> bool:
        content = self.event_object(event)
        kind = str(content.get("type", event.type))
        answer.events.add(kind)
        if kind == "response.output_text.delta":
            answer.text += text_of(content.get("delta"))
            answer.deltas += 1
        elif kind in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
            answer.reasoning += text_of(content.get("delta"))
        elif kind in ("response.completed", "response.incomplete"):
            answer.complete = True
            answer.cut = _is_cut(object_of(content.get("response"))) or bool(answer.reasoning and not answer.text)
            return True
        elif kind == "response.failed":
            raise self.error_in_stream(object_of(content.get("response")).get("error"))
        elif kind == "error":
            raise self.error_in_stream(content)
        return False


def _is_cut(response: dict[str, Any]) -> bool:
    details = object_of(response.get("incomplete_details"))
    return response.get("status") == "incomplete" and details.get("reason", "max_output_tokens") == "max_output_tokens"
