# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The misbehaviours of broken_server.py that concern tools: what servers make of calls, in streams and in the second turn."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import wire_formats
from misbehaviours import (
    CALL,
    LEAKED,
    TEXT,
    Action,
    Behaviour,
    always,
    endless,
    error,
    good,
    on_answers,
    says,
    when_long,
    when_streaming,
    with_tools,
)
from wire_formats import Answer

if TYPE_CHECKING:
    from broken_server import Exchange

HERMES = f"<tool_call>\n{LEAKED}\n</tool_call>"
NAME, ARGUMENTS = CALL.call or ("", "")
PROSE = Answer(text="I would send hello to the session now.")

# Makers of actions


def in_stream(action: Action) -> Action:
    """Do something to streamed requests for a call; all others are good."""
    return lambda exchange: action(exchange) if exchange.wants_call and exchange.streams else good(exchange)


def after_result(action: Action) -> Action:
    """Do something once the result of a tool is given back."""
    return lambda exchange: action(exchange) if exchange.has_result else good(exchange)


def answering(answer: Answer) -> Action:
    return lambda exchange: exchange.answer(answer)


def edited(edit: Callable[[str, dict[str, Any]], None]) -> Action:
    """Answer with a right call, its JSON changed by edit(endpoint, call); streams stay as they are."""

    def action(exchange: Exchange) -> None:
        if exchange.streams:
            good(exchange)
            return
        answer = wire_formats.AS_JSON[exchange.endpoint](CALL, exchange.model)
        for call in calls_in(exchange.endpoint, answer):
            edit(exchange.endpoint, call)
        exchange.json(200, answer)

    return with_tools(action)


def edited_stream(edit: Callable[[str, list[dict[str, Any]]], list[dict[str, Any]]]) -> Action:
    """Stream a right call, its events changed by edit(endpoint, events); what follows the last JSON event stays."""

    def action(exchange: Exchange) -> None:
        events = [data.decode() for data in exchange.events(CALL)]
        objects = [json.loads(text.partition("data: ")[2]) for text in events if "[DONE]" not in text]
        named = exchange.endpoint != "chat"
        changed = edit(exchange.endpoint, copy.deepcopy(objects))
        sent = [wire_formats.event(entry, entry["type"] if named and "type" in entry else "") for entry in changed]
        exchange.stream(sent + [data for data in exchange.events(CALL) if b"[DONE]" in data])

    return in_stream(action)


def calls_in(endpoint: str, answer: dict[str, Any]) -> list[dict[str, Any]]:
    if endpoint == "chat":
        found: list[dict[str, Any]] = answer["choices"][0]["message"]["tool_calls"]
        return found
    field = "output" if endpoint == "responses" else "content"
    return [item for item in answer[field] if item["type"] in ("function_call", "tool_use")]


def pieces_in(endpoint: str, entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what of an event says something of a call."""
    if endpoint == "chat":
        return [piece for choice in entry["choices"] for piece in choice["delta"].get("tool_calls", [])]
    if endpoint == "responses":
        return [entry] if "function_call" in json.dumps(entry) else []
    return [entry] if "tool_use" in json.dumps(entry) or "partial_json" in json.dumps(entry) else []


# Edits of a whole call


def set_arguments(value: Any) -> Callable[[str, dict[str, Any]], None]:
    """Give the call other arguments; for Anthropic, JSON text becomes the object that it stands for."""

    def edit(endpoint: str, call: dict[str, Any]) -> None:
        if endpoint == "chat":
            call["function"]["arguments"] = value
        elif endpoint == "responses":
            call["arguments"] = value
        else:
            call["input"] = json.loads(value) if isinstance(value, str) and value.startswith("{") else value

    return edit


def swap_arguments_type(endpoint: str, call: dict[str, Any]) -> None:
    """The other JSON type: an object for OpenAI's APIs, a string for Anthropic's."""
    if endpoint == "messages":
        call["input"] = json.dumps(call["input"])
    else:
        set_arguments(json.loads(ARGUMENTS))(endpoint, call)


def set_id(value: Any) -> Callable[[str, dict[str, Any]], None]:
    def edit(endpoint: str, call: dict[str, Any]) -> None:
        call["call_id" if endpoint == "responses" else "id"] = value

    return edit


def set_name(value: Any) -> Callable[[str, dict[str, Any]], None]:
    def edit(endpoint: str, call: dict[str, Any]) -> None:
        (call["function"] if endpoint == "chat" else call)["name"] = value

    return edit


def set_type(value: Any) -> Callable[[str, dict[str, Any]], None]:
    def edit(_endpoint: str, call: dict[str, Any]) -> None:
        call["type"] = value

    return edit


# Edits of a stream


def text_instead(exchange: Exchange) -> None:
    exchange.answer(Answer(text=HERMES))


def arguments_elsewhere(endpoint: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The arguments arrive at the place behind the one that has the name."""
    place = {"chat": "index", "responses": "output_index", "messages": "index"}[endpoint]
    for entry in events:
        for piece in pieces_in(endpoint, entry):
            carries = "arguments.d" in str(entry.get("type")) or "partial_json" in json.dumps(piece)
            if carries or (endpoint == "chat" and "id" not in piece):
                piece[place] += 1
    return events


def name_doubled(endpoint: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(json.dumps(entry).replace(f'"{NAME}"', f'"{NAME}{NAME}"')) for entry in events]


def name_in_pieces(_endpoint: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Half of the name with each piece: some clients append, agents replace."""
    half = len(NAME) // 2
    names = iter((NAME[:half], NAME[half:]))
    for entry in events:
        for piece in pieces_in("chat", entry):
            piece["function"]["name"] = next(names, "")
    return events


def name_repeated(_endpoint: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for entry in events:
        for piece in pieces_in("chat", entry):
            piece["function"]["name"] = NAME
    return events


def without_index(_endpoint: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for entry in events:
        for piece in pieces_in("chat", entry):
            del piece["index"]
    return events


def in_one_piece(_endpoint: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As Ollama sends it: the whole call with its first piece."""
    first, second = (entry for entry in events if pieces_in("chat", entry))
    pieces_in("chat", first)[0]["function"]["arguments"] = ARGUMENTS
    return [entry for entry in events if entry is not second]


def without_finish(endpoint: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if endpoint == "messages":
        return [entry for entry in events if entry["type"] != "message_delta"]
    return events[:-1]


def error_after_first_piece(endpoint: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    begun = next(number for number, entry in enumerate(events) if pieces_in(endpoint, entry))
    said = {"message": "list index out of range", "type": "InternalServerError", "code": 500}
    return [*events[: begun + 1], {"type": "error", "error": said} if endpoint == "messages" else {"error": said}]


def call_at_the_end_alone(_endpoint: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Responses: created, then completed with the call in it."""
    return [events[0], events[-1]]


def unnamed(exchange: Exchange) -> None:
    """Anthropic's events without their event: lines, which its libraries pass over."""
    exchange.stream([b"data: " + data.partition(b"data: ")[2] for data in exchange.events(TEXT)])


def deprecated_call(exchange: Exchange) -> None:
    answer = wire_formats.chat(CALL, exchange.model)
    message = answer["choices"][0]["message"]
    message["function_call"] = message.pop("tool_calls")[0]["function"]
    exchange.json(200, answer)


def call_elsewhere(exchange: Exchange) -> None:
    """A right call where clients do not look: in a field, an item or a block of another name."""
    answer = json.dumps(wire_formats.AS_JSON[exchange.endpoint](CALL, exchange.model))
    for word in ('"tool_calls": [', '"type": "function_call"', '"type": "tool_use"'):
        answer = answer.replace(
            word, word.replace("tool_calls", "calls").replace("_use", "").replace("_call", "_calls")
        )
    exchange.json(200, json.loads(answer))


def finish_stop(exchange: Exchange) -> None:
    """A right call whose turn ends as one of text does."""
    words = {"chat": ('"tool_calls"}', '"stop"}'), "messages": ('"tool_use"', '"end_turn"')}
    if exchange.streams:
        events = [data.decode() for data in exchange.events(CALL)]
        field = {"chat": "finish_reason", "messages": "stop_reason"}[exchange.endpoint]
        old, new = (word.strip("}") for word in words[exchange.endpoint])
        exchange.stream([text.replace(f'"{field}": {old}', f'"{field}": {new}').encode() for text in events])
        return
    answer = wire_formats.AS_JSON[exchange.endpoint](CALL, exchange.model)
    if exchange.endpoint == "chat":
        answer["choices"][0]["finish_reason"] = "stop"
    else:
        answer["stop_reason"] = "end_turn"
    exchange.json(200, answer)


def two_calls_one_id(exchange: Exchange) -> None:
    answer = wire_formats.AS_JSON[exchange.endpoint](CALL, exchange.model)
    if exchange.endpoint == "chat":
        answer["choices"][0]["message"]["tool_calls"] *= 2
    else:
        answer["output" if exchange.endpoint == "responses" else "content"] *= 2
    exchange.json(200, answer)


def cut_before_the_call(exchange: Exchange) -> None:
    """Prose that nothing marks as reasoning eats 300 tokens, then the call comes."""
    exchange.answer(
        Answer(text="First I think about what was asked. " * 20, cut=True) if exchange.budget < 300 else CALL
    )


def cut_inside_the_call(exchange: Exchange) -> None:
    """As llama.cpp closes the arguments of a call that the budget cut."""
    if exchange.budget >= 300:
        good(exchange)
        return
    exchange.answer(Answer(call=(NAME, "{}"), cut=True))


def once_more(exchange: Exchange) -> None:
    """One more call with the first result, text with the second."""
    exchange.answer(CALL if json.dumps(exchange.body).count("was delivered") < 2 else TEXT)


def counted(tokens: int, answer: Answer) -> Action:
    """Answer, and say that the prompt had so many tokens."""

    def action(exchange: Exchange) -> None:
        if exchange.streams:
            good(exchange)
            return
        content = wire_formats.chat(answer, exchange.model)
        content["usage"]["prompt_tokens"] = tokens
        exchange.json(200, content)

    return action


def small_window(exchange: Exchange) -> None:
    entry = {**wire_formats.models("scripted")["data"][0], "max_model_len": 4096}
    exchange.json(200, {"object": "list", "data": [entry]})


ROLE_REFUSED = always(
    400,
    error(
        "Jinja Exception: Only user, system and assistant roles are supported, not tool", "invalid_request_error", 400
    ),
)
KEEPS_ALIVE = endless(0.1, lambda _exchange: b": ping\n\n")
NO_STREAMED_TOOLS = always(400, error("Streaming is not supported when tools are given", "invalid_request_error", 400))

TOOL_BEHAVIOURS: dict[str, Behaviour] = {
    # Calls that came, but wrongly
    "malformed_tool_arguments": Behaviour(
        "calls with arguments that are no JSON", on_answers(says(Answer(call=(NAME, '{"message": "hel'))))
    ),
    "unoffered_tool": Behaviour("calls a tool of its own", on_answers(says(Answer(call=("rm_rf", '{"path": "/"}'))))),
    "missing_argument": Behaviour("calls without the argument", on_answers(says(Answer(call=(NAME, "{}"))))),
    "argument_of_wrong_type": Behaviour("a number for a text", on_answers(edited(set_arguments('{"message": 3}')))),
    "swapped_arguments": Behaviour(
        "an object where text is due, and the reverse", on_answers(edited(swap_arguments_type))
    ),
    "null_arguments": Behaviour("null for arguments", on_answers(edited(set_arguments(None)))),
    "doubly_encoded_arguments": Behaviour(
        "JSON text inside JSON text",
        {name: edited(set_arguments(json.dumps(ARGUMENTS))) for name in ("chat", "responses")},
    ),
    "empty_id": Behaviour("calls with an empty id", on_answers(edited(set_id("")))),
    "null_id": Behaviour("calls without an id", on_answers(edited(set_id(None)))),
    "two_calls_one_id": Behaviour("two calls with one id", on_answers(with_tools(two_calls_one_id))),
    "null_type": Behaviour("calls of type null", {"chat": edited(set_type(None))}),
    "null_name": Behaviour("calls nothing by name", on_answers(edited(set_name(None)))),
    "deprecated_function_call": Behaviour("calls in the field of 2023", {"chat": with_tools(deprecated_call)}),
    "call_elsewhere": Behaviour("calls where clients do not look", on_answers(with_tools(call_elsewhere))),
    "finish_stop": Behaviour(
        "calls, and ends as text does", {name: with_tools(finish_stop) for name in ("chat", "messages")}
    ),
    # Right without streaming, and wrong with it
    "stream_leaks": Behaviour("streams the call as text", on_answers(in_stream(text_instead))),
    "stream_prose": Behaviour("streams prose", on_answers(in_stream(answering(PROSE)))),
    "stream_nothing": Behaviour("streams neither call nor text", on_answers(in_stream(answering(Answer())))),
    "stream_loses_arguments": Behaviour("streams {}", on_answers(in_stream(answering(Answer(call=(NAME, "{}")))))),
    "stream_arguments_elsewhere": Behaviour(
        "streams arguments at another place", on_answers(edited_stream(arguments_elsewhere))
    ),
    "stream_name_doubled": Behaviour("streams the name twice", on_answers(edited_stream(name_doubled))),
    "stream_name_in_pieces": Behaviour("streams half a name twice", {"chat": edited_stream(name_in_pieces)}),
    "stream_name_repeated": Behaviour("streams the name with each piece", {"chat": edited_stream(name_repeated)}),
    "stream_without_index": Behaviour("streams pieces without index", {"chat": edited_stream(without_index)}),
    "stream_in_one_piece": Behaviour("streams the call in one piece", {"chat": edited_stream(in_one_piece)}),
    "stream_without_finish": Behaviour(
        "streams no finish reason", {name: edited_stream(without_finish) for name in ("chat", "messages")}
    ),
    "stream_error_in_call": Behaviour(
        "streams an error after the first piece", on_answers(edited_stream(error_after_first_piece))
    ),
    "stream_refuses_tools": Behaviour("400 for tools in streams", on_answers(in_stream(NO_STREAMED_TOOLS))),
    "stream_hangs": Behaviour("comments without end where a call is due", {"chat": in_stream(KEEPS_ALIVE)}),
    "stream_call_at_the_end": Behaviour(
        "streams the call in the last event alone", {"responses": edited_stream(call_at_the_end_alone)}
    ),
    "agent_stream_leaks": Behaviour(
        "streams the call as text under load", on_answers(when_long(in_stream(text_instead)))
    ),
    "anthropic_unnamed_events": Behaviour(
        "events without names", {"messages": lambda exchange: unnamed(exchange) if exchange.streams else good(exchange)}
    ),
    # Budgets
    "cut_before_the_call": Behaviour("300 tokens of prose first", on_answers(with_tools(cut_before_the_call))),
    "cut_inside_the_call": Behaviour("the call has 300 tokens", on_answers(with_tools(cut_inside_the_call))),
    # The second turn
    "result_refused": Behaviour("400 for the tool's result", on_answers(after_result(ROLE_REFUSED))),
    "calls_for_ever": Behaviour("calls again with each result", on_answers(after_result(answering(CALL)))),
    "calls_once_more": Behaviour("calls again with the first result", on_answers(after_result(once_more))),
    "silent_after_result": Behaviour("says nothing to the result", on_answers(after_result(answering(Answer())))),
    "stream_silent_after_result": Behaviour(
        "streams nothing to the result, and answers unstreamed",
        on_answers(after_result(when_streaming(answering(Answer())))),
    ),
    "leaks_after_result": Behaviour("calls as text after the result", on_answers(after_result(text_instead))),
    # Context
    "prompt_cut": Behaviour("reads 2050 tokens of a long prompt", {"chat": when_long(counted(2050, PROSE))}),
    "prompt_cut_call": Behaviour("the same, and calls all the same", {"chat": when_long(counted(2050, CALL))}),
    "small_window": Behaviour("a context of 4096 tokens", {"models": small_window}),
}
