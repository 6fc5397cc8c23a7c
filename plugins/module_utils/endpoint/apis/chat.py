# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The OpenAI chat completions API, what every local server speaks."""

from __future__ import annotations

from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.answer import Answer, ToolCall
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.apis.dialect import (
    Dialect,
    Question,
    text_of,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.sse import Event
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.untrusted import list_of, object_of


class ChatCompletions(Dialect):
    """C(POST BASE/chat/completions)."""

    name = "openai-completions"
    path = "/chat/completions"
    models_path = "/models"
    required_events = ()

    # OpenAI's reasoning models refuse max_tokens and name this one instead; the client changes over when told to.
    budget_field = "max_tokens"

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def request(self, model: str, question: Question, budget: int, stream: bool) -> dict[str, Any]:
        messages = [{"role": "system", "content": question.system}] if question.system else []
        body: dict[str, Any] = {
            "model": model,
            "messages": [*messages, {"role": "user", "content": question.user}],
            self.budget_field: budget,
            "stream": stream,
        }
        if question.tools:
            body["tools"] = [{"type": "function", "function": tool.schema("parameters")} for tool in question.tools]
            body["tool_choice"] = "required" if question.tool_required else "auto"
            body["temperature"] = 0
        return body

    def answer(self, content: dict[str, Any]) -> Answer:
        choice = next(map(object_of, list_of(content.get("choices"))), {})
        message = choice.get("message")
        if not isinstance(message, dict):
            raise self.wrong_shape("choices[0].message", content)
        return Answer(
            text=text_of(message.get("content")),
            reasoning=text_of(message.get("reasoning_content") or message.get("reasoning")),
            tool_calls=[_tool_call(object_of(entry)) for entry in list_of(message.get("tool_calls"))],
            cut=choice.get("finish_reason") == "length",
        )

    def add_event(self, event: Event, answer: Answer) -> bool:
        if event.data.strip() == "[DONE]":
            answer.complete = True
            return True
        content = self.event_object(event)
        for choice in map(object_of, list_of(content.get("choices"))):
            delta = object_of(choice.get("delta"))
            text = text_of(delta.get("content"))
            answer.text += text
            answer.reasoning += text_of(delta.get("reasoning_content") or delta.get("reasoning"))
            answer.deltas += bool(text)
            if choice.get("finish_reason"):
                answer.complete = True
                answer.cut = choice["finish_reason"] == "length"
        # The usage report and [DONE] follow the finish reason; only [DONE] or the end of the stream ends it.
        return False


def _tool_call(entry: dict[str, Any]) -> ToolCall:
    function = object_of(entry.get("function"))
    return ToolCall(function.get("name"), function.get("arguments"), entry.get("type"))
