# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
One tool call as servers stream it, well, oddly and badly, over the three APIs: for broken_server.py.

What is usable stands nowhere here: the client libraries say it (client_libraries.py, tests/real/test_client_libraries.py).
"""

from __future__ import annotations

import json
from typing import Any

from wire_formats import Json, event

NAME = "sessions_send"
ARGUMENTS = '{"message": "hello"}'
CUT = ARGUMENTS[:-4]
ERROR = {"error": {"message": "The engine stopped.", "type": "server_error", "code": 500}}
DONE = event("[DONE]")

# OpenAI chat completions


def chunk(delta: Json | None, finish: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return _chunk(choices=choices)


def _chunk(**fields: Any) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "scripted"}
    return event({**head, **fields})


def piece(**fields: Any) -> bytes:
    """Return a chunk with one piece of a tool call; name and arguments go into its function, a field that is ... is left out."""
    function = {name: value for name in ("name", "arguments") if (value := fields.pop(name, ...)) is not ...}
    entry = {"index": 0, **({"function": function} if function else {}), **fields}
    return chunk({"tool_calls": [{name: value for name, value in entry.items() if value is not ...}]})


def opening(**fields: Any) -> bytes:
    """Return the first piece, which has all but the arguments."""
    return piece(**{"id": "call_1", "type": "function", "name": NAME, "arguments": "", **fields})


ROLE = chunk({"role": "assistant", "content": ""})
FINISH = chunk({}, "tool_calls")
USAGE = {"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}
REST = piece(arguments=ARGUMENTS)


def chat(*middle: bytes, finish: bytes = FINISH, done: bytes = DONE) -> list[bytes]:
    return [data for data in (ROLE, *middle, finish, done) if data]


def _letters(text: str) -> list[bytes]:
    return [piece(arguments=letter) for letter in text]


_WHOLE_ENTRY = {"index": 0, "id": "call_1", "type": "function", "function": {"name": NAME, "arguments": ARGUMENTS}}
_SECOND = {"id": "call_2", "type": "function", "name": NAME, "arguments": ARGUMENTS}

CHAT: dict[str, list[bytes]] = {
    "by_the_book": chat(opening(), REST),
    "as_llama_cpp": chat(opening(arguments="{"), piece(arguments=ARGUMENTS[1:])),
    "as_vllm": chat(opening(arguments=...), REST),
    "one_piece": chat(opening(arguments=ARGUMENTS)),
    "one_piece_with_the_finish": chat(chunk({"tool_calls": [_WHOLE_ENTRY]}, "tool_calls"), finish=b""),
    "two_pieces_in_one_chunk": chat(
        chunk(
            {
                "tool_calls": [
                    {"index": 0, "id": "call_1", "type": "function", "function": {"name": NAME}},
                    {"index": 0, "function": {"arguments": ARGUMENTS}},
                ]
            }
        )
    ),
    "letters": chat(opening(), *_letters(ARGUMENTS)),
    "index_missing": chat(opening(index=...), piece(index=..., arguments=ARGUMENTS)),
    "index_null": chat(opening(index=None), piece(index=None, arguments=ARGUMENTS)),
    "index_from_1": chat(opening(index=1), piece(index=1, arguments=ARGUMENTS)),
    "index_moves": chat(opening(), piece(index=1, arguments=ARGUMENTS)),
    "id_late": chat(opening(id=...), piece(id="call_1", arguments=ARGUMENTS)),
    "id_again": chat(opening(), piece(id="call_1", arguments=ARGUMENTS)),
    "id_null_later": chat(opening(), piece(id=None, type=None, name=None, arguments=ARGUMENTS)),
    "id_empty_later": chat(opening(), piece(id="", type="function", name="", arguments=ARGUMENTS)),
    "id_missing": chat(opening(id=...), REST),
    "id_null": chat(opening(id=None), REST),
    "id_empty": chat(opening(id=""), REST),
    "id_number": chat(opening(id=7), REST),
    "type_again": chat(opening(), piece(type="function", arguments=ARGUMENTS)),
    "type_missing": chat(opening(type=...), REST),
    "type_null": chat(opening(type=None), REST),
    "type_empty": chat(opening(type=""), REST),
    "name_again": chat(opening(), piece(name=NAME, arguments=ARGUMENTS)),
    "name_split": chat(opening(name=NAME[:9]), piece(name=NAME[9:], arguments=ARGUMENTS)),
    "name_late": chat(opening(name=..., arguments=ARGUMENTS), piece(name=NAME, arguments="")),
    "name_missing": chat(opening(name=...), REST),
    "name_not_offered": chat(opening(name="sessions_post"), REST),
    "arguments_null_first": chat(opening(arguments=None), REST),
    "arguments_null": chat(opening(arguments=None)),
    "arguments_never": chat(opening()),
    "arguments_empty_object": chat(opening(), piece(arguments="{}")),
    "arguments_of_another_type": chat(opening(), piece(arguments='{"message": 5}')),
    "arguments_object": chat(opening(arguments={"message": "hello"})),
    "arguments_object_later": chat(opening(), piece(arguments={"message": "hello"})),
    "arguments_twice": chat(opening(), REST, REST),
    "arguments_cumulative": chat(opening(), piece(arguments=ARGUMENTS[:6]), REST),
    "arguments_cut": chat(opening(), piece(arguments=CUT)),
    "arguments_encoded_twice": chat(opening(), piece(arguments=json.dumps(ARGUMENTS))),
    "arguments_with_the_name_after": chat(opening(), piece(arguments=f'{ARGUMENTS}, "name": "{NAME}"')),
    "function_null_later": chat(opening(), REST, piece(function=None)),
    "text_first": chat(chunk({"content": "I will send it."}), opening(), REST),
    "reasoning_first": chat(chunk({"reasoning_content": "Hm."}), opening(), REST),
    "role_again": chat(chunk({"role": "assistant", "tool_calls": [_WHOLE_ENTRY]}), chunk({"role": "assistant"})),
    "tool_calls_null_later": chat(opening(), REST, chunk({"content": "", "tool_calls": None})),
    "tool_calls_object": chat(chunk({"tool_calls": _WHOLE_ENTRY})),
    "message_for_delta": chat(_chunk(choices=[{"index": 0, "message": {"tool_calls": [_WHOLE_ENTRY]}}])),
    "function_call": chat(
        chunk({"function_call": {"name": NAME, "arguments": ARGUMENTS}}), finish=chunk({}, "function_call")
    ),
    "two_calls": chat(opening(), REST, piece(index=1, **_SECOND)),
    "two_calls_one_id": chat(opening(), REST, piece(index=1, **{**_SECOND, "id": "call_1"})),
    "two_calls_one_index": chat(opening(), REST, piece(**_SECOND)),
    "finish_stop": chat(opening(), REST, finish=chunk({}, "stop")),
    "delta_null_last": chat(opening(), REST, finish=chunk(None, "tool_calls")),
    "usage_last": chat(opening(), REST, done=_chunk(choices=[], **USAGE) + DONE),
    "choices_null_last": chat(opening(), REST, done=_chunk(choices=None, **USAGE) + DONE),
    "no_done": chat(opening(), REST, done=b""),
    "error_after_a_piece": [ROLE, opening(), event(ERROR)],
    "error_after_the_call": [ROLE, opening(), REST, event(ERROR)],
    "comments": [b": ping\n\n", *chat(opening(), b": ping\n\n", REST)],
    "carriage_returns": [data.replace(b"\n", b"\r\n") for data in chat(opening(), REST)],
    "no_blank_after_data": [data.replace(b"data: ", b"data:") for data in chat(opening(), REST)],
    "text_instead": chat(
        chunk({"content": f'<tool_call>{{"name": "{NAME}", "arguments": {ARGUMENTS}}}</tool_call>'}),
        finish=chunk({}, "stop"),
    ),
    "nothing_instead": chat(finish=chunk({}, "stop")),
}

# Anthropic messages


def named(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, **fields}, kind)


def block(index: int = 0, **fields: Any) -> bytes:
    """Return the start of a tool_use block; a field that is ... is left out."""
    entry = {"type": "tool_use", "id": "toolu_1", "name": NAME, "input": {}, **fields}
    entry = {name: value for name, value in entry.items() if value is not ...}
    return named("content_block_start", index=index, content_block=entry)


def part(text: Any, index: int = 0) -> bytes:
    return named("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": text})


def end(index: int = 0) -> bytes:
    return named("content_block_stop", index=index)


def message_end(**fields: Any) -> bytes:
    ending = {"delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 5}, **fields}
    return named("message_delta", **{name: value for name, value in ending.items() if value is not ...})


_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "scripted", "content": []}
_USAGE = {"usage": {"input_tokens": 10, "output_tokens": 0}}
_START = named("message_start", message={**_MESSAGE, "stop_reason": None, "stop_sequence": None, **_USAGE})
_STOP = named("message_stop")


def messages(*middle: bytes, start: bytes = _START, ending: bytes = message_end(), stop: bytes = _STOP) -> list[bytes]:
    return [data for data in (start, *middle, ending, stop) if data]


def _other_block(kind: str, delta: Json) -> list[bytes]:
    first = named("content_block_start", index=0, content_block={"type": kind, **dict.fromkeys(delta, "")})
    return [first, named("content_block_delta", index=0, delta={"type": f"{kind}_delta", **delta}), end()]


def _without_types(stream: list[bytes]) -> list[bytes]:
    found = []
    for data in stream:
        content = json.loads(data.partition(b"data: ")[2])
        kind = content.pop("type")
        found.append(event(content, kind))
    return found


def _without_names(stream: list[bytes]) -> list[bytes]:
    return [data[data.index(b"data:") :] for data in stream]


_CALL = messages(block(), part(ARGUMENTS), end())

MESSAGES: dict[str, list[bytes]] = {
    "by_the_book": messages(block(), part(""), part(ARGUMENTS[:6]), part(ARGUMENTS[6:]), end()),
    "as_llama_cpp": messages(block(input=...), part("{"), part(ARGUMENTS[1:]), end()),
    "letters": messages(block(), *[part(letter) for letter in ARGUMENTS], end()),
    "input_at_the_start_alone": messages(block(input={"message": "hello"}), end()),
    "input_twice": messages(block(input={"message": "hello"}), part(ARGUMENTS), end()),
    "input_never": messages(block(), end()),
    "input_null_first": messages(block(input=None), part(ARGUMENTS), end()),
    "input_text": messages(block(input=ARGUMENTS), end()),
    "part_object": messages(block(), part({"message": "hello"}), end()),
    "part_braces_first": messages(block(), part("{}"), part(ARGUMENTS), end()),
    "part_cut": messages(block(), part(CUT), end()),
    "part_encoded_twice": messages(block(), part(json.dumps(ARGUMENTS)), end()),
    "part_as_text": messages(
        block(), named("content_block_delta", index=0, delta={"type": "text_delta", "text": ARGUMENTS}), end()
    ),
    "id_missing": messages(block(id=...), part(ARGUMENTS), end()),
    "id_empty": messages(block(id=""), part(ARGUMENTS), end()),
    "name_missing": messages(block(name=...), part(ARGUMENTS), end()),
    "name_not_offered": messages(block(name="sessions_post"), part(ARGUMENTS), end()),
    "index_moves": messages(block(), part(ARGUMENTS, 1), end()),
    "index_from_1": messages(block(1), part(ARGUMENTS, 1), end(1)),
    "thinking_first": messages(*_other_block("thinking", {"thinking": "Hm."}), block(1), part(ARGUMENTS, 1), end(1)),
    "text_first": messages(*_other_block("text", {"text": "Yes."}), block(1), part(ARGUMENTS, 1), end(1)),
    "two_calls": messages(block(), part(ARGUMENTS), end(), block(1, id="toolu_2"), part(ARGUMENTS, 1), end(1)),
    "two_calls_one_id": messages(block(), part(ARGUMENTS), end(), block(1), part(ARGUMENTS, 1), end(1)),
    "no_block_start": messages(part(ARGUMENTS), end()),
    "no_block_stop": messages(block(), part(ARGUMENTS)),
    "no_message_start": messages(block(), part(ARGUMENTS), end(), start=b""),
    "no_usage": messages(block(), part(ARGUMENTS), end(), ending=message_end(usage=...)),
    "stop_end_turn": messages(
        block(), part(ARGUMENTS), end(), ending=message_end(delta={"stop_reason": "end_turn", "stop_sequence": None})
    ),
    "event_names_missing": _without_names(_CALL),
    "types_missing": _without_types(_CALL),
    "pings": [_CALL[0], named("ping"), *_CALL[1:3], named("ping"), *_CALL[3:]],
    "done_last": [*_CALL, DONE],
    "error_after_a_piece": [_START, block(), named("error", error={"type": "overloaded_error", "message": "Busy."})],
    "error_as_llama_cpp": [_START, block(), event({"code": 500, "message": "No.", "type": "server_error"}, "error")],
    "text_instead": messages(
        *_other_block("text", {"text": f'<tool_call>{{"name": "{NAME}", "arguments": {ARGUMENTS}}}</tool_call>'}),
        ending=message_end(delta={"stop_reason": "end_turn", "stop_sequence": None}),
    ),
}

# OpenAI responses

ITEM: Json = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": NAME,
    "arguments": ARGUMENTS,
    "status": "completed",
}


def response(*output: Json, status: str = "completed", **fields: Any) -> Json:
    head = {"id": "resp_1", "object": "response", "created_at": 1700000000, "model": "scripted", "status": status}
    return {**head, "output": list(output), "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], **fields}


def added(item: Json | None = None, **fields: Any) -> bytes:
    begun = {**(item or ITEM), "arguments": "", "status": "in_progress"}
    return named("response.output_item.added", item=begun, **{"output_index": 0, **fields})


def delta(text: str, **fields: Any) -> bytes:
    place = {"item_id": "fc_1", "output_index": 0, **fields}
    return named("response.function_call_arguments.delta", delta=text, **place)


def item_done(item: Json | None = None, **fields: Any) -> bytes:
    return named("response.output_item.done", item=item or ITEM, **{"output_index": 0, **fields})


def completed(*output: Json) -> bytes:
    return named("response.completed", response=response(*output))


_CREATED = named("response.created", response=response(status="in_progress"))
_ARGUMENTS_DONE = named("response.function_call_arguments.done", item_id="fc_1", output_index=0, arguments=ARGUMENTS)
_RESPONSE = [_CREATED, added(), delta(ARGUMENTS), _ARGUMENTS_DONE, item_done(), completed(ITEM)]


def _all_with(**fields: Any) -> list[bytes]:
    """Return a stream whose item has these fields everywhere; one that is ... is left out."""
    item = {name: value for name, value in {**ITEM, **fields}.items() if value is not ...}
    return [_CREATED, added(item), item_done(item), completed(item)]


def _without_place(stream: list[bytes]) -> list[bytes]:
    return [data.replace(b', "output_index": 0', b"") for data in stream]


RESPONSES: dict[str, list[bytes]] = {
    "by_the_book": _RESPONSE,
    "as_llama_cpp": _without_place([_CREATED, added(), delta(ARGUMENTS), item_done(), completed(ITEM)]),
    "letters": [_CREATED, added(), *map(delta, ARGUMENTS), _ARGUMENTS_DONE, item_done(), completed(ITEM)],
    "no_arguments_done": [_CREATED, added(), delta(ARGUMENTS), item_done(), completed(ITEM)],
    "no_deltas": [_CREATED, added(), item_done(), completed(ITEM)],
    "no_item_done": [_CREATED, added(), delta(ARGUMENTS), _ARGUMENTS_DONE, completed(ITEM)],
    "no_added": [_CREATED, delta(ARGUMENTS), _ARGUMENTS_DONE, item_done(), completed(ITEM)],
    "no_created": _RESPONSE[1:],
    "no_completed": _RESPONSE[:-1],
    "completed_alone": [_CREATED, completed(ITEM)],
    "completed_empty": [*_RESPONSE[:-1], completed()],
    "call_id_missing": _all_with(call_id=...),
    "call_id_empty": _all_with(call_id=""),
    "name_not_offered": _all_with(name="sessions_post"),
    "arguments_object": _all_with(arguments={"message": "hello"}),
    "arguments_empty_object": _all_with(arguments="{}"),
    "arguments_cut": _all_with(arguments=CUT),
    "index_moves": [_CREATED, added(), delta(ARGUMENTS, output_index=1), item_done(), completed(ITEM)],
    "types_missing": _without_types(_RESPONSE),
    "event_names_missing": _without_names(_RESPONSE),
    "done_last": [*_RESPONSE, DONE],
    "failed": [*_RESPONSE[:3], named("response.failed", response=response(status="failed", **ERROR))],
    "error_after_a_piece": [*_RESPONSE[:3], event(ERROR)],
    "nothing_instead": [_CREATED, completed()],
}

STREAMS = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES}
