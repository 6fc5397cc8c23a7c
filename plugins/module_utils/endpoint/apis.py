# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The three APIs: chat completions, which every local server speaks, Responses, and Anthropic's Messages (upstream-facts N25)."""

from __future__ import annotations

from typing import Any

from ..transport.client import Event
from ..untrusted import list_of, object_of, parse_json, size_of
from .dialect import Answer, Dialect, Form, Question, StreamReader, ToolCall, reasoning_of, text_of

# How servers say that the budget ended the answer; all but the first are routers that pass on another API's word.
_CUT = ("length", "max_tokens", "max_output_tokens", "model_length")


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
            whole=choice,
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


class Responses(Dialect):
    """C(POST BASE/responses)."""

    name = "openai-responses"
    path = "/responses"
    models_path = "/models"

    # SGLang sends only created, in_progress and completed: the agent then sees no text (upstream-facts N24; PR #1833).
    required_events = ("response.output_text.delta",)
    finish_of_calls = "completed"
    form = Form("max_output_tokens")

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def request(self, model: str, question: Question, budget: int, stream: bool) -> dict[str, Any]:
        items: list[dict[str, Any]] = [{"role": "user", "content": question.user}]
        for turn in question.turns:
            for call in turn.calls:
                given = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
                items.append({"type": "function_call", **given})
            items += [
                {"type": "function_call_output", "call_id": call.id, "output": turn.result} for call in turn.calls
            ]
        body: dict[str, Any] = {
            "model": model,
            "input": items if question.turns else question.user,
            self.form.budget_field: budget,
            "stream": stream,
        }
        if question.system:
            body["instructions"] = question.system
        if question.tools:
            body["tools"] = [{"type": "function", **tool.schema("parameters")} for tool in question.tools]
            if self.form.tool_choice:
                body["tool_choice"] = self.form.tool_choice if question.tool_required else "auto"
            if self.form.temperature:
                body["temperature"] = 0
        return body

    def answer(self, content: dict[str, Any]) -> Answer:
        output = content.get("output")
        if not isinstance(output, list):
            raise self.wrong_shape("output", content)
        answer = Answer(
            finish=_finish_of_response(content), prompt_tokens=_prompt_tokens_of_response(content), whole=output
        )
        for item in map(object_of, output):
            kind = item.get("type")
            if kind == "message":
                answer.text += text_of(item.get("content"))
            elif kind == "reasoning":
                answer.reasoning += _reasoning_of_response(item)
            elif _is_call(item):
                answer.tool_calls.append(
                    ToolCall(item.get("name"), item.get("arguments"), item.get("call_id"), _kind(item))
                )
        answer.cut = _is_cut(content) or _thought_only(answer)
        return answer

    def stream_reader(self) -> StreamReader:
        return _ResponseStream(self)


class _ResponseStream(StreamReader):
    """Items that are added, filled by deltas and done, each at its output index."""

    def add(self, event: Event) -> bool:
        answer = self.answer
        content = self.dialect.event_object(event)
        kind = str(content.get("type") or ("error" if event.type == "error" else ""))
        if not kind:
            self.fault("the data of its events has no type, and clients pass over them")
            return False
        answer.events.add(kind)
        if kind == "response.output_text.delta":
            answer.text += text_of(content.get("delta"))
            answer.deltas += 1
        elif kind in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
            answer.reasoning += text_of(content.get("delta"))
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._add_item(content.get("output_index"), object_of(content.get("item")), kind.endswith("done"))
        elif kind == "response.function_call_arguments.delta":
            self.append(self._begun(content), content.get("delta"))
        elif kind == "response.function_call_arguments.done":
            self._settle(self._begun(content), content.get("arguments"))
        elif kind in ("response.completed", "response.incomplete"):
            self._end(object_of(content.get("response")))
            return True
        elif kind == "response.failed":
            raise self.dialect.error_in_stream(object_of(content.get("response")).get("error"))
        elif kind == "error":
            raise self.dialect.error_in_stream(content)
        return False

    def _add_item(self, index: Any, item: dict[str, Any], done: bool) -> None:
        if not _is_call(item):
            return
        call = self.call_at(index, item.get("id"))
        if not done or call.name is None:
            self.identify(call, item.get("name"), item.get("call_id"), _kind(item))
        if done:
            self._settle(call, item.get("arguments"))

    def _begun(self, content: dict[str, Any]) -> ToolCall:
        """Return the call that a piece belongs to."""
        before = len(self.answer.tool_calls)
        # llama.cpp sends no output index; there the id of the item tells (October 2026).
        call = self.call_at(content.get("output_index"), content.get("item_id"))
        if len(self.answer.tool_calls) > before:
            self.fault("arguments arrive at an output index where no function_call item was added")
        return call

    def _settle(self, call: ToolCall, arguments: Any) -> None:
        """Take the whole arguments that an event reports at the end: clients believe one or the other."""
        if arguments is None:
            return
        if call.arguments not in (None, "", arguments):
            self.fault("the arguments of a call differ between their pieces and their end")
        call.arguments = arguments

    def _end(self, response: dict[str, Any]) -> None:
        answer = self.answer
        answer.complete = True
        answer.finish = _finish_of_response(response)
        answer.prompt_tokens = _prompt_tokens_of_response(response)
        answer.cut = _is_cut(response) or _thought_only(answer)
        reported = any(map(_is_call, list_of(response.get("output"))))
        if reported and not answer.tool_calls:
            self.fault("the call stands in response.completed alone, and no event brought it before")
        if answer.tool_calls and not reported and isinstance(response.get("output"), list):
            self.fault("response.completed does not have the call that the events brought")


def _is_call(item: Any) -> bool:
    """Tell an item that is a call; C(tool_call) is what servers say that confuse it with chat completions."""
    return isinstance(item, dict) and item.get("type") in ("function_call", "tool_call")


def _kind(item: dict[str, Any]) -> str:
    return "function" if item["type"] == "function_call" else str(item["type"])


def _finish_of_response(response: dict[str, Any]) -> str:
    status = response.get("status")
    return status if isinstance(status, str) else ""


def _thought_only(answer: Answer) -> bool:
    """Tell an answer that is nothing but reasoning: llama.cpp says C(completed) for one that the budget cut."""
    return bool(answer.thoughts and not answer.says_something)


def _is_cut(response: dict[str, Any]) -> bool:
    details = object_of(response.get("incomplete_details"))
    return response.get("status") == "incomplete" and details.get("reason", "max_output_tokens") == "max_output_tokens"


def _reasoning_of_response(item: dict[str, Any]) -> str:
    """Return the reasoning of an item; here the type of its parts does not have to say so."""
    for parts in (item.get("content"), item.get("summary")):
        found = "".join(text_of(object_of(part).get("text")) for part in list_of(parts))
        if found:
            return found
    return text_of(item.get("content")) or text_of(item.get("summary"))


def _prompt_tokens_of_response(response: dict[str, Any]) -> int | None:
    return size_of(object_of(response.get("usage")).get("input_tokens")) or None


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
    key_name = "COMPATIBLE_ANTHROPIC_API_KEY"

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
        answer = Answer(
            text=text_of(blocks),
            reasoning=reasoning_of(blocks),
            prompt_tokens=_prompt_tokens_of_message(content),
            whole=blocks,
        )
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
            answer.prompt_tokens = _prompt_tokens_of_message(object_of(content.get("message")))
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


def _prompt_tokens_of_message(content: dict[str, Any]) -> int | None:
    usage = object_of(content.get("usage"))
    return sum(size_of(usage.get(name)) for name in _PROMPT_FIELDS) or None
