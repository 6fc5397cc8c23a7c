# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The Anthropic Messages API (upstream-facts N25), with the streaming and the tools that NemoClaw leaves out."""

from __future__ import annotations

from typing import Any

from ..transport.sse import Event
from ..untrusted import object_of, parse_json, size_of
from .dialect import Answer, Dialect, Form, Question, StreamReader, ToolCall, reasoning_of, text_of

API_VERSION = "2023-06-01"

# What of the prompt the server counts in a field of its own, because it came from its cache or went into it.
_PROMPT_FIELDS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class AnthropicMessages(Dialect):
    """C(POST BASE/v1/messages)."""

    name = "anthropic-messages"
    path = "/v1/messages"
    models_path = "/v1/models"
    required_events = ("message_start", "content_block_delta")
    finish_of_calls = "tool_use"
    arguments_are_text = False
    form = Form("max_tokens")

    def headers(self) -> dict[str, str]:
        return {"anthropic-version": API_VERSION, **({"x-api-key": self.key} if self.key else {})}

    def bearer_headers(self) -> dict[str, str] | None:
        return {"anthropic-version": API_VERSION, "Authorization": f"Bearer {self.key}"} if self.key else None

    def request(self, model: str, question: Question, budget: int, stream: bool) -> dict[str, Any]:
        messages: list[dict[str, Any]] = [{"role": "user", "content": question.user}]
        for turn in question.turns:
            calls = [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in turn.calls
            ]
            results = [{"type": "tool_result", "tool_use_id": call.id, "content": turn.result} for call in turn.calls]
            messages += [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]
        body: dict[str, Any] = {
            "model": model,
            self.form.budget_field: budget,
            "messages": messages,
            "stream": stream,
        }
        if question.system:
            body["system"] = question.system
        if question.tools:
            body["tools"] = [tool.schema("input_schema") for tool in question.tools]
            if self.form.tool_choice:
                required = question.tool_required and self.form.tool_choice == "required"
                body["tool_choice"] = {"type": "any" if required else "auto"}
            if self.form.temperature:
                body["temperature"] = 0
        return body

    def answer(self, content: dict[str, Any]) -> Answer:
        blocks = content.get("content")
        if not isinstance(blocks, list):
            raise self.wrong_shape("content", content)
        answer = Answer(text=text_of(blocks), reasoning=reasoning_of(blocks), prompt_tokens=_prompt_tokens(content))
        _end(answer, content)
        answer.tool_calls = [
            ToolCall(block.get("name"), block.get("input"), block.get("id"))
            for block in map(object_of, blocks)
            if block.get("type") == "tool_use"
        ]
        return answer

    def stream_reader(self) -> StreamReader:
        return _MessageStream(self)


class _MessageStream(StreamReader):
    """Blocks that are started one after the other and filled by deltas at their index.

    Anthropic's libraries pass over an event without a name, whatever its data says.
    """

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        # The blocks in their order: the call that a block is, None for one of text or thoughts.
        self._blocks: list[ToolCall | None] = []
        # The JSON of a call's input as far as it has come, by the index of its block.
        self._inputs: dict[int, str] = {}

    def add(self, event: Event) -> bool:
        answer = self.answer
        kind = event.type
        content = self.dialect.event_object(event)
        if kind == "error":
            raise self.dialect.error_in_stream(content)  # llama.cpp sends the error itself
        if kind == "message":
            self.fault("its events have no name (no event: line), and clients pass over them")
            return False
        if not content.get("type"):
            self.fault("the data of its events has no type, and clients pass over them")
            return False
        answer.events.add(kind)
        if kind == "message_start":
            answer.prompt_tokens = _prompt_tokens(object_of(content.get("message")))
        elif kind == "content_block_start":
            self._start(object_of(content.get("content_block")))
        elif kind == "content_block_delta":
            self._fill(content.get("index"), object_of(content.get("delta")))
        elif kind == "message_delta":
            _end(answer, object_of(content.get("delta")))
            answer.complete = bool(answer.finish)
        elif kind == "message_stop":
            answer.complete = True
        if answer.complete:
            self._read_inputs()
        return kind == "message_stop"

    def _start(self, block: dict[str, Any]) -> None:
        if block.get("type") == "tool_use":
            # Its input is empty as a rule, and filled by the deltas; some servers send it whole right here.
            call = ToolCall(block.get("name"), block.get("input"), block.get("id"))
            self.answer.tool_calls.append(call)
            self._blocks.append(call)
        else:
            self.answer.text += text_of([block])
            self.answer.reasoning += reasoning_of([block])
            self._blocks.append(None)

    def _fill(self, index: Any, delta: dict[str, Any]) -> None:
        if not isinstance(index, int) or not 0 <= index < len(self._blocks):
            self.fault("a delta has an index at which no block was started")
            return
        text = text_of(delta.get("text"))
        self.answer.text += text
        self.answer.reasoning += text_of(delta.get("thinking"))
        self.answer.deltas += bool(text)
        piece = delta.get("partial_json")
        if piece is None:
            return
        if self._blocks[index] is None:
            self.fault("arguments arrive at an index where no tool_use block was started")
        elif isinstance(piece, str):
            self._inputs[index] = self._inputs.get(index, "") + piece
        else:
            self.fault("a piece of the arguments is not text")

    def _read_inputs(self) -> None:
        """Read the pieces once all are there, as the clients do; a call without any keeps the input of its start."""
        for index, call in enumerate(self._blocks):
            text = self._inputs.get(index)
            if call is not None and text:
                try:
                    call.arguments = parse_json(text)
                except ValueError:
                    call.arguments = text


def _end(answer: Answer, content: dict[str, Any]) -> None:
    finish = content.get("stop_reason")
    if isinstance(finish, str):
        answer.finish = finish
        answer.cut = finish == "max_tokens"


def _prompt_tokens(content: dict[str, Any]) -> int | None:
    usage = object_of(content.get("usage"))
    return sum(size_of(usage.get(name)) for name in _PROMPT_FIELDS) or None
