# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three APIs: recorded answers of llama.cpp, and shapes that no server should send."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint import questions, report, tool_calls
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.apis import (
    AnthropicMessages,
    ChatCompletions,
    Responses,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.dialect import Answer, Dialect, text_of
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport import client, trouble

FIXTURES = Path(__file__).parents[3] / "fixtures" / "llama_cpp"
DIALECTS = {"chat": ChatCompletions, "responses": Responses, "messages": AnthropicMessages}
HELLO = "Hello, I am a scripted model."


def recorded(name: str) -> Answer:
    """Return the answer in a recording, which is read by the API that its name begins with."""
    dialect = DIALECTS[name.partition("_")[0]]()
    body = (FIXTURES / f"{name}.json").read_bytes()
    return dialect.answer(trouble.parse_object(body, "http://h/v1", ""))


def replayed(content: bytes, dialect: Dialect) -> tuple[Answer, list[str]]:
    """Return the answer in a stream, and the types of the events until its end."""
    reader, seen = dialect.stream_reader(), []
    for event in client.events([content]):
        seen.append(event.type)
        if reader.add(event):
            break
    return reader.answer, seen


def streamed(name: str, *contents: Any) -> Answer:
    """Return the answer in a stream of JSON events, each named as its API names it."""
    lines = []
    for content in contents:
        kind = content.get("type") if isinstance(content, dict) and name != "chat" else None
        lines.append((f"event: {kind}\n" if kind else "") + f"data: {json.dumps(content)}\n\n")
    return replayed("".join(lines).encode(), DIALECTS[name]())[0]


@pytest.mark.parametrize("name", ["chat", "responses", "messages"])
def test_recorded_text(name: str) -> None:
    answer = recorded(name)
    assert (answer.content, answer.thoughts, answer.tool_calls, answer.cut) == (HELLO, "", [], False)


@pytest.mark.parametrize("name", ["chat_tools", "responses_tools", "messages_tools"])
def test_recorded_tool_call(name: str) -> None:
    (call,) = recorded(name).tool_calls
    assert (call.kind, call.name) == ("function", "sessions_send")
    arguments = call.arguments if name == "messages_tools" else json.loads(call.arguments)
    assert arguments == {"message": "hello"}
    assert call.id


@pytest.mark.parametrize("name", ["chat_tools_leaked", "messages_tools_leaked"])
def test_recorded_leak(name: str) -> None:
    answer = recorded(name)
    assert answer.tool_calls == []
    assert json.loads(answer.content)["name"] == "sessions_send"


@pytest.mark.parametrize("name", ["chat_thinks", "responses_thinks", "messages_thinks"])
def test_recorded_reasoning_that_ate_its_budget(name: str) -> None:
    answer = recorded(name)
    assert answer.content == ""
    assert answer.reasoning.startswith("Hm. Let me see.")
    assert answer.cut, "llama.cpp calls the cut answer of the Responses API completed"
    assert not answer.says_something


def test_recorded_text_that_was_cut() -> None:
    answer = recorded("chat_cut")
    assert answer.cut
    assert HELLO.startswith(answer.content)
    assert answer.says_something


@pytest.mark.parametrize("name", ["chat", "responses", "messages"])
def test_recorded_stream(name: str) -> None:
    dialect = DIALECTS[name]()
    content = (FIXTURES / f"{name}_stream.sse").read_bytes()
    answer, seen = replayed(content, dialect)
    assert (answer.content, answer.complete, answer.cut) == (HELLO, True, False)
    assert answer.deltas >= 3
    assert set(dialect.required_events) <= set(seen)


@pytest.mark.parametrize("name", ["chat", "responses", "messages"])
def test_a_stream_that_breaks_off_anywhere_is_not_complete(name: str) -> None:
    content = (FIXTURES / f"{name}_stream.sse").read_bytes()
    last = content.rstrip().rindex(b"\n\n")
    # The finish reason announces the end; what is behind it may be missing. Responses have one event for both.
    end = last if name == "responses" else content.rindex(b"\n\n", 0, last)
    for at in range(0, end, 97):
        answer, _seen = replayed(content[:at], DIALECTS[name]())
        assert not answer.complete, f"complete after {at} of {len(content)} bytes"


def test_recorded_stream_of_reasoning() -> None:
    answer, _seen = replayed((FIXTURES / "chat_thinks_stream.sse").read_bytes(), ChatCompletions())
    assert (answer.content, answer.deltas, answer.complete, answer.cut) == ("", 0, True, True)


@pytest.mark.parametrize("name", ["chat", "responses", "messages"])
def test_recorded_stream_of_a_tool_call(name: str) -> None:
    answer, _seen = replayed((FIXTURES / f"{name}_tools_stream.sse").read_bytes(), DIALECTS[name]())
    assert (answer.content, answer.complete, answer.faults, answer.oddities) == ("", True, [], [])
    verdict = tool_calls.judge(answer, questions.SMALL_TOOL_CALL, DIALECTS[name](), streamed=True)
    assert verdict.kind == report.STRUCTURED, verdict.reason


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chat", {"content": HELLO, "reasoning_content": "Hm."}),
        ("chat", {"content": HELLO, "reasoning": "Hm."}),
        ("chat", {"content": [{"type": "text", "text": HELLO}], "reasoning": "Hm."}),
        ("chat", {"content": [{"type": "text", "text": HELLO}, {"type": "image"}, None], "reasoning_content": "Hm."}),
    ],
)
def test_other_servers_shapes(name: str, message: dict[str, Any]) -> None:
    answer = ChatCompletions().answer({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert (answer.content, answer.thoughts) == (HELLO, "Hm.")


def test_responses_says_when_it_is_cut() -> None:
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": []}
    filtered = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}, "output": []}
    assert Responses().answer(cut).cut
    assert not Responses().answer(filtered).cut


# Values that stand in the wrong place: whatever a field holds, the outcome is an answer or a Failure.
ODD: list[Any] = [None, 0, 1, True, "x", 1.5, [], [None], ["x"], [1], [[]], {}, {"a": 1}, [{}], [{"a": [1]}]]


def bodies(name: str, odd: Any) -> list[Any]:
    """Return answers of an API with the odd value at each place where the reader looks."""
    if name == "chat":
        message = {"content": odd, "reasoning": odd, "reasoning_content": odd, "tool_calls": odd}
        return [
            {"choices": odd},
            {"choices": [odd]},
            {"choices": [{"message": odd}]},
            {"choices": [{"message": message, "finish_reason": odd}], "usage": odd},
            {"choices": [{"message": {"tool_calls": [odd]}}]},
            {"choices": [{"message": {"tool_calls": [{"function": odd}]}}]},
            {"choices": [{"message": {"tool_calls": [{"type": odd, "function": {"name": odd, "arguments": odd}}]}}]},
        ]
    if name == "responses":
        call = {"type": "function_call", "name": odd, "arguments": odd}
        return [
            {"output": odd, "status": odd},
            {"output": [odd], "status": "incomplete", "incomplete_details": odd},
            {"output": [{"type": odd}, {"type": "message", "content": odd}, call]},
            {"output": [{"type": "message", "content": [odd]}, {"type": "reasoning", "content": odd, "summary": odd}]},
        ]
    return [
        {"content": odd, "stop_reason": odd},
        {"content": [odd]},
        {"content": [{"type": odd}, {"type": "text", "text": odd}, {"type": "thinking", "thinking": odd}]},
        {"content": [{"type": "tool_use", "name": odd, "input": odd}]},
    ]


def stream_events(name: str, odd: Any) -> list[Any]:
    """Return events of an API with the odd value at each place where the reader looks."""
    if name == "chat":
        return [
            odd,
            {"choices": odd},
            {"choices": [odd]},
            {"choices": [{"delta": odd, "finish_reason": odd}]},
            {"choices": [{"delta": {"content": odd, "reasoning": odd, "tool_calls": odd}}], "usage": odd},
            {"choices": [{"delta": {"tool_calls": [odd]}}], "usage": {"prompt_tokens": odd}},
            {"choices": [{"delta": {"tool_calls": [{"index": odd, "id": odd, "type": odd, "function": odd}]}}]},
            {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"name": odd, "arguments": odd}}]}}]},
            {"choices": [{"delta": {"function_call": {"name": odd, "arguments": odd}}}]},
            {"error": odd},
            {"error": {"message": odd}},
        ]
    if name == "responses":
        return [
            odd,
            {"type": odd},
            {"type": "response.output_text.delta", "delta": odd},
            {"type": "response.reasoning_text.delta", "delta": odd},
            {"type": "response.completed", "response": odd},
            {"type": "response.completed", "response": {"output": [odd], "usage": odd, "status": odd}},
            {"type": "response.output_item.added", "output_index": odd, "item": odd},
            {
                "type": "response.output_item.done",
                "output_index": odd,
                "item": {"type": "function_call", "name": odd, "id": odd},
            },
            {"type": "response.function_call_arguments.delta", "output_index": odd, "item_id": odd, "delta": odd},
            {"type": "response.function_call_arguments.done", "output_index": odd, "arguments": odd},
            {"type": "response.incomplete", "response": {"status": "incomplete", "incomplete_details": odd}},
            {"type": "response.failed", "response": odd},
            {"type": "response.failed", "response": {"error": odd}},
            {"type": "error", "message": odd},
        ]
    return [
        odd,
        {"type": odd, "delta": odd},
        {"type": "content_block_delta", "delta": odd},
        {"type": "content_block_delta", "delta": {"text": odd, "thinking": odd}},
        {"type": "content_block_delta", "index": odd, "delta": {"partial_json": odd}},
        {"type": "content_block_start", "index": odd, "content_block": odd},
        {"type": "content_block_start", "content_block": {"type": "tool_use", "name": odd, "id": odd, "input": odd}},
        {"type": "message_start", "message": {"usage": odd}},
        {"type": "message_delta", "delta": odd},
        {"type": "error", "error": odd},
    ]


@pytest.mark.parametrize(("name", "odd"), list(itertools.product(DIALECTS, ODD)))
def test_odd_answers_end_in_an_answer_or_a_failure(name: str, odd: Any) -> None:
    for content in bodies(name, odd):
        try:
            answer = DIALECTS[name]().answer(content)
        except Failure as failure:
            assert failure.code == "wrong_shape", content
        else:
            assert isinstance(answer.content + answer.thoughts, str), content
            judged = tool_calls.judge(answer, questions.SMALL_TOOL_CALL, DIALECTS[name]())
            assert judged.kind in report.BEST_FIRST, content
            assert judged.reason.isprintable(), content


@pytest.mark.parametrize(("name", "odd"), list(itertools.product(DIALECTS, ODD)))
def test_odd_events_end_in_an_answer_or_a_failure(name: str, odd: Any) -> None:
    for content in stream_events(name, odd):
        try:
            answer = streamed(name, content, *({"type": end} for end in ("message_stop", "response.completed")))
        except Failure as failure:
            assert failure.code in ("stream_malformed", "error_in_answer"), content
        else:
            assert isinstance(answer.content + answer.thoughts, str), content
            judged = tool_calls.judge(answer, questions.SMALL_TOOL_CALL, DIALECTS[name](), streamed=True)
            assert judged.reason.isprintable(), content


@pytest.mark.parametrize("data", ["", "x", "[", "[" * 100_000, "null", "[]", '"text"', "[DONE"])
@pytest.mark.parametrize("name", DIALECTS)
def test_an_event_that_is_no_json_object(name: str, data: str) -> None:
    with pytest.raises(Failure) as failed:
        DIALECTS[name]().stream_reader().add(client.Event("ping", data))
    assert failed.value.code == "stream_malformed"


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("chat", {"error": {"message": "Out of k-1234567 \x1b[2J memory", "code": 500}}),
        ("chat", {"error": "Out of k-1234567 \x1b[2J memory"}),
        (
            "responses",
            {"type": "response.failed", "response": {"error": {"message": "Out of k-1234567 \x1b[2J memory"}}},
        ),
        ("responses", {"type": "error", "message": "Out of k-1234567 \x1b[2J memory"}),
        ("messages", {"type": "error", "error": {"type": "api_error", "message": "Out of k-1234567 \x1b[2J memory"}}),
    ],
)
def test_an_error_in_a_stream_is_quoted_without_the_key(name: str, event: dict[str, Any]) -> None:
    with pytest.raises(Failure) as failed:
        DIALECTS[name]("k-1234567").stream_reader().add(client.Event("error", json.dumps(event)))
    assert failed.value.code == "error_in_answer"
    assert "Out of ******** ?[2J memory" in failed.value.message


@pytest.mark.parametrize("name", DIALECTS)
def test_a_wrong_shape_names_what_is_there_and_stays_short(name: str) -> None:
    strange = {"k-1234567": 1, "foo\x1b[2J": 2, "z" * 10_000: 3}
    with pytest.raises(Failure) as failed:
        DIALECTS[name]("k-1234567").answer(strange)
    assert failed.value.code == "wrong_shape"
    assert "foo?[2J" in failed.value.message
    assert "k-1234567" not in failed.value.message
    assert len(failed.value.message) < 600


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("chat", {"Authorization": "Bearer k"}),
        ("responses", {"Authorization": "Bearer k"}),
        ("messages", {"x-api-key": "k", "anthropic-version": "2023-06-01"}),
    ],
)
def test_headers(name: str, headers: dict[str, str]) -> None:
    assert DIALECTS[name]("k").headers() == headers
    without = DIALECTS[name]().headers()
    assert not {"Authorization", "x-api-key"} & set(without)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_request_has_a_budget_and_what_was_asked(name: str, stream: bool) -> None:
    dialect = DIALECTS[name]()
    plain = dialect.request("m", questions.COMPLETION, 256, stream)
    assert (plain["model"], plain["stream"], plain[dialect.form.budget_field]) == ("m", stream, 256)
    assert not {"tools", "tool_choice"} & set(plain)
    small = dialect.request("m", questions.SMALL_TOOL_CALL, 256, stream)
    agent = dialect.request("m", questions.agent_tool_call(100), 256, stream)
    assert small["temperature"] == agent["temperature"] == 0
    assert (len(small["tools"]), len(agent["tools"])) == (3, 14)
    required = {"type": "any"} if name == "messages" else "required"
    assert small["tool_choice"] == required
    assert agent["tool_choice"] == ({"type": "auto"} if name == "messages" else "auto")
    assert questions.SMALL_TOOL_CALL.system in json.dumps(small)


def test_tools_have_the_shape_of_their_api() -> None:
    def first(name: str) -> dict[str, Any]:
        tool: dict[str, Any] = DIALECTS[name]().request("m", questions.SMALL_TOOL_CALL, 1, False)["tools"][0]
        return tool

    assert set(first("chat")) == {"type", "function"}
    assert set(first("chat")["function"]) == {"name", "description", "parameters"}
    assert set(first("responses")) == {"type", "name", "description", "parameters"}
    assert set(first("messages")) == {"name", "description", "input_schema"}
    assert first("messages")["input_schema"]["required"] == ["message"]


@pytest.mark.parametrize(
    ("content", "text"),
    [("a", "a"), (None, ""), (3, ""), ([{"text": "a"}, {"text": 3}, "b", {"text": "c"}], "ac"), ({"text": "a"}, "")],
)
def test_text_of(content: Any, text: str) -> None:
    assert text_of(content) == text
