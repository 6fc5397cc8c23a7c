# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
One answer in the shapes of the three APIs, as JSON and as server-sent events, for broken_server.py.

The shapes follow what llama.cpp (tests/unit/fixtures/llama_cpp) and vLLM send; ids and times are constants.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What the model says: text, at most one tool call as (name, arguments text), reasoning, and whether it was cut off."""

    text: str = ""
    call: tuple[str, str] | None = None
    reasoning: str = ""
    cut: bool = False


def event(data: Json | str, name: str = "") -> bytes:
    """Return one server-sent event; the APIs other than chat completions name theirs."""
    text = data if isinstance(data, str) else json.dumps(data)
    return ((f"event: {name}\n" if name else "") + f"data: {text}\n\n").encode()


def pieces(text: str) -> list[str]:
    """Return the text in the pieces that a stream carries: words with the blank before them."""
    words = text.split(" ")
    return [word if number == 0 else " " + word for number, word in enumerate(words)] if text else []


def models(model: str) -> Json:
    """Return GET /v1/models as vLLM answers it."""
    entry = {"id": model, "object": "model", "created": 1700000000, "owned_by": "vllm", "max_model_len": 32768}
    return {"object": "list", "data": [entry]}


def chat(answer: Answer, model: str) -> Json:
    message: Json = {"role": "assistant", "content": answer.text}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.call:
        name, arguments = answer.call
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
        message |= {"content": answer.text or None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(answer)}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": model}
    return {**head, "choices": [choice], "usage": usage}


def chat_events(answer: Answer, model: str) -> list[bytes]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": model}
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in pieces(answer.reasoning)]
    deltas += [{"content": piece} for piece in pieces(answer.text)]
    if answer.call:
        name, arguments = answer.call
        opening = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
        deltas += [{"tool_calls": [{"index": 0, **opening}]}]
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}]
    choices: list[Json] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": _finish_reason(answer)})
    return [event({**head, "choices": [choice]}) for choice in choices] + [event("[DONE]")]


def _finish_reason(answer: Answer) -> str:
    if answer.cut:
        return "length"
    return "tool_calls" if answer.call else "stop"


def responses(answer: Answer, model: str) -> Json:
    output: list[Json] = []
    if answer.reasoning:
        thought = {"type": "reasoning_text", "text": answer.reasoning}
        output.append({"type": "reasoning", "id": "rs_1", "summary": [], "content": [thought]})
    if answer.text:
        part = {"type": "output_text", "text": answer.text, "annotations": []}
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
        output.append(message)
    if answer.call:
        name, arguments = answer.call
        call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name, "arguments": arguments}
        output.append({**call, "status": "completed"})
    result: Json = {"id": "resp_1", "object": "response", "created_at": 1700000000, "model": model, "output": output}
    if answer.cut:
        return {**result, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return {**result, "status": "completed"}


def responses_events(answer: Answer, model: str) -> list[bytes]:
    done = responses(answer, model)
    begun = {**done, "output": [], "status": "in_progress"}
    steps: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(done["output"]):
        place = {"item_id": item["id"], "output_index": index}
        begun_item = {**item, "arguments": "", "status": "in_progress"} if item["type"] == "function_call" else item
        steps.append({"type": "response.output_item.added", "output_index": index, "item": begun_item})
        if item["type"] == "message":
            place = {**place, "content_index": 0}
            steps += [{"type": "response.output_text.delta", **place, "delta": piece} for piece in pieces(answer.text)]
            steps.append({"type": "response.output_text.done", **place, "text": answer.text})
        elif item["type"] == "function_call":
            steps.append({"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]})
            steps.append({"type": "response.function_call_arguments.done", **place, "arguments": item["arguments"]})
        steps.append({"type": "response.output_item.done", "output_index": index, "item": item})
    last = "response.incomplete" if answer.cut else "response.completed"
    steps.append({"type": last, "response": done})
    return [event(step, step["type"]) for step in steps]


def messages(answer: Answer, model: str) -> Json:
    content: list[Json] = []
    if answer.reasoning:
        content.append({"type": "thinking", "thinking": answer.reasoning, "signature": ""})
    if answer.text:
        content.append({"type": "text", "text": answer.text})
    if answer.call:
        name, arguments = answer.call
        content.append({"type": "tool_use", "id": "toolu_1", "name": name, "input": _parsed(arguments)})
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content}
    usage = {"input_tokens": 10, "output_tokens": 5}
    return {**head, "stop_reason": _stop_reason(answer), "stop_sequence": None, "usage": usage}


def messages_events(answer: Answer, model: str) -> list[bytes]:
    done = messages(answer, model)
    steps: list[Json] = [{"type": "message_start", "message": {**done, "content": [], "stop_reason": None}}]
    for index, block in enumerate(done["content"]):
        empty, deltas = _block_stream(block)
        steps.append({"type": "content_block_start", "index": index, "content_block": empty})
        steps += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        steps.append({"type": "content_block_stop", "index": index})
    ending = {"stop_reason": done["stop_reason"], "stop_sequence": None}
    steps.append({"type": "message_delta", "delta": ending, "usage": {"output_tokens": 5}})
    steps.append({"type": "message_stop"})
    return [event(step, step["type"]) for step in steps]


def _block_stream(block: Json) -> tuple[Json, list[Json]]:
    if block["type"] == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        return {**block, "thinking": ""}, deltas
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]


def _stop_reason(answer: Answer) -> str:
    if answer.cut:
        return "max_tokens"
    return "tool_use" if answer.call else "end_turn"


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments  # a malformed call stays malformed: the block then carries text where an object belongs


AS_JSON = {"chat": chat, "responses": responses, "messages": messages}
AS_EVENTS = {"chat": chat_events, "responses": responses_events, "messages": messages_events}
