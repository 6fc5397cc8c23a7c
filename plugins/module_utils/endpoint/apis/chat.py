# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The OpenAI chat completions API, what every local server speaks."""

from __future__ import annotations

from typing import Any

from ...transport.sse import Event
from ...untrusted import list_of, object_of, size_of
from ..answer import Answer, ToolCall
from ..parameters import Form
from .dialect import Dialect, Question, StreamReader, reasoning_of, text_of

# How servers say that the budget ended the answer; all but the first are routers that pass on another API's word.
_CUT = ("length", "max_tokens", "max_output_tokens")


class ChatCompletions(Dialect):
    """C(POST BASE/chat/completions)."""

    name = "openai-completions"
    path = "/chat/completions"
    models_path = "/models"
    required_events = ()
    finish_of_calls = "tool_calls"
    form = Form("max_tokens", "max_completion_tokens")

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def request(self, model: str, question: Question, budget: int, stream: bool) -> dict[str, Any]:
        messages: list[dict[str, Any]] = [{"role": "system", "content": question.system}] if question.system else []
        messages.append({"role": "user", "content": question.user})
        for turn in question.turns:
            messages.append({"role": "assistant", "content": None, "tool_calls": [_given(call) for call in turn.calls]})
            messages += [{"role": "tool", "tool_call_id": call.id, "content": turn.result} for call in turn.calls]
        body: dict[str, Any] = {
            "model": model,
            "messages": messages,
            self.form.budget_field: budget,
            "stream": stream,
        }
        if stream and self.form.stream_options:
            body["stream_options"] = {"include_usage": True}
        if question.tools:
            body["tools"] = [{"type": "function", "function": tool.schema("parameters")} for tool in question.tools]
            if self.form.tool_choice:
                body["tool_choice"] = self.form.tool_choice if question.tool_required else "auto"
            if self.form.temperature:
                body["temperature"] = 0
        return body

    def answer(self, content: dict[str, Any]) -> Answer:
        choice = next(map(object_of, list_of(content.get("choices"))), {})
        message = choice.get("message")
        if not isinstance(message, dict):
            raise self.wrong_shape("choices[0].message", content)
        finish = _finish(choice)
        calls = [
            ToolCall(function.get("name"), function.get("arguments"), entry.get("id"), entry.get("type"))
            for entry, function in map(_entry, list_of(message.get("tool_calls")))
        ]
        return Answer(
            text=text_of(message.get("content")),
            reasoning=_reasoning(message),
            tool_calls=calls or _deprecated_call(message),
            finish=finish,
            cut=finish in _CUT,
            prompt_tokens=_prompt_tokens(content),
        )

    def stream_reader(self) -> StreamReader:
        return _ChatStream(self)


class _ChatStream(StreamReader):
    """Chunks with deltas; the usage report and C([DONE]) follow the finish reason."""

    def add(self, event: Event) -> bool:
        answer = self.answer
        if event.data.strip() == "[DONE]":
            answer.complete = True
            return True
        content = self.dialect.event_object(event)
        answer.prompt_tokens = _prompt_tokens(content) or answer.prompt_tokens
        for choice in map(object_of, list_of(content.get("choices"))):
            delta = object_of(choice.get("delta"))
            text = text_of(delta.get("content"))
            answer.text += text
            answer.reasoning += _reasoning(delta)
            answer.deltas += bool(text)
            for entry, function in map(_entry, list_of(delta.get("tool_calls"))):
                self._add_call(entry, function)
            for call in _deprecated_call(delta):
                begun = self.call_at("function_call")
                self.identify(begun, call.name, None, call.kind)
                self.append(begun, call.arguments)
            if choice.get("finish_reason"):
                answer.complete = True
                answer.finish = _finish(choice)
                answer.cut = answer.finish in _CUT
        return False

    def _add_call(self, entry: dict[str, Any], function: dict[str, Any]) -> None:
        index, identifier = entry.get("index"), entry.get("id")
        if not isinstance(index, int):
            self.oddity("the pieces of a call have no index")
        elif index > len(self.answer.tool_calls):
            self.oddity("the first call does not have the index 0")
        call = self.call_at(index, identifier or None)
        self.identify(call, function.get("name"), identifier, entry.get("type"))
        self.append(call, function.get("arguments"))


def _entry(entry: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an entry of C(tool_calls) and its C(function)."""
    return object_of(entry), object_of(object_of(entry).get("function"))


def _deprecated_call(message: dict[str, Any]) -> list[ToolCall]:
    """Return the call in the field that C(tool_calls) took the place of in 2023."""
    call = message.get("function_call")
    return [ToolCall(call.get("name"), call.get("arguments"), None, "function_call")] if isinstance(call, dict) else []


def _given(call: ToolCall) -> dict[str, Any]:
    """Return a call as it is given back to the model."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _finish(choice: dict[str, Any]) -> str:
    finish = choice.get("finish_reason")
    return finish.lower() if isinstance(finish, str) else ""


def _reasoning(message: dict[str, Any]) -> str:
    """Return the reasoning of a message or a delta: llama.cpp and older vLLM, newer vLLM, OpenRouter, Mistral, Ollama."""
    fields = (message.get(name) for name in ("reasoning_content", "reasoning", "thinking"))
    return (
        next(filter(None, map(text_of, fields)), "")
        or reasoning_of(message.get("reasoning_details"))
        or reasoning_of(message.get("content"))
    )


def _prompt_tokens(content: dict[str, Any]) -> int | None:
    return size_of(object_of(content.get("usage")).get("prompt_tokens")) or None
